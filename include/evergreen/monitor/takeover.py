"""The decisions that a release before kept in the lake, put into the ledger: once for each model, all or none.

That release had a table `decisions` with the last word about each window, and later told the ledger too, but not
everything that a streak needs to know. The table stays as it is; nothing else reads it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from typing import Any

from evergreen.history import ledger, story
from evergreen.history.events import Decided
from evergreen.history.story import Entry
from evergreen.lake import tables
from evergreen.lake.schema import TableId
from evergreen.monitor.rules import JOINED

log = logging.getLogger(__name__)

_ACTOR = "a release before the ledger"


def take_over(model: str) -> None:
    """Add to the ledger what only the lake knows of the model's decisions.

    Again is harmless: one decision that was taken over says that all were. What this release has decided about a
    window stands.
    """
    table = TableId(model, "decisions", "monitor")
    if tables.version(table) is None or ledger.has_taken_over_decisions(model):
        return
    stored = tables.read(table)
    assert stored is not None
    rows = sorted(stored.to_pylist(), key=lambda row: (row["end"], row["start"]))

    def what_is_missing(entries: Sequence[Entry]) -> Iterator[Decided]:
        if _done(entries):  # by another process, meanwhile
            return
        whole = {decided.start for decided in story.decisions(entries) if decided.drifted is not None}
        for row in rows:
            if row["start"] not in whole:
                yield _event(model, row, entries)

    ledger.extend(model, what_is_missing, "decided")
    log.info("%s: the decisions that a release before kept in the lake stand in the ledger", model)


def _done(entries: Sequence[Entry]) -> bool:
    return any(isinstance(entry.event, Decided) and entry.event.taken_over for entry in entries)


def _event(model: str, row: dict[str, Any], entries: Sequence[Entry]) -> Decided:
    return Decided(
        id=story.next_id(f"decided/{row['id']}", entries),
        model=model,
        as_of=row["end"],
        actor=_ACTOR,
        reason=JOINED.join(json.loads(row["reasons"])),
        taken_over=True,
        decision_id=row["id"],
        start=row["start"],
        end=row["end"],
        version=row["version"],
        action=row["action"],
        triggers=row["triggers"],
        changed_at=row["changed_at"],
        evidence=json.loads(row["numbers"], parse_constant=lambda _: None),
        drifted=row["drifted"],
        incident=row["incident"],
    )
