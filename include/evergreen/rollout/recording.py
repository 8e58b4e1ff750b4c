"""The events of a rollout: what is recorded of an opening, of a move, and of a person's word. Pure.

All that one of these functions returns is recorded together, or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from evergreen.history import story
from evergreen.history.events import Event, Judged, Promoted
from evergreen.history.rollouts import (
    Observed,
    Outcome,
    Rollout,
    RolloutAdvanced,
    RolloutEnded,
    RolloutOpened,
    RolloutPaused,
    RolloutResumed,
)
from evergreen.history.story import Entry, Standing
from evergreen.registry.rules import Version
from evergreen.rollout.rules import Move, Watched, steps

_OUTCOMES: dict[str, Outcome] = {"promote": "promoted", "roll back": "rolled back", "reject": "rejected"}


def opening(
    declared: Watched,
    version: Version,
    champion: Version,
    gates: Sequence[Judged],
    *,
    model: str,
    attempt: int,
    as_of: datetime,
    actor: str,
    reason: str,
    decision_id: str | None,
    intent: str | None = None,
) -> RolloutOpened:
    """A rollout with all of its steps, as the spec declares them now: what it declares later is for the next one.

    Args:
        attempt: counts the rollouts of the version, from 1: one that ended with its champion may be opened again, when
            that one is the champion again.
    """
    return RolloutOpened(
        id=f"rollout/{model}/{version.number}/{attempt}",
        model=model,
        as_of=as_of,
        actor=actor,
        reason=reason,
        version=version.number,
        champion=champion.number,
        strategy=declared.strategy,
        steps=steps(declared),
        hold=declared.hold,
        minimum_answers=declared.minimum_answers,
        at_most=declared.at_most,
        gates=tuple(gate.gate for gate in gates),
        run_id=version.run_id,
        key=version.key,
        decision_id=decision_id,
        intent=intent,
    )


def moving(now: Standing, move: Move, observed: Observed | None, *, as_of: datetime, actor: str) -> tuple[Event, ...]:
    """What is recorded of a move of the open rollout; of one that stays nothing.

    Args:
        observed: None: a person wants it.
        as_of: what the move knows about; of a person's it may be earlier than what the step before knew.
    """
    rollout = now.rollout
    if rollout is None or move.kind == "stay":
        return ()
    opened, as_of = rollout.opened, max(as_of, rollout.since)
    if move.kind == "advance":
        step = opened.steps[rollout.number + 1]
        return (
            RolloutAdvanced(
                id=f"{rollout.id}/step/{rollout.number + 1}",
                model=opened.model,
                as_of=as_of,
                actor=actor,
                reason=move.reason,
                rollout=rollout.id,
                version=rollout.version,
                step=rollout.number + 1,
                role=step.role,
                share=step.share,
                observed=observed,
            ),
        )
    ended = RolloutEnded(
        id=f"{rollout.id}/ended",
        model=opened.model,
        as_of=as_of,
        actor=actor,
        reason=move.reason,
        rollout=rollout.id,
        version=rollout.version,
        outcome=_OUTCOMES[move.kind],
        step=rollout.number,
        observed=observed,
        decision_id=opened.decision_id,
    )
    return (ended, _promoted(now, ended, opened)) if move.kind == "promote" else (ended,)


def _promoted(now: Standing, ended: RolloutEnded, opened: RolloutOpened) -> Promoted:
    good = now.last_known_good if now.champion in now.rolled_back else now.champion
    return Promoted(
        id=f"{ended.rollout}/promoted",
        model=ended.model,
        as_of=ended.as_of,
        actor=ended.actor,
        reason=opened.reason,
        version=ended.version,
        replaced=good,
        trained=opened.as_of,
        run_id=opened.run_id,
        key=opened.key,
        decision_id=opened.decision_id,
    )


def pausing(rollout: Rollout, entries: Sequence[Entry], *, pause: bool, actor: str, reason: str) -> tuple[Event, ...]:
    """What is recorded when a person wants the rollout to wait, or to go on; nothing when it does already."""
    if rollout.paused == pause:
        return ()
    kind = RolloutPaused if pause else RolloutResumed
    return (
        kind(
            id=story.next_id(f"{rollout.id}/{'paused' if pause else 'resumed'}", entries),
            model=rollout.opened.model,
            as_of=rollout.since,
            actor=actor,
            reason=reason,
            rollout=rollout.id,
            version=rollout.version,
        ),
    )
