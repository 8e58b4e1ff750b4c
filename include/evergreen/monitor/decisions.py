"""Decisions in the ledger: one is added when a window is decided, and read back when another one is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from evergreen.history import ledger, story
from evergreen.history.events import Decided, MadeFrom
from evergreen.history.story import Entry
from evergreen.monitor import takeover
from evergreen.monitor.rules import JOINED, Decision
from evergreen.run import Run


def keep(run: Run, decision: Decision, made_from: Mapping[str, MadeFrom] | None = None) -> Decision:
    """Add the decision of a window to the ledger, unless it stands there; returns the one that stands.

    Args:
        made_from: what it was made from, by table.
    """
    stands = decision

    def unless_it_stands(entries: Sequence[Entry]) -> Iterator[Decided]:
        nonlocal stands
        event = recorded(run, decision, made_from, id=story.next_id(f"decided/{decision.id}", entries))
        standing = next((each for each in story.decisions(entries) if each.start == decision.start), None)
        if standing is not None and standing.triggers:
            stands = restored(standing)
        elif standing is None or not _same(standing, event):
            yield event

    ledger.extend(run.spec.model, unless_it_stands)
    return stands


def history(model: str, *, but: datetime | None = None) -> list[Decision]:
    """The decisions of a model that stand, oldest window first; without the window that starts at `but`."""
    takeover.take_over(model)
    standing = story.decisions(ledger.entries(model, "decided"))
    return [restored(event) for event in standing if event.start != but]


def recorded(run: Run, decision: Decision, made_from: Mapping[str, MadeFrom] | None = None, *, id: str) -> Decided:
    """A decision as the ledger has it."""
    return Decided(
        id=id,
        model=run.spec.model,
        as_of=decision.end,
        actor=run.actor,
        reason=JOINED.join(decision.reasons),
        decision_id=decision.id,
        start=decision.start,
        end=decision.end,
        version=decision.version,
        action=decision.action,
        triggers=decision.triggers,
        changed_at=decision.changed_at,
        evidence=json.loads(json.dumps(decision.evidence), parse_constant=lambda _: None),
        drifted=decision.drifted,
        incident=decision.incident,
        made_from=made_from,
    )


def restored(event: Decided) -> Decision:
    """A decision of the ledger; one of which nobody knows whether its window had drifted makes no streak."""
    return Decision(
        id=event.decision_id,
        start=event.start,
        end=event.end,
        version=event.version,
        action=event.action,
        triggers=event.triggers,
        drifted=bool(event.drifted),
        incident=bool(event.incident),
        changed_at=event.changed_at,
        reasons=tuple(event.reason.split(JOINED)),
        evidence=event.evidence,
    )


def _same(one: Decided, other: Decided) -> bool:
    """Whether two decisions of a window are the same one, whoever decided, and whatever else was written to the tables
    between them."""
    return _content(one) == _content(other) and (
        one.made_from is None or other.made_from is None or _rows(one.made_from) == _rows(other.made_from)
    )


def _content(event: Decided) -> Decided:
    return event.model_copy(update={"id": "", "actor": "", "taken_over": False, "made_from": None})


def _rows(made_from: Mapping[str, MadeFrom]) -> dict[str, str]:
    return {table: part.content_hash for table, part in made_from.items()}
