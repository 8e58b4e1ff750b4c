"""The rollout of a version beside its model's champion: its events, and how it stands. Pure.

It is opened with all of its steps, and ends with one of three outcomes. Each event is one transaction, and the next
step is decided by how the rollout stands: so a killed process leaves it at a step, and whoever comes next goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import Field, FiniteFloat

from evergreen.history.happened import Happened, Recorded

# The ledger's own words: those of a spec may change, what is recorded does not.
Beside = Literal["shadow", "challenger"]  # a shadow is asked, and answers nobody
Strategy = Literal["shadow", "canary", "ab"]
Outcome = Literal["promoted", "rolled back", "rejected"]
Verdict = Literal["worse", "undecided", "not worse", "better"]  # not worse: not by what matters


class Step(Recorded):
    """What the new version is for, for a while."""

    role: Beside
    share: Annotated[int, Field(ge=0, le=99)]  # per cent of the entities that it answers; of a shadow 0


class Compared(Recorded):
    """The version and the champion by one measure."""

    verdict: Verdict
    difference: FiniteFloat | None = None  # version less champion, of scores from 0 to 1; None: not measured
    low: FiniteFloat | None = None  # where it lies; None: not bounded
    high: FiniteFloat | None = None
    rows: tuple[int, int] = (0, 0)  # of the champion and of the version
    moved: bool = False  # a shadow's answers lie elsewhere, and outcomes do not tell yet whether that is good


class Observed(Recorded):
    """What was seen of the version until a look."""

    answers: Annotated[int, Field(ge=0)]  # of the version in the step; of a shadow those that nobody was given
    verdict: Verdict  # of all measures together
    compared: Mapping[str, Compared] = {}  # by measure


class RolloutOpened(Happened):
    """A version that passed every gate is served beside the champion, by the first step."""

    event: Literal["rollout opened"] = "rollout opened"
    as_of: datetime
    version: int
    champion: int  # then; the rollout ends with it
    strategy: Strategy
    steps: Annotated[tuple[Step, ...], Field(min_length=1)]
    hold: timedelta  # that each step lasts at least, of the data's time
    minimum_answers: int  # of the version in each step
    at_most: timedelta  # that the rollout is open, of the data's time
    gates: Annotated[tuple[str, ...], Field(min_length=1)]  # that it passed: all that judged it
    run_id: str
    key: str
    decision_id: str | None = None  # the monitor's, when one asked for the training
    intent: str | None = None  # id of the `deploying` for which replicas loaded it, which ends with this


class RolloutAdvanced(Happened):
    """The version does more from now on."""

    event: Literal["rollout advanced"] = "rollout advanced"
    as_of: datetime
    rollout: str  # id of the `rollout opened`
    version: int
    step: int  # that begins, from 0
    role: Beside
    share: int
    observed: Observed | None  # in the step before; None: a person wanted it


class RolloutPaused(Happened):
    """A person wants it to go no further by itself. What is served stays, and is still withdrawn when it is worse."""

    event: Literal["rollout paused"] = "rollout paused"
    rollout: str
    version: int


class RolloutResumed(Happened):
    """It goes on by itself."""

    event: Literal["rollout resumed"] = "rollout resumed"
    rollout: str
    version: int


class RolloutEnded(Happened):
    """The version has all requests, or none. A promotion is recorded with `promoted`, together."""

    event: Literal["rollout ended"] = "rollout ended"
    as_of: datetime
    rollout: str
    version: int
    outcome: Outcome  # rolled back: it was worse, or a person took it back; rejected: nothing spoke for it in time
    step: int  # during which it ended
    observed: Observed | None  # in that step; None: a person wanted it
    decision_id: str | None = None  # as of `rollout opened`


RolloutEvent = RolloutOpened | RolloutAdvanced | RolloutPaused | RolloutResumed | RolloutEnded
ROLLOUTS = ("rollout opened", "rollout advanced", "rollout paused", "rollout resumed", "rollout ended")


@dataclass(frozen=True)
class Rollout:
    """An open rollout."""

    opened: RolloutOpened
    number: int  # of its step, from 0
    since: datetime  # as of when the step began
    paused: bool = False

    @property
    def id(self) -> str:
        """By which its events name it."""
        return self.opened.id

    @property
    def version(self) -> int:
        """That is rolled out."""
        return self.opened.version

    @property
    def step(self) -> Step:
        """What the version is for now."""
        return self.opened.steps[self.number]

    @property
    def last(self) -> bool:
        """Whether all requests come next."""
        return self.number == len(self.opened.steps) - 1


def after(rollout: Rollout | None, event: Happened) -> Rollout | None:
    """The open rollout of a model after an event of a rollout; None: there is none."""
    match event:
        case RolloutOpened():
            return Rollout(event, 0, event.as_of)
        case RolloutEnded() if rollout is not None and rollout.id == event.rollout:
            return None
        case RolloutAdvanced() if rollout is not None and rollout.id == event.rollout:
            return replace(rollout, number=event.step, since=event.as_of)
        case RolloutPaused() | RolloutResumed() if rollout is not None and rollout.id == event.rollout:
            return replace(rollout, paused=isinstance(event, RolloutPaused))
    return rollout
