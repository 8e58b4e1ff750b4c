"""Every decision, kept in the lake: one row per window, replaced when the window is decided again."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

import pyarrow as pa

from evergreen.lake import tables
from evergreen.monitor.rules import Decision

_LAYER, _NAME = "decisions", "monitor"
_TIMESTAMP = pa.timestamp("us", tz="UTC")
_SCHEMA = pa.schema(
    {
        "id": pa.string(), "start": _TIMESTAMP, "end": _TIMESTAMP, "version": pa.int64(), "action": pa.string(),
        "triggers": pa.bool_(), "drifted": pa.bool_(), "incident": pa.bool_(), "changed_at": _TIMESTAMP,
        "reasons": pa.string(), "numbers": pa.string(), "known_at": _TIMESTAMP,
    }.items()
)  # fmt: skip


def keep(model: str, decision: Decision) -> Decision:
    """Make this the decision of its window; returns the one that stands.

    One that triggered a training stands when the window is decided again: by then it may be too old to trigger anything, or more
    may be known of the days before it, but it did.
    """
    for earlier in history(model):
        if earlier.start == decision.start and earlier.triggers:
            return earlier
    row = asdict(decision) | {
        "reasons": json.dumps(decision.reasons),
        "numbers": json.dumps(decision.numbers),
        "known_at": decision.end,
    }
    tables.replace_partition(model, _LAYER, _NAME, decision.partition, pa.Table.from_pylist([row], _SCHEMA))
    return decision


def history(model: str, *, but: datetime | None = None) -> list[Decision]:
    """The decisions of a model, oldest window first; without the window that starts at `but`."""
    table = tables.read(model, _LAYER, _NAME)
    if table is None:
        return []
    rows = sorted(table.to_pylist(), key=lambda row: (row["end"], row["start"]))
    return [_decision(row) for row in rows if row["start"] != but]


def _decision(row: dict[str, Any]) -> Decision:
    texts = {"reasons": tuple(json.loads(row["reasons"])), "numbers": json.loads(row["numbers"])}
    return Decision(**{field.name: row[field.name] for field in fields(Decision)} | texts)
