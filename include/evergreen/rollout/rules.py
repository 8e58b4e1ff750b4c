"""What becomes of a rollout: whether one is opened, and which way it goes from what was observed. Pure.

Going back needs less than going on. One measure by which the version is worse withdraws it at once, whoever paused it
(so does a guard of the model server, which asks nobody: `guarding`). The next step needs time and answers; all requests
need a verdict too, that it is not worse by what matters in any measure (`ab`: that it is better). What is not known in
time speaks against it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, assert_never

from evergreen.history.events import Judged
from evergreen.history.rollouts import Observed, Rollout, Step
from evergreen.history.story import Standing
from evergreen.registry.rules import Version, comparison_refusal, promotion_refusal, rejection_refusal
from evergreen.spec.rollout import ABRollout, CanaryRollout, ShadowRollout

Watched = ShadowRollout | CanaryRollout | ABRollout


@dataclass(frozen=True)
class Evidence:
    """What was observed of one step, until a moment of the data's time."""

    rollout: str  # its id
    step: int
    as_of: datetime
    observed: Observed


@dataclass(frozen=True)
class Move:
    """What is to be done with a rollout, and why."""

    kind: Literal["stay", "advance", "promote", "roll back", "reject"]
    reason: str


def steps(declared: Watched) -> tuple[Step, ...]:
    """What the version is for, one after the other, until it has all requests."""
    shadow = Step(role="shadow", share=0)
    match declared:
        case ShadowRollout():
            return (shadow,)
        case CanaryRollout():
            shares = tuple(Step(role="challenger", share=share) for share in declared.shares)
            return (shadow, *shares) if declared.shadow else shares
        case ABRollout():
            return (Step(role="challenger", share=declared.share),)
    assert_never(declared)


def opening_refusal(
    version: Version, champion: Version | None, now: Standing, gates: Sequence[Judged], compared: int | None
) -> str | None:
    """Why no rollout of a version may be opened; None when one may.

    Args:
        champion: beside which it would be served.
        gates: as they were decided last about the version.
        compared: the champion that they compared it with.
    """
    number = version.number
    if champion is None:
        return "there is no champion beside which it could be served: the first version has all requests at once"
    if champion.number == number:
        return f"version {number} is the champion"
    if now.pending is not None and (now.pending.purpose, now.pending.version) != ("rollout", number):
        return (
            f"the {now.pending.purpose} to version {now.pending.version}, begun by {now.pending.actor}, has not ended"
        )
    if now.rollout is not None:
        return f"the rollout of version {now.rollout.version} is open"
    if (rejected := rejection_refusal(number, now)) is not None:
        return rejected
    if not gates:
        return f"the ledger has no gate that version {number} passed"
    if failed := [f"{gate.gate}: {gate.verdict}" for gate in gates if gate.verdict != "pass"]:
        return f"version {number} did not pass its gates ({', '.join(failed)})"
    return promotion_refusal(version, champion) or comparison_refusal(version, compared, champion)


def move(rollout: Rollout, evidence: Evidence) -> Move:
    """Which way a rollout goes from what was observed of its step."""
    opened, observed, as_of = rollout.opened, evidence.observed, evidence.as_of
    if (evidence.rollout, evidence.step) != (rollout.id, rollout.number):
        return Move("stay", f"what was observed is about {evidence.rollout}, step {evidence.step}")
    if as_of < rollout.since:
        return Move(
            "stay", f"what was observed is older than the step, which began as of {rollout.since:%Y-%m-%d %H:%M}"
        )
    worse = [measure for measure, compared in observed.compared.items() if compared.verdict == "worse"]
    if worse or observed.verdict == "worse":
        return Move("roll back", f"worse than version {opened.champion}: {' and '.join(worse) or 'all in all'}")
    if rollout.paused:
        return Move("stay", "paused")
    lacking = _lacking(rollout, evidence)
    if not lacking:
        return onwards(rollout, f"{observed.answers} answers, {_said(observed)} version {opened.champion}")
    if as_of - opened.as_of >= opened.at_most:
        return Move("reject", f"open since {opened.as_of:%Y-%m-%d %H:%M}, and still: {'; '.join(lacking)}")
    return Move("stay", "; ".join(lacking))


def onwards(rollout: Rollout, reason: str) -> Move:
    """To the next step, or from the last one to all requests."""
    return Move("promote" if rollout.last else "advance", reason)


def _lacking(rollout: Rollout, evidence: Evidence) -> list[str]:
    """What the step needs before the next one."""
    opened, observed, lacking = rollout.opened, evidence.observed, []
    if evidence.as_of < rollout.since + opened.hold:
        lacking.append(f"the step lasts until {rollout.since + opened.hold:%Y-%m-%d %H:%M} at least")
    if observed.answers < opened.minimum_answers:
        lacking.append(f"{observed.answers} of {opened.minimum_answers} answers")
    if not observed.compared:
        lacking.append("nothing is compared")
    if any(each.moved for each in observed.compared.values()):
        lacking.append("its answers lie elsewhere, and outcomes do not tell yet whether that is good")
    enough = ("better",) if opened.strategy == "ab" else ("better", "not worse")
    if rollout.last and observed.verdict not in enough:
        lacking.append(f"{_said(observed)} version {opened.champion}, not yet {enough[-1]}")
    return lacking


def _said(observed: Observed) -> str:
    return "not told yet from" if observed.verdict == "undecided" else f"{observed.verdict} than"
