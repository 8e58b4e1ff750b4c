"""The commands that set an interval's data right: `correct`, and `quarantine list|show|release`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from evergreen.cli.parsing import Commands, Described, actor_of
from evergreen.cli.run import add_interval, dataset_of, intervals_of
from evergreen.errors import EvergreenError, RunError
from evergreen.quoting import line, shown, visible

if TYPE_CHECKING:
    from evergreen.correct.quarantine import Selection
    from evergreen.handovers.correct import Planned
    from evergreen.interval import Interval
    from evergreen.lake.schema import Partition
    from evergreen.run import DatasetRun
    from evergreen.spec.dataset import DatasetSpec
    from evergreen.validate.exemptions import Exemption

    Change = Callable[[], object]

_SHOWN = 20  # rows, unless `--limit` says otherwise


def add(commands: Commands) -> None:
    """Add them to those of `evergreen`."""
    correct = commands.add_parser(
        "correct", help="list what reading an interval's batches again would change; with --apply, change it"
    )
    correct.add_argument("dataset", help="the dataset's name")
    add_interval(correct, "KEY[..KEY]", "the interval, or several in turn, such as 2026-01-01..2026-01-31")
    _who(correct)
    correct.set_defaults(command=_correct)

    quarantine = commands.add_parser(
        "quarantine", help="look at rows in quarantine, and release them: list, show, release"
    ).add_subparsers(required=True, metavar="COMMAND", action=Described)
    listed = quarantine.add_parser("list", help="count the rows in quarantine, by source, interval and reason")
    listed.add_argument("dataset", nargs="?", metavar="DATASET", help="only this dataset")
    listed.set_defaults(command=_list)

    show = quarantine.add_parser("show", help="show rows in quarantine, each with its reasons and the cells they name")
    _of_source(show)
    show.add_argument("--limit", type=int, default=_SHOWN, metavar="N", help=f"how many; default: {_SHOWN}")
    show.set_defaults(command=_show)

    release = quarantine.add_parser(
        "release", help="list what releasing rows from quarantine would change; with --apply, release them"
    )
    _of_source(release)
    which = release.add_mutually_exclusive_group()
    which.add_argument(
        "--because",
        action="append",
        default=[],
        metavar="REASON",
        help="only rows with this reason, as `list` names it; may be given more than once",
    )
    which.add_argument(
        "--row", action="append", type=int, default=[], metavar="N", help="only this row, as `show` counts"
    )
    which.add_argument("--undo", action="store_true", help="send the interval's released rows back to quarantine")
    _who(release)
    release.set_defaults(command=_release)


def _of_source(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=_source, metavar="DATASET/SOURCE", help="such as churn/usage")
    add_interval(parser, "KEY", "the interval")


def _who(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--apply", action="store_true", help="change it; without this nothing is written")
    parser.add_argument("--reason", help="why; needed with --apply, and kept in the history")
    parser.add_argument("--actor", help="who does it; default: the system's user")


def _source(text: str) -> tuple[str, str]:
    dataset, _, source = text.partition("/")
    if not dataset or not source:
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a dataset and its source, such as churn/usage")
    return dataset, source


def _correct(options: argparse.Namespace) -> int:
    from evergreen.local import quiet

    _check(options)
    quiet.begin()
    spec = dataset_of(options.dataset)
    intervals = intervals_of(spec, f"correcting {spec.name}", options.interval)
    runs, status = [_run(spec, interval, options) for interval in intervals], 0
    for run in runs:
        try:
            _corrected(run)
        except EvergreenError as error:  # a bad interval costs only itself
            print(error, file=sys.stderr)
            status = 1
    return status


def _corrected(run: DatasetRun) -> None:
    """Say what a correction changes, and change it unless the run is dry."""
    from evergreen.loops import inline

    planned: Planned = inline.run(run, "correct", last="plan")["plan"]  # type: ignore[assignment]  # the wiring's stage `plan` gives it
    _planned(run, planned)
    if not (planned.nothing or run.dry_run):
        inline.run(run, "correct", first="begin")
        print(f"{run.spec.name} of {run.interval.partition}: corrected")


def _planned(run: DatasetRun, planned: Planned) -> None:
    from evergreen.correct import rules

    print("\n".join(map(visible, rules.lines(run.spec.name, planned))))
    if run.dry_run and not planned.nothing:
        print("Nothing was changed: this is a dry run. To change it: --apply --reason WHY")


def _list(options: argparse.Namespace) -> int:
    from evergreen.correct import quarantine
    from evergreen.settings import settings
    from evergreen.spec.load import load

    datasets = load(settings().models, settings().data).valid_datasets
    if options.dataset is not None:
        datasets = [dataset_of(options.dataset)]
    there = [held for dataset in datasets for held in quarantine.held(dataset)]
    for held in there:
        released = f"; {held.released} released" if held.released else ""
        reasons = ", ".join(f"{count} {line(reason)}" for reason, count in held.reasons.items())
        print(f"{_named(held.partition)}: {held.rows} rows{f' ({reasons})' if reasons else ''}{released}")
    if not there:
        print("no row is in quarantine")
    return 0


def _show(options: argparse.Namespace) -> int:
    from evergreen.correct import quarantine

    spec, name = dataset_of(options.source[0]), options.source[1]
    for interval in intervals_of(spec, f"looking at {spec.name}", options.interval):
        partition = quarantine.partition(spec, name, interval)
        rows = quarantine.rows(spec, partition)
        print(f"{_named(partition)}: {len(rows)} rows in quarantine; rows count from 0, over all files of the batch")
        for row in rows[: options.limit]:
            print(f"  row {row.number}: {', '.join(f'{column} {shown(value)}' for column, value in row.keys.items())}")
            for reason, cells in row.reasons.items():
                print(f"    {line(reason)}{''.join(f'; {column} {shown(cell)}' for column, cell in cells.items())}")
        if len(rows) > options.limit:
            print(f"  and {len(rows) - options.limit} more (--limit)")
    return 0


def _release(options: argparse.Namespace) -> int:
    from functools import partial

    from evergreen.correct import planning, quarantine
    from evergreen.local import quiet
    from evergreen.validate import exemptions

    _check(options)
    quiet.begin()
    spec, name = dataset_of(options.source[0]), options.source[1]
    for interval in intervals_of(spec, f"looking at {spec.name}", options.interval):
        run = _run(spec, interval, options)
        partition = quarantine.partition(spec, name, interval)
        if options.undo:
            change: Change = partial(exemptions.withdraw, partition)
            exempt: list[Exemption] = []
            print(f"{_named(partition)}: {len(exemptions.of(partition))} released rows go back to quarantine")
        else:
            selection = quarantine.select(run, partition, quarantine.Chosen(tuple(options.because), tuple(options.row)))
            change = partial(exemptions.grant, selection.granted)
            exempt = [*exemptions.of(partition), *selection.granted]
            _tell(partition, selection)
            if selection.nothing:
                continue
        if options.apply:
            change()
            _corrected(run)
        else:
            _planned(run, planning.plan(run, {name: exempt}))
    return 0


def _tell(partition: Partition, selection: Selection) -> None:
    print(f"{_named(partition)}: {len(selection.granted)} rows to release")
    if selection.sound:
        print(f"  {selection.sound} more rows are not rejected any more: the contract or the batch is another one now")
    for refused in selection.refused:
        print(f"  {refused}")


def _named(quarantine: Partition) -> str:
    """As the commands take it: churn/usage of 2026-01-05."""
    return f"{quarantine.table.of}/{quarantine.table.name} of {quarantine.key}"


def _check(options: argparse.Namespace) -> None:
    if options.apply and not (options.reason or "").strip():
        raise RunError(
            "correcting data",
            found="--apply without --reason",
            expected="why it is done, which the history keeps",
            next_step='give it: --reason "the shop sent the day again"',
        )


def _run(spec: DatasetSpec, interval: Interval, options: argparse.Namespace) -> DatasetRun:
    from dataclasses import replace

    from evergreen.loops import inline
    from evergreen.orchestration.identity import check_interval

    check_interval(spec, interval, f"correcting {spec.name}", "name another --interval or --day")
    return replace(
        inline.of(spec, interval),
        reason=options.reason or "dry run",
        dry_run=not options.apply,
        triggered_by=actor_of(options),
    )
