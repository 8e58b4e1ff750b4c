"""Every decision, kept in the lake: one row per window, replaced when the window is decided again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

import pyarrow as pa

from evergreen.history import ledger, story
from evergreen.history.events import Decided
from evergreen.history.story import Entry
from evergreen.lake import tables
from evergreen.lake.schema import DECISIONS
from evergreen.monitor.rules import Decision
from evergreen.run import Run
from evergreen.spec.columns import KNOWN_AT


def keep(model: str, decision: Decision) -> Decision:
    """Make this the decision of its window; returns the one that stands.

    One that triggered a training stands when the window is decided again: by then it may be too old to trigger
    anything, or more may be known of the days before it, but it did.
    """
    for earlier in history(model):
        if earlier.start == decision.start and earlier.triggers:
            return earlier
    row = asdict(decision) | {
        "reasons": json.dumps(decision.reasons),
        "numbers": json.dumps(decision.numbers),
        KNOWN_AT: decision.end,
    }
    tables.replace(DECISIONS.of(model).at(decision.partition), pa.Table.from_pylist([row], pa.schema(DECISIONS.arrow)))
    return decision


def record(run: Run, decision: Decision) -> None:
    """Put the decision of a window into the ledger, unless it stands there as the window's last one."""

    def unless_last(entries: Sequence[Entry]) -> Iterator[Decided]:
        last = [entry.event for entry in entries if isinstance(entry.event, Decided)]
        same_window = [decided for decided in last if decided.start == decision.start]
        if same_window and same_window[-1].decision_id == decision.id:
            return
        yield Decided(
            id=story.next_id(f"decided/{decision.id}", entries),
            model=run.spec.model,
            as_of=decision.end,
            actor=run.actor,
            reason="; ".join(decision.reasons),
            decision_id=decision.id,
            start=decision.start,
            end=decision.end,
            version=decision.version,
            action=decision.action,
            triggers=decision.triggers,
            changed_at=decision.changed_at,
            evidence=json.loads(json.dumps(decision.numbers), parse_constant=lambda _: None),
        )

    ledger.extend(run.spec.model, unless_last)


def history(model: str, *, but: datetime | None = None) -> list[Decision]:
    """The decisions of a model, oldest window first; without the window that starts at `but`."""
    table = tables.read(DECISIONS.of(model))
    if table is None:
        return []
    rows = sorted(table.to_pylist(), key=lambda row: (row["end"], row["start"]))
    return [_decision(row) for row in rows if row["start"] != but]


def _decision(row: dict[str, Any]) -> Decision:
    texts = {"reasons": tuple(json.loads(row["reasons"])), "numbers": json.loads(row["numbers"])}
    return Decision(**{field.name: row[field.name] for field in fields(Decision)} | texts)
