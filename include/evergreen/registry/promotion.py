"""What the ledger says around a deployment: the intent before the act, and what
came of it; then what MLflow shows of it.

Call everything under `store.locked(model)`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from evergreen.history import ledger, story
from evergreen.history.events import Deployed, Deploying, Event, NotDeployed, Promoted, Purpose, RolledBack
from evergreen.history.story import Entry
from evergreen.registry import records, rules, store
from evergreen.registry.rules import Version


@dataclass(frozen=True)
class FallBack:
    """A rollback that the monitor makes while labels are open.

    Attributes:
        decision_id: of the decision that wants it.
        as_of: what that one knew about.
        until: when the labels are known that judge it.
    """

    decision_id: str
    as_of: datetime
    until: datetime


def intend(
    version: Version,
    purpose: Purpose,
    replaces: Version | None,
    *,
    model: str,
    actor: str,
    reason: str,
    decision_id: str | None = None,
    fall_back: FallBack | None = None,
) -> Deploying:
    """Record that a version is about to be deployed; an intent for the same that was left halfway goes on.

    Args:
        replaces: the champion; of a rollback, the version that is left.
        fall_back: what of it the monitor says; None: it is none.
    """
    name = f"deploying/{model}/{purpose}/{version.number}"

    def unless_pending(entries: Sequence[Entry]) -> Iterable[Event]:
        pending = story.standing(entry.event for entry in entries).pending
        if pending is not None and (pending.purpose, pending.version) == (purpose, version.number):
            return
        yield Deploying(
            id=story.next_id(name, entries),
            model=model,
            as_of=version.as_of if fall_back is None else fall_back.as_of,
            actor=actor,
            reason=reason,
            version=version.number,
            purpose=purpose,
            replaces=None if replaces is None else replaces.number,
            run_id=version.run_id,
            key=version.key,
            decision_id=decision_id if fall_back is None else fall_back.decision_id,
            until=None if fall_back is None else fall_back.until,
        )

    ledger.extend(model, unless_pending, *story.MOVES)
    pending = ledger.standing(model).pending
    assert pending is not None
    return pending


def complete(intent: Deploying) -> bool:
    """Record that the server answers with the version of an intent, and what follows; whether MLflow shows it too.

    Again is harmless.
    """
    moved = _promoted(intent) if intent.purpose == "promotion" else _rolled_back(intent)

    def unless_ended(entries: Sequence[Entry]) -> Iterable[Event]:
        pending = story.standing(entry.event for entry in entries).pending
        if pending is None or pending.id != intent.id:
            return
        yield Deployed(
            id=f"deployed/{intent.id}",
            model=intent.model,
            as_of=intent.as_of,
            actor=intent.actor,
            reason=intent.reason,
            version=intent.version,
            intent=intent.id,
        )
        # The same move may come twice: of a version that was put on the server by hand once more, or that serves again
        # after all later ones were retired.
        yield moved.model_copy(update={"id": story.next_id(moved.id, entries)})

    ledger.extend(intent.model, unless_ended, *story.MOVES)
    return store.show(intent.model)


def give_up(intent: Deploying, reason: str) -> None:
    """Record that an intent ends without its act."""
    ended = NotDeployed(
        id=f"not deployed/{intent.id}",
        model=intent.model,
        as_of=intent.as_of,
        actor=intent.actor,
        reason=reason,
        version=intent.version,
        intent=intent.id,
    )
    ledger.append(ended)


def _promoted(intent: Deploying) -> Promoted:
    model = intent.model
    version, champion, good = (
        records.version(model, intent.version),
        store.champion(model),
        store.last_known_good(model),
    )
    keep = rules.last_known_good_after(version, champion, good)
    return Promoted(
        id=f"promotion/{model}/{version.number}",
        model=model,
        as_of=version.as_of,
        actor=intent.actor,
        reason=intent.reason,
        version=version.number,
        replaced=keep.number if keep else None,
        run_id=version.run_id,
        key=version.key,
        decision_id=intent.decision_id,
    )


def _rolled_back(intent: Deploying) -> RolledBack:
    assert intent.replaces is not None
    left = records.version(intent.model, intent.replaces)
    return RolledBack(
        id=f"rollback/{intent.model}/{left.number}",
        model=intent.model,
        as_of=left.as_of if intent.until is None else intent.as_of,
        actor=intent.actor,
        reason=intent.reason,
        version=intent.version,
        left=left.number,
        decision_id=intent.decision_id,
        until=intent.until,
    )
