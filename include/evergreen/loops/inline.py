"""The loops without Airflow: the same stages, wired word for word as in `dags/`, one after the other in this process.

For CI jobs, notebooks and benchmarks. Each stage's result is kept as JSON below `<home>/runs`, as Airflow keeps it in XCom, so that
a later command, in another job, goes on where an earlier one ended. Retries and notifications are whoever's who calls.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, get_args

from evergreen import files
from evergreen.disk import told_when_full
from evergreen.errors import (
    ConnectionUnknown,
    DiskFull,
    RequestRefused,
    RunError,
    ServiceUnavailable,
    SpecError,
    StageSkipped,
)
from evergreen.evaluate import stages as evaluate
from evergreen.features import stages as features
from evergreen.ingest import stages as ingest
from evergreen.interval import Interval
from evergreen.monitor import stages as monitor
from evergreen.quoting import shown
from evergreen.registry import stages as registry
from evergreen.run import Run
from evergreen.serve import stages as serve
from evergreen.settings import settings
from evergreen.spec.schema import ModelSpec
from evergreen.train import stages as train
from evergreen.validate import stages as validate

log = logging.getLogger(__name__)

Json = dict[str, Any]
Stage = Callable[..., Any]
Loop = Literal["ingest", "train", "monitor"]
_OF_EVERY_DAY = (
    ConnectionUnknown,
    DiskFull,
    RequestRefused,
    ServiceUnavailable,
    SpecError,
)  # no other day would fare better
LOOPS: tuple[Loop, ...] = get_args(Loop)


def run(this: Run, loop: Loop, first: str | None = None, last: str | None = None) -> Json:
    """Run a loop's stages, from `first` to `last`, both included; all of them by default.

    Stages before `first` do not run: their results are those that an earlier call for the same run kept.

    Returns:
        The results of these stages, by name and in order. Of a skipped one, and of those that depend on it: `{"skipped": reason}`.

    Raises:
        RunError: there is no such stage, or nothing was kept of one before `first`.
        EvergreenError: what a stage raises.
    """
    names, begin, end = _chosen(this, loop, first, last)
    wiring = _Running(this, loop, frozenset(names[:begin]), frozenset(names[begin : end + 1]))
    for name in names[begin:]:  # what follows from a result is no longer true once it is made anew
        wiring.file(name).unlink(missing_ok=True)
    WIRING[loop](wiring, this.spec)
    return wiring.results


def run_days(
    spec: ModelSpec, intervals: Sequence[Interval], loop: Loop, first: str | None = None, last: str | None = None
) -> Iterator[tuple[Interval, Json | Exception]]:
    """Run a loop for one interval after the other: of each, its results, or the error that it ended with.

    A bad day costs only itself. The days end early where the later ones need the same: a service, a disk, a connection; and of the
    monitor, each of whose windows counts those before it.

    Raises:
        RunError: there is no such stage; nothing has run.
    """
    if intervals:
        _chosen(of(spec, intervals[0]), loop, first, last)
    return _one_by_one(spec, intervals, loop, first, last)


def _one_by_one(
    spec: ModelSpec, intervals: Sequence[Interval], loop: Loop, first: str | None, last: str | None
) -> Iterator[tuple[Interval, Json | Exception]]:
    for interval in intervals:
        outcome: Json | Exception
        try:
            outcome = run(of(spec, interval), loop, first, last)
        except Exception as error:  # noqa: BLE001 - whatever a day ends with, the caller tells it, and the next days are worked on
            outcome = error
        yield interval, outcome
        if isinstance(outcome, _OF_EVERY_DAY) or (loop == "monitor" and isinstance(outcome, Exception)):
            return


def _chosen(this: Run, loop: Loop, first: str | None, last: str | None) -> tuple[list[str], int, int]:
    """The names of a loop's stages, and which of them is the first and which the last to run."""
    names = stages(this.spec, loop)
    for name in (first, last):
        if name is not None and name not in names:
            raise _cannot(this, loop, f"no stage {shown(name)}", f"one of {', '.join(names)}", "name one of them")
    begin, end = names.index(first or names[0]), names.index(last or names[-1])
    if begin > end:
        raise _cannot(this, loop, f"{first} comes after {last}", "a first stage before the last", "turn the two round")
    return names, begin, end


def stages(spec: ModelSpec, loop: Loop) -> list[str]:
    """The names of a loop's stages, in the order in which they run."""
    wiring = _Naming()
    WIRING[loop](wiring, spec)
    return wiring.names


def of(spec: ModelSpec, interval: Interval) -> Run:
    """The run of an interval, by hand; again for the same interval, it is the same run."""
    return Run(spec, interval, run_id=f"local__{interval.as_of:%Y-%m-%dT%H%MZ}", reason="manual")


@dataclass(frozen=True)
class _Skipped:
    """The result of a stage that did not run; what needs it does not run either."""

    reason: str


class _Naming:
    """Tells the names of the stages and runs none."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, stage: Stage, task_id: str = "") -> _Step:
        return _Step(self, stage, task_id or stage.__name__)

    def step(self, name: str, stage: Stage, inputs: Json, mapped: Sequence[Json] | None) -> Any:
        self.names.append(name)
        return None


class _Running(_Naming):
    """Runs the chosen stages and keeps their results; those before them are looked up."""

    def __init__(self, this: Run, loop: Loop, before: frozenset[str], chosen: frozenset[str]) -> None:
        super().__init__()
        self.this, self.loop, self.before, self.chosen = this, loop, before, chosen
        self.folder = settings().home / "runs" / this.spec.model / loop / this.run_id
        self.results: Json = {}

    def file(self, name: str) -> Path:
        """Where a stage's result is kept."""
        return self.folder / f"{name}.json"

    def step(self, name: str, stage: Stage, inputs: Json, mapped: Sequence[Json] | None) -> Any:
        if name in self.before:
            return self._kept(name)
        if name not in self.chosen:
            return None
        log.info("%s %s: %s", self.loop, self.this.subject, name)
        with told_when_full(f"running {name} of {self.this.subject}"):
            return self._made(name, stage, inputs, mapped)

    def _made(self, name: str, stage: Stage, inputs: Json, mapped: Sequence[Json] | None) -> Any:
        """The result of a stage, made now and kept."""
        try:
            skipped_before = next((value for value in inputs.values() if isinstance(value, _Skipped)), None)
            if skipped_before is not None:
                raise StageSkipped(skipped_before.reason)
            if mapped is None:
                result = stage(self.this, **inputs)
            else:
                result = [stage(self.this, **inputs, **one) for one in mapped]
        except StageSkipped as skipped:
            log.info("%s skipped: %s", name, skipped)
            result = {"skipped": str(skipped)}
        self.results[name] = result
        with files.whole(self.file(name)) as partial:
            partial.write_text(json.dumps(result))
        return _read(result)

    def _kept(self, name: str) -> Any:
        try:
            return _read(json.loads(self.file(name).read_text()))
        except FileNotFoundError as error:
            raise _cannot(
                self.this, self.loop, f"no result of {name} in {self.folder}", "what an earlier command of the same run kept",
                f"begin at {name} or before it",
            ) from error  # fmt: skip


@dataclass(frozen=True)
class _Step:
    """A stage that waits for its inputs."""

    wiring: _Naming
    stage: Stage
    name: str
    fixed: Json = field(default_factory=dict)

    def __call__(self, **inputs: Any) -> Any:
        return self.wiring.step(self.name, self.stage, self.fixed | inputs, None)

    def partial(self, **inputs: Any) -> _Step:
        return _Step(self.wiring, self.stage, self.name, self.fixed | inputs)

    def expand(self, **inputs: Sequence[Any]) -> Any:
        ((name, values),) = inputs.items()
        return self.wiring.step(self.name, self.stage, self.fixed, [{name: value} for value in values])


def _read(result: Any) -> Any:
    return _Skipped(result["skipped"]) if isinstance(result, dict) and set(result) == {"skipped"} else result


def _cannot(this: Run, loop: Loop, found: str, expected: str, next_step: str) -> RunError:
    return RunError(f"running {loop} of {this.subject}", found=found, expected=expected, next_step=next_step)


# The wiring. A test holds each against its file in dags/, from which only what belongs to Airflow is left out.


def _ingest(stage: _Naming, spec: ModelSpec) -> None:
    extracted = stage(ingest.extract)()
    validated = stage(validate.validate)(extracted=extracted)
    published = stage(ingest.publish)(validated=validated)
    computed = stage(features.compute, task_id="features")(published=published)
    approved = stage(validate.validate_features)(computed=computed)
    stored = stage(features.publish, task_id="publish_features")(computed=approved)
    labelled = stage(features.labels)(stored=stored)
    stage(features.materialize)(labelled=labelled)


def _train(stage: _Naming, spec: ModelSpec) -> None:
    data = stage(train.build)()
    sound = stage(validate.validate_training)(data=data)
    candidates = stage(train.tune).partial(data=sound).expand(family=list(spec.families))
    evaluated = stage(evaluate.evaluate)(data=sound, candidates=candidates)
    gated = stage(evaluate.gates)(evaluated=evaluated)
    registered = stage(registry.register)(gated=gated)
    probed = stage(serve.probe)(registered=registered)
    stage(serve.deploy)(probed=probed)


def _monitor(stage: _Naming, spec: ModelSpec) -> None:
    collected = stage(monitor.collect)()
    quality = stage(monitor.quality)(collected=collected)
    drift = stage(monitor.drift)(collected=collected)
    performance = stage(monitor.performance)(collected=collected)
    decision = stage(monitor.decide)(collected=collected, quality=quality, drift=drift, performance=performance)
    stage(monitor.alert)(decision=decision)
    stage(retrain)(decision=decision)


def retrain(this: Run, decision: Json) -> Json:
    """The training that a decision asks for: what the monitor triggers in Airflow.

    Returns:
        The results of the training's stages, by name.

    Raises:
        StageSkipped: the decision asks for none.
    """
    if decision["action"] != "retrain" or not decision["triggers"]:
        raise StageSkipped(f"decision {decision['decision_id']}: {decision['action']}; nothing to trigger")
    changed_at = decision["changed_at"]
    training = Run(
        this.spec, this.interval, run_id=decision["run_id"], reason="drift", decision_id=decision["decision_id"],
        changed_at=None if changed_at is None else datetime.fromisoformat(changed_at),
    )  # fmt: skip
    return run(training, "train")


WIRING: dict[Loop, Callable[[_Naming, ModelSpec], None]] = {"ingest": _ingest, "train": _train, "monitor": _monitor}
