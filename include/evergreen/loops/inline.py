"""The loops without Airflow: the same wiring, one step after the other in this process.

For CI jobs, notebooks and benchmarks. Each stage's hand-over is kept as JSON below `<home>/runs`, as Airflow keeps it
in XCom, so that a later command, in another job, goes on where an earlier one ended. Retries and notifications are
whoever's who calls.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

from evergreen import files
from evergreen.disk import raising_disk_full
from evergreen.errors import (
    ConnectionUnknown,
    DiskFull,
    RequestRefused,
    RunError,
    ServiceUnavailable,
    SpecError,
    StageSkipped,
)
from evergreen.handovers.handover import Handover
from evergreen.handovers.monitor import Retraining
from evergreen.interval import Interval
from evergreen.loops import wire
from evergreen.loops.wire import VALUES, LoopName, Step
from evergreen.loops.wiring import LOOPS
from evergreen.quoting import shown
from evergreen.run import AnyRun, Approval, DatasetRun, Run
from evergreen.settings import settings
from evergreen.spec.dataset import DatasetSpec
from evergreen.spec.schema import ModelSpec

log = logging.getLogger(__name__)

BY_INTERVAL: tuple[LoopName, ...] = ("ingest", "train", "monitor", "rollout")  # the loops that work on intervals
OF_EVERY_INTERVAL = (
    ConnectionUnknown,
    DiskFull,
    RequestRefused,
    ServiceUnavailable,
    SpecError,
)  # no other interval would fare better


NOBODY = Approval(
    approved=False, by=None, reason="nobody allowed it: `--approve NAME --reason TEXT` does", how="command"
)


@dataclass(frozen=True)
class Skipped:
    """The result of a step that did not run, for a good reason; what waits for it does not run either."""

    reason: str


Results = dict[str, "Result"]  # step → what came of it
Result = wire.Result | Skipped | Results  # the last: of the loop that the step started


def run(
    this: AnyRun,
    loop: LoopName,
    first: str | None = None,
    last: str | None = None,
    *,
    done: Callable[[str], object] = lambda name: None,
) -> Results:
    """Run a loop's steps, from `first` to `last`, both included; all of them by default.

    Steps before `first` do not run: their hand-overs are those that an earlier call for the same run kept.

    Args:
        done: is called with the name of each task that has run, as Airflow shows it: `build`, `tune (ridge)`.

    Returns:
        What came of these steps, by name and in order.

    Raises:
        RunError: there is no such step, or nothing was kept of one before `first`.
        HandoverRefused: another release kept it, and in another shape.
        EvergreenError: what a stage raises.
    """
    before, chosen, after = _chosen(this, loop, first, last)
    kept = _Kept(this, loop)
    for step in (*chosen, *after):  # what follows from a result is no longer true once it is made anew
        kept.file(step).unlink(missing_ok=True)
    results: dict[str, Result] = {step.name: kept.read(step) for step in before}
    for step in chosen:
        log.info("%s %s: %s", loop, this.subject, step.name)
        results[step.name] = _made(this, step, results, done)
        kept.write(step, results[step.name])
    return {step.name: results[step.name] for step in chosen}


def run_days(
    spec: DatasetSpec | ModelSpec,
    intervals: Sequence[Interval],
    loop: LoopName,
    first: str | None = None,
    last: str | None = None,
    approval: Approval = NOBODY,
) -> Iterator[tuple[Interval, Results | Exception]]:
    """Run a loop for one interval after the other: of each, its results, or the error that it ended with.

    A bad interval costs only itself. They end early where the later ones need the same: a service, a disk, a
    connection; and of the monitor, each of whose windows counts those before it.

    Raises:
        RunError: there is no such step; nothing has run.
    """
    if intervals:
        _chosen(of(spec, intervals[0]), loop, first, last)
    return _one_by_one(spec, intervals, loop, first, last, approval)


def _one_by_one(
    spec: DatasetSpec | ModelSpec,
    intervals: Sequence[Interval],
    loop: LoopName,
    first: str | None,
    last: str | None,
    approval: Approval,
) -> Iterator[tuple[Interval, Results | Exception]]:
    for interval in intervals:
        outcome: Results | Exception
        try:
            outcome = run(of(spec, interval, approval), loop, first, last)
        except Exception as error:  # noqa: BLE001 - whatever one ends with, the caller tells it, and the next ones are worked on
            outcome = error
        yield interval, outcome
        if isinstance(outcome, OF_EVERY_INTERVAL) or (loop == "monitor" and isinstance(outcome, Exception)):
            return


def steps(loop: LoopName) -> list[str]:
    """The names of a loop's steps, in the order in which they run."""
    return [step.name for step in LOOPS[loop].steps]


@overload
def of(spec: DatasetSpec, interval: Interval, approval: Approval = ...) -> DatasetRun: ...
@overload
def of(spec: ModelSpec, interval: Interval, approval: Approval = ...) -> Run: ...
def of(spec: DatasetSpec | ModelSpec, interval: Interval, approval: Approval = NOBODY) -> AnyRun:
    """The run of an interval, by hand; again for the same interval, it is the same run.

    Args:
        approval: what is answered where a version needs somebody who allows it.
    """
    run_id = f"local__{interval.as_of:%Y-%m-%dT%H%MZ}"
    if isinstance(spec, DatasetSpec):
        return DatasetRun(spec, interval, run_id=run_id, reason="manual")
    return Run(spec, interval, run_id=run_id, reason="manual", approval=approval)


def ingest(spec: ModelSpec, interval: Interval) -> None:
    """Run the loop of every dataset that a model uses, for one interval."""
    for dataset in spec.datasets.values():
        run(of(dataset, interval), "ingest")


def as_json(result: Result) -> Any:
    """A result as people read it: a hand-over's fields, without the mark of its shape."""
    if isinstance(result, Handover):
        return result.model_dump(mode="json")
    if isinstance(result, tuple):
        return [as_json(each) for each in result]
    if isinstance(result, Skipped):
        return {"skipped": result.reason}
    return {name: as_json(each) for name, each in result.items()}


def _chosen(
    this: AnyRun, loop: LoopName, first: str | None, last: str | None
) -> tuple[Sequence[Step], Sequence[Step], Sequence[Step]]:
    """A loop's steps: those before the ones to run, those, and those after them."""
    wired, names = LOOPS[loop].steps, steps(loop)
    for name in (first, last):
        if name is not None and name not in names:
            raise _cannot(this, loop, f"no stage {shown(name)}", f"one of {', '.join(names)}", "name one of them")
    begin, end = names.index(first or names[0]), names.index(last or names[-1])
    if begin > end:
        raise _cannot(this, loop, f"{first} comes after {last}", "a first stage before the last", "turn the two round")
    return wired[:begin], wired[begin : end + 1], wired[end + 1 :]


def _made(this: AnyRun, step: Step, results: Mapping[str, Result], done: Callable[[str], object]) -> Result:
    """What comes of a step, now."""
    for earlier in step.before:
        if isinstance(before := results[earlier.name], Skipped):
            return before
    given = {parameter: results[giver.name] for parameter, giver in step.given.items()}
    try:
        with raising_disk_full(f"running {step.name} of {this.subject}"):
            if step.starts is not None:
                return run(_started(this, given["wanted"]), step.starts)
            assert step.stage is not None
            if step.over is None:
                result: Result = step.stage(this, **given)
                done(step.name)
                return result
            each = []
            for value in VALUES[step.over](this.spec):
                each.append(step.stage(this, **given, **{step.over: value}))
                done(f"{step.name} ({value})")
            return tuple(each)
    except StageSkipped as reason:
        log.info("%s skipped: %s", step.name, reason)
        return Skipped(str(reason))


def _started(this: AnyRun, wanted: Result) -> Run:
    """The run that a step starts, as Airflow identifies it by its params."""
    assert isinstance(wanted, Retraining) and isinstance(this, Run)
    conf = wanted.conf
    return Run(
        this.spec,
        this.spec.calendar.until(conf.as_of),
        run_id=wanted.run_id,
        reason=conf.reason,
        decision_id=conf.decision_id,
        changed_at=conf.changed_at,
        connections=this.connections,
        approval=this.approval,
    )


class _Kept:
    """What the steps of a run left, as files."""

    def __init__(self, this: AnyRun, loop: LoopName) -> None:
        self._run, self._loop = this, loop
        self._folder = settings().home / "runs" / this.spec.name / loop / this.run_id

    def file(self, step: Step) -> Path:
        """Where a step's result is kept."""
        return self._folder / f"{step.name}.json"

    def write(self, step: Step, result: Result) -> None:
        """Keep a result, whole or not at all; raises DiskFull."""
        if isinstance(result, tuple):
            content: Any = [each.to_json() for each in result]
        else:
            content = result.to_json() if isinstance(result, Handover) else as_json(result)
        with (
            raising_disk_full(f"keeping what {step.name} of {self._run.subject} left"),
            files.whole(self.file(step)) as partial,
        ):
            partial.write_text(json.dumps(content))

    def read(self, step: Step) -> Result:
        """What an earlier command kept."""
        try:
            content = json.loads(self.file(step).read_text())
        except FileNotFoundError as error:
            raise _cannot(
                self._run,
                self._loop,
                f"no result of {step.name} in {self._folder}",
                "what an earlier command of the same run kept",
                f"begin at {step.name} or before it",
            ) from error
        if isinstance(content, dict) and set(content) == {"skipped"}:
            return Skipped(content["skipped"])
        if step.starts is not None:
            return {}  # nothing takes what the started loop left
        return step.read(content, self._run.spec, self._run.subject)


def _cannot(this: AnyRun, loop: LoopName, problem: str, expected: str, next_step: str) -> RunError:
    return RunError(f"running {loop} of {this.subject}", found=problem, expected=expected, next_step=next_step)
