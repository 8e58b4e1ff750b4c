"""The commands that run loops without Airflow: `run`, and `bootstrap` for many intervals of a dataset."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from evergreen import cores
from evergreen.cli.parsing import Commands, add_approval, approval_of, positive
from evergreen.errors import RunError, in_full
from evergreen.interval import CALENDAR, Interval, from_to
from evergreen.quoting import shown
from evergreen.settings import settings

if TYPE_CHECKING:
    from evergreen.calendar import Calendar
    from evergreen.loops.inline import Results
    from evergreen.spec.dataset import DatasetSpec
    from evergreen.spec.schema import ModelSpec


def add(commands: Commands) -> None:
    """Add them to those of `evergreen`."""
    run = commands.add_parser("run", help="run a loop without Airflow, and print its last result as JSON")
    run.add_argument("model", metavar="name", help="the model's name; for ingest the dataset's")
    run.add_argument("loop", choices=("ingest", "train", "monitor", "rollout"), help="the loop to run")
    when = run.add_mutually_exclusive_group()
    add_interval(
        when,
        "KEY[..KEY]",
        "the interval to work on, by its partition key, or several in turn, such as 2026-01-01..2026-01-31; a day "
        "stands for all its intervals; default: the newest complete one",
        required=False,
    )
    when.add_argument(
        "--as-of",
        metavar="TIME",
        help="the moment that the run may know about, such as 2026-01-31T00:00:00Z; in the zone of the "
        "calendar, unless TIME names one",
    )
    run.add_argument(
        "--from",
        dest="first",
        metavar="STAGE",
        help="begin with this stage, from the results that an earlier command kept",
    )
    run.add_argument("--until", dest="last", metavar="STAGE", help="end after this stage")
    add_approval(run)
    run.set_defaults(command=_run)

    bootstrap = commands.add_parser(
        "bootstrap", help="ingest the past of a dataset without Airflow, several intervals side by side"
    )
    bootstrap.add_argument("dataset", help="the dataset's name")
    add_interval(bootstrap, "KEY..KEY", "the intervals to ingest, both included, such as 2026-01-01..2026-01-31")
    bootstrap.add_argument(
        "--side-by-side",
        type=positive,
        metavar="N",
        help="how many intervals at a time, each in a process of its own; default: as many as there are cores",
    )
    bootstrap.set_defaults(command=_bootstrap)


def add_interval(to: argparse._ActionsContainer, metavar: str, text: str, *, required: bool = True) -> None:
    """The option that names intervals, for `intervals_of`."""
    to.add_argument("--interval", "--day", metavar=metavar, required=required, help=text)


def _run(options: argparse.Namespace) -> int:
    from evergreen.local import quiet
    from evergreen.loops import inline
    from evergreen.orchestration.identity import check_interval
    from evergreen.spec.dataset import DatasetSpec

    quiet.begin()
    spec = _declared(options.model, options.loop)
    doing = f"running {options.loop} of {spec.name}"
    intervals = intervals_of(spec, doing, options.interval, options.as_of)
    for interval in intervals:
        if options.loop not in ("train", "rollout") and interval != spec.calendar.interval_of(interval.start):
            raise RunError(
                doing,
                found=f"as of {interval.as_of.isoformat()}",
                expected=f"the end of an interval: {spec.calendar}",
                next_step="name the interval: --interval KEY",
            )
        check_interval(spec, interval, doing, "name another --interval, --day or --as-of")
    approval = None if isinstance(spec, DatasetSpec) else approval_of(options, spec)
    outcomes = inline.run_days(spec, intervals, options.loop, options.first, options.last, approval or inline.NOBODY)
    stages = {
        "--from": options.first,
        "--until": options.last,
        "--approve": options.approve,
        "--reason": options.reason,
    }
    return _ended(spec.calendar, intervals, outcomes, ["run", options.model, options.loop], _given(stages))


def _bootstrap(options: argparse.Namespace) -> int:
    from evergreen.local import quiet
    from evergreen.loops import side_by_side
    from evergreen.orchestration.identity import check_interval

    quiet.begin()
    spec = dataset_of(options.dataset)
    doing = f"ingesting {spec.name}"
    intervals = intervals_of(spec, doing, options.interval)
    for interval in intervals:
        check_interval(spec, interval, doing, "name other intervals")
    width = options.side_by_side or cores.usable()
    outcomes = side_by_side.ingest(spec, intervals, width=width, begin=quiet.begin)
    chosen = _given({"--side-by-side": options.side_by_side})
    return _ended(spec.calendar, intervals, outcomes, ["bootstrap", options.dataset], chosen)


def _given(options: Mapping[str, object]) -> list[str]:
    """The options that have a value, as they are written."""
    return [text for name, value in options.items() if value is not None for text in (name, str(value))]


def _ended(
    calendar: Calendar,
    intervals: Sequence[Interval],
    outcomes: Iterator[tuple[Interval, Results | Exception]],
    command: Sequence[str],
    options: Sequence[str],
) -> int:
    """Tell what came of each interval as it ends, then how to run those that are left; returns the exit status."""
    from evergreen.loops import inline

    left = list(intervals)
    interrupted = False
    try:
        for interval, outcome in outcomes:
            if isinstance(outcome, Exception):
                print(in_full(outcome), file=sys.stderr)
            else:
                left.remove(interval)
                print(json.dumps(inline.as_json(list(outcome.values())[-1])), flush=True)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        if left and len(intervals) > 1:
            print(f"{len(left)} of {len(intervals)} {calendar.every}s are left. To run them:", file=sys.stderr)
            print("\n".join(_commands(calendar, command, options, left)), file=sys.stderr)
    return 130 if interrupted else 1 if left else 0


def _declared(name: str, loop: str) -> DatasetSpec | ModelSpec:
    """The dataset or model of a name, whichever has the loop."""
    from evergreen.spec.load import load_spec

    return dataset_of(name) if loop == "ingest" else load_spec(settings().models / name, settings().data)


def dataset_of(name: str) -> DatasetSpec:
    """The dataset of a name, or what a model of that name declares of its own."""
    from evergreen.spec.load import load_dataset, load_spec

    models, data = settings().models, settings().data
    if (data / name).is_dir():
        return load_dataset(data / name)
    spec = load_spec(models / name, data)
    if name not in spec.datasets:
        raise RunError(
            f"looking for the dataset {name}",
            found="a model that declares no data of its own",
            expected=f"one of its datasets: {', '.join(spec.datasets)}",
            next_step=f"name it: {next(iter(spec.datasets))}",
        )
    return spec.datasets[name]


def _commands(
    calendar: Calendar, command: Sequence[str], options: Sequence[str], left: Sequence[Interval]
) -> Iterator[str]:
    """The commands that run the intervals that are left: one for each stretch of them."""
    from evergreen.status import rules

    name = "--day" if calendar.every == "day" else "--interval"
    for first, last in rules.stretches(left):
        yield "  " + shlex.join(["evergreen", *command, name, from_to(first.partition, last.partition), *options])


def intervals_of(
    spec: DatasetSpec | ModelSpec, doing: str, keys: str | None, as_of: str | None = None
) -> list[Interval]:
    """Those that the options name; by default the newest complete one.

    Raises:
        RunError: they name none.
    """
    calendar, now = spec.calendar, datetime.now(UTC)
    try:
        if as_of is not None:
            return [calendar.until(calendar.by_its_clock(datetime.fromisoformat(as_of)))]
        if keys is None:
            return [spec.newest_complete(now)]
        first, _, last = keys.partition("..")
        intervals = calendar.between(_named(calendar, first)[0], _named(calendar, last or first)[-1])
    except ValueError as error:
        expected = f"a moment, as 2026-01-31T00:00:00Z, that ends {CALENDAR}"
        raise RunError(
            doing,
            found=shown(keys or as_of),
            expected=expected if keys is None else f"{calendar}, or two as FIRST..LAST, or a day",
            next_step="name it so: `evergreen run --help`",
        ) from error
    if not intervals:
        raise RunError(
            doing, found=f"{last}, before {first}", expected="the earlier one first", next_step="turn the two round"
        )
    return intervals


def _named(calendar: Calendar, text: str) -> tuple[Interval, Interval]:
    """The first and the last interval that a partition key or a local day names."""
    try:
        interval = calendar.at(text)
    except ValueError:
        day = date.fromisoformat(text)
        return calendar.first_of(day), calendar.last_of(day)
    return interval, interval
