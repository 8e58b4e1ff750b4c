"""A table whose rows are true from one moment to another: rows that are true at none, and that contradict others."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from itertools import pairwise

import pyarrow as pa

from evergreen.lake.schema import PLACE, ROW
from evergreen.quoting import shown
from evergreen.spec.dataset import Source
from evergreen.validate.rules import NEVER_TRUE

_SHOWN = 3  # pairs of rows that a message shows
_EVER = datetime.max.replace(tzinfo=UTC)


def unusable(table: pa.Table, source: Source, others: Collection[int]) -> dict[int, str]:
    """Position → reason, of the rows that are true at no moment; of those that are not `others`, which are rejected
    already."""
    rows = _validity(table, source)
    return {
        at: f"{NEVER_TRUE}: {'no ' + str(source.valid_from) if begins is None else 'it ends before it begins'}"
        for at, (begins, ends) in enumerate(rows)
        if at not in others and (begins is None or (ends is not None and ends <= begins))
    }


def overlaps(table: pa.Table, source: Source, positions: Sequence[int]) -> list[str]:
    """What is wrong with rows of the same key that are true at the same moment, in words; empty: no two are.

    Args:
        positions: of the rows to look at, each with a moment from which on it is true.
    """
    if source.valid_to is None:
        return []
    validity = _validity(table, source)
    keys = list(zip(*(table[key].to_pylist() for key in source.keys), strict=True))
    ordered = sorted(
        (keys[at], begins, at) for at in positions if None not in keys[at] and (begins := validity[at][0]) is not None
    )
    found = [
        (one, other)
        for (key, _, one), (next_key, begins, other) in pairwise(ordered)
        if key == next_key and (validity[one][1] or _EVER) > begins
    ]
    if not found:
        return []
    pairs = "; ".join(f"{_row(table, source, one)} and {_row(table, source, other)}" for one, other in found[:_SHOWN])
    more = "; …" if len(found) > _SHOWN else ""
    return [
        f"{len(found):,} times two rows of one key are true at the same moment: {pairs}{more}. "
        f"Each should end ({source.valid_to}) where the next one begins ({source.valid_from}), or before"
    ]


def _validity(table: pa.Table, source: Source) -> list[tuple[datetime | None, datetime | None]]:
    begins = table[source.valid_from].to_pylist()
    ends = [None] * table.num_rows if source.valid_to is None else table[source.valid_to].to_pylist()
    return list(zip(begins, ends, strict=True))


def _row(table: pa.Table, source: Source, at: int) -> str:
    key = ", ".join(f"{name}={shown(str(table[name][at].as_py()))}" for name in source.keys)
    begins, ends = _validity(table.slice(at, 1), source)[0]
    place = table[PLACE.name][at].as_py() or f"row {table[ROW.name][at].as_py()}"
    until = "open" if ends is None else f"to {ends:%Y-%m-%d %H:%M}"
    return f"{place} ({key}, from {begins:%Y-%m-%d %H:%M}, {until})"
