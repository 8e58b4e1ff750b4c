"""What a wiring is written with, and what it gives: the steps of a loop, as data.

A wiring is a function over a `Wire` that says what follows what. Each interpreter walks the steps: Airflow
(`orchestration.airflow`), one process (`loops.inline`), the docs (`loops.catalogue`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, get_type_hints

from evergreen.errors import HandoverRefused
from evergreen.handovers.handover import Handover
from evergreen.spec.dataset import Folder

LoopName = Literal["ingest", "train", "monitor", "rollout", "rollback", "correct"]
BY_HAND: frozenset[LoopName] = frozenset({"rollback", "correct"})  # nobody schedules them
Stage = Callable[..., Handover]
Result = Handover | tuple[Handover, ...]  # of one stage; of one that runs for several values, one each

# What a stage can run once for each of: the parameter that takes it, and the values by the spec.
VALUES: Mapping[str, Callable[[Any], Sequence[str]]] = {"family": lambda model: tuple(model.families)}


@dataclass(frozen=True, eq=False, repr=False)
class Step:
    """One task of a loop."""

    name: str
    stage: Stage | None  # None: the step starts a run of another loop
    given: Mapping[str, Step] = field(default_factory=dict)  # the stage's parameter → the step whose hand-over it takes
    after: tuple[Step, ...] = ()  # what must have ended well, beside those whose hand-overs are taken
    over: str | None = None  # runs once for each of these `VALUES`
    starts: LoopName | None = None  # the loop that it starts; the one step given says which run of it

    def __repr__(self) -> str:
        return f"<step {self.name}>"  # no address: Airflow may store it, and compares what it stores

    @cached_property
    def hands_over(self) -> type[Handover]:
        """What the stage returns, by its annotation."""
        kind = get_type_hints(self.stage)["return"]
        if not (isinstance(kind, type) and issubclass(kind, Handover)):
            raise TypeError(f"{self.name}: a stage returns a hand-over, and says which in its annotation; not {kind}")
        return kind

    @property
    def before(self) -> tuple[Step, ...]:
        """Every step that must have ended well."""
        return (*self.given.values(), *self.after)

    def read(self, value: Any, spec: Folder, subject: str) -> Result:
        """What this step left as JSON; of one that runs for several values, the hand-over of each.

        Raises:
            HandoverRefused: it left nothing, too little, or something of another shape.
        """
        if self.over is None:
            return self.hands_over.from_json(value, task=self.name, subject=subject)
        left = [] if value is None else list(value)
        expected = VALUES[self.over](spec)
        if len(left) != len(expected):
            raise HandoverRefused(
                f"reading what the tasks {self.name} of {subject} handed over",
                found=f"{len(left)} hand-overs",
                expected=f"one for each {self.over}: {', '.join(expected)}",
                next_step=f"clear `{self.name}` and what comes after it",
            )
        return tuple(self.hands_over.from_json(each, task=self.name, subject=subject) for each in left)


class Wire:
    """Takes down the steps of a wiring, in the order in which it names them."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def stage(self, stage: Stage, *given: Step, name: str = "", after: Iterable[Step] = ()) -> Step:
        """A task that runs a stage.

        Args:
            stage: `stage(run, …)`; its parameters after the run take the hand-overs of `given`, in order.
            name: of the task; by default the stage's.
            after: steps that must have ended well first, and hand nothing over to it.
        """
        return self._add(Step(name or stage.__name__, stage, _given(stage, given), tuple(after)))

    def each(self, stage: Stage, *given: Step, over: str, name: str = "") -> Step:
        """A task for each of `VALUES[over]`, side by side; the stage's parameter of that name takes the value."""
        return self._add(Step(name or stage.__name__, stage, _given(stage, given, over), over=over))

    def start(self, loop: LoopName, wanted: Step, *, name: str) -> Step:
        """A task that starts a run of another loop: the one that `wanted` hands over."""
        return self._add(Step(name, None, {"wanted": wanted}, starts=loop))

    def _add(self, step: Step) -> Step:
        self.steps.append(step)
        return step


def _given(stage: Stage, steps: Sequence[Step], over: str | None = None) -> dict[str, Step]:
    _run, *names = inspect.signature(stage).parameters
    return dict(zip((name for name in names if name != over), steps, strict=True))


@dataclass(frozen=True)
class Loop:
    """One loop of every dataset, or of every model."""

    name: LoopName
    of: Literal["dataset", "model"]  # whose it is
    about: str  # what it does, in a few words
    wiring: Callable[[Wire], None]

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """Its tasks, each after those that it waits for."""
        wire = Wire()
        self.wiring(wire)
        return tuple(wire.steps)
