"""`try`: the whole loop on a model's sample in this process, up to its gates, and which features helped; `replay`: its
past once more, as if it were live."""

from __future__ import annotations

import argparse
import os
import sys
import webbrowser
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from evergreen import cores
from evergreen.cli.parsing import Commands, add_approval, approval_of
from evergreen.cli.run import add_interval, intervals_of
from evergreen.errors import EvidenceMissing, RunError, in_full
from evergreen.settings import settings

if TYPE_CHECKING:
    from evergreen.handovers.gate import Gate
    from evergreen.handovers.train import Evaluated
    from evergreen.interval import Interval
    from evergreen.loops.inline import Results
    from evergreen.onboarding.helping import Help
    from evergreen.run import Run
    from evergreen.spec.dataset import DatasetSpec
    from evergreen.spec.schema import ModelSpec


def add(commands: Commands) -> None:
    """Add them to those of `evergreen`."""
    trying = commands.add_parser("try", help="run the whole loop on a model's sample, up to its gates")
    trying.add_argument("model", help="the model's name")
    trying.add_argument(
        "--open",
        action=argparse.BooleanOptionalAction,
        help="open the gate report in the browser; default: if you sit at a terminal of a machine with a desktop",
    )
    trying.set_defaults(command=_try)
    replay = commands.add_parser("replay", help="live through some intervals of the past once more, without Airflow")
    replay.add_argument("model", help="the model's name")
    add_interval(replay, "KEY..KEY", "the intervals to live through, both included; what lies before is history")
    add_approval(replay)
    replay.set_defaults(command=_replay)


def _try(options: argparse.Namespace) -> int:
    from evergreen.local import quiet
    from evergreen.loops import inline
    from evergreen.spec.load import load_spec

    quiet.begin()
    spec = load_spec(settings().models / options.model, settings().data, deep=True)
    last = _last(spec)
    _up("postgres", "mlflow")
    failed = [each for dataset in spec.datasets.values() for each in _ingested(dataset, needed(spec, last))]
    if failed:
        print(f"{len(failed)} intervals were not ingested; the trial goes on without them", file=sys.stderr)
    run = inline.of(spec.model_copy(update={"risk": None}), last)  # nothing is registered: nobody need allow it
    results = inline.run(run, "train", last="evaluate")
    try:
        results |= inline.run(run, "train", first="gates", last="approve")
        if spec.refit:
            results |= inline.run(run, "train", first="refit", last="refit")
    except EvidenceMissing as error:
        print(error, file=sys.stderr)
    page = _reported(run, results)
    print(f"gate report: {page}")
    if opens(options.open):
        webbrowser.open(page.as_uri())
    return 0 if "gates" in results else 1


def opens(chosen: bool | None) -> bool:
    """Whether a page is opened in the browser; unless that was chosen, if somebody sits at a terminal of a machine with
    a desktop."""
    desktop = sys.platform != "linux" or "DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ
    return (desktop and sys.stdout.isatty()) if chosen is None else chosen


def _replay(options: argparse.Namespace) -> int:
    from functools import partial

    from evergreen.local import quiet
    from evergreen.loops import inline, replayed, replaying
    from evergreen.serve import asking
    from evergreen.spec.load import load_spec

    quiet.begin_in_silence()
    spec = load_spec(settings().models / options.model, settings().data, deep=True)
    intervals = intervals_of(spec, f"replaying {spec.model}", options.interval)
    _up("postgres", "mlflow", "server", replay=True)
    _nothing_later(spec, intervals[0])
    before = spec.calendar.before(intervals[0])
    for dataset in spec.datasets.values():
        for failed in _ingested(dataset, needed(spec, before)):
            _say(f"{failed.partition} was not ingested")
    approval = approval_of(options, spec) or inline.NOBODY
    first = replaying.first_training(spec, before, approval)
    if first is None:
        raise EvidenceMissing(
            f"replaying {spec.model}",
            found=f"no version that passed its gates as of {spec.calendar.shown(before.end)}",
            expected="a model that serves before the first interval",
            next_step=f"look at its gates: `evergreen run {spec.model} train --as-of {before.end.isoformat()}`",
        )
    _say(f"{spec.calendar.shown(before.end)}: version {first} serves")
    for interval in intervals:
        answered, events = replaying.interval(spec, interval, partial(asking.ask, spec.model), approval)
        _say(f"{interval.partition}: {answered:,} predictions" + "".join(f"; {event}" for event in events))
    for line in replayed.compared(spec, intervals, first).lines():
        print(line)
    return 0


def _up(*parts: str, replay: bool | None = None) -> None:
    """Start what of the local stack is needed, unless the services are somebody's own."""
    from evergreen.local import stack
    from evergreen.local.processes import answers

    here = settings()
    addresses = {"mlflow": f"{here.mlflow_url}/health", "server": f"{here.server_url}/healthz"}
    if here.embedded_database or not all(answers(addresses[part]) for part in parts if part in addresses):
        stack.up(_say, only=parts, replay=replay)


def _nothing_later(spec: ModelSpec, first: Interval) -> None:
    """A replay is of what is not there yet: the online store keeps no value older than its own."""
    from evergreen.lake import catalogue
    from evergreen.lake.schema import RAW

    for dataset in spec.datasets.values():
        for source in dataset.dated:
            later = [key for key in catalogue.published(RAW.of(dataset.name, source)) if key >= first.partition]
            if later:
                raise RunError(
                    f"replaying {spec.model} from {first.partition}",
                    found=f"{len(later)} intervals of {dataset.name} from then on, ingested already",
                    expected="a home that knows nothing of them",
                    next_step=(
                        "stop the stack (`evergreen down`) and name another home:"
                        f" EVERGREEN_HOME=… EVERGREEN_LANDING={settings().landing} evergreen replay …"
                    ),
                )


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _last(spec: ModelSpec) -> Interval:
    if spec.last_interval is None:
        raise RunError(
            f"trying {spec.model}",
            found="data that goes on",
            expected="a sample: a model with a last_day",
            next_step=f"set last_day, or `evergreen run {spec.model} train --as-of MOMENT --until gates`",
        )
    return spec.last_interval


def needed(spec: ModelSpec, last: Interval) -> list[Interval]:
    """The intervals that a training as of the end of one learns from, and those that its features and its requests look
    back at."""
    from evergreen.features import rules

    calendar = spec.calendar
    return calendar.between(calendar.interval_of(rules.learned_since(spec, last.end)), last)


def _ingested(dataset: DatasetSpec, intervals: Sequence[Interval]) -> Iterator[Interval]:
    """Ingest what of a dataset is not there yet; names the intervals that failed."""
    from evergreen.lake import catalogue
    from evergreen.lake.schema import RAW
    from evergreen.local import quiet
    from evergreen.loops import inline, side_by_side

    keys = [interval.partition for interval in intervals]
    there = [catalogue.published(RAW.of(dataset.name, source), keys) for source in dataset.dated]
    missing = [each for each in intervals if not all(each.partition in published for published in there)]
    if not missing:
        return
    _say(f"ingesting {len(missing)} intervals of {dataset.name}, {missing[0].partition} to {missing[-1].partition}")
    ended = side_by_side.ingest(dataset, missing, width=cores.usable(), begin=quiet.begin_in_silence)
    for done, (interval, outcome) in enumerate(ended, 1):
        if isinstance(outcome, Exception):
            print(in_full(outcome), file=sys.stderr)
            if isinstance(outcome, inline.OF_EVERY_INTERVAL):
                raise outcome
            yield interval
        elif done * 10 // len(missing) > (done - 1) * 10 // len(missing):
            _say(f"  {done} of {len(missing)}")


def _reported(run: Run, results: Results) -> Path:
    """Say and write what came of a trial; returns the page's file."""
    from evergreen.evaluate import rules
    from evergreen.handovers.train import Evaluated, Refitted, SoundTrainingSet
    from evergreen.onboarding import gate_report, helping
    from evergreen.registry import tracking

    data, evaluated = results["validate_training"], results["evaluate"]
    assert isinstance(data, SoundTrainingSet) and isinstance(evaluated, Evaluated)
    gates = _gates(run, results, evaluated)
    for line in rules.table(list(gates)):
        print(line)
    best = evaluated.best
    helps = helping.helped(run.spec, data, best.family, tracking.hyperparameters(best.run.id, best.family))
    fitted = results.get("refit")
    refit = fitted.refit if isinstance(fitted, Refitted) else None
    if refit is not None:
        print(f"refit: {refit.reason}")
    notes = list(_notes(run.spec))
    for line in _helpful(helps, evaluated.metric):
        print(line)
    for note in notes:
        print(note)
    return gate_report.write(run, data, evaluated, gates, refit, helps, notes)


def _gates(run: Run, results: Results, evaluated: Evaluated) -> Sequence[Gate]:
    """The gates of a trial, also where they ended red."""
    from evergreen.evaluate import rules
    from evergreen.handovers.train import Judged

    judged = results.get("gates")
    if isinstance(judged, Judged):
        return judged.gates
    return rules.gates(rules.evidence(evaluated, run.spec.problem, run.as_of), run.spec.gates)


def _helpful(helps: Sequence[Help], metric: str) -> Iterator[str]:
    """Which features helped, a line for each that did."""
    sure = [each for each in helps if each.low > 0]
    yield f"{len(sure)} of {len(helps)} features helped, on learning rows ({metric} that is lost without them):"
    for each in sure:
        yield f"  {each.feature} ({each.of}): {each.gain:.4g}, 95 % interval {each.low:.4g} to {each.high:.4g}"


def _notes(spec: ModelSpec) -> Iterator[str]:
    """What a reader must know beside the numbers."""
    if spec.schedule.train is None:
        yield "Time was not tested: the file has none. The rows that evaluate are others, and no later ones."
