"""Outcomes that become known each at a moment of its own: which are, from when, and whether the label's query is right
about it.

What a query returns when all is known must be what it would have returned at any moment before, but for what was open
then. So it is asked again as of earlier moments, and must say the same of what it says was known by then.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from evergreen.errors import PermanentError
from evergreen.quoting import listed
from evergreen.spec.columns import KNOWN_AT
from evergreen.spec.keyed import Key, keys_of
from evergreen.spec.kinds import KINDS
from evergreen.spec.runner import Query

_TIMESTAMP = KINDS["timestamp"].stored()


def decided(query: Query, result: pa.Table, cutoff: datetime, until: datetime, doing: str) -> pa.Table:
    """The rows of a label's query whose outcomes are known: keys, label, weight, known_at.

    Args:
        cutoff: no outcome is known before its prediction was made.
        until: what is known later is open.

    Raises:
        PermanentError: a row has a label and no moment, or a moment and no label.
    """
    *others, moment = query.columns
    label, known = others[len(query.keys)], result[moment]
    if half := [*keys_of(query.keys, result.filter(pc.xor(pc.is_valid(result[label]), pc.is_valid(known))))]:
        raise wrong_query(
            query.file,
            doing,
            f"{len(half)} rows with one of `{label}` and `{moment}` alone: {listed(half)}",
            "both, or of an open outcome none of them",
        )
    made = pa.scalar(cutoff, _TIMESTAMP)
    known_at = pc.if_else(pc.greater(known, made), known, made)
    rows = result.select(others).append_column(KNOWN_AT, known_at)
    return rows.filter(pc.fill_null(pc.less_equal(known, pa.scalar(until, _TIMESTAMP)), False))


def with_open(rows: pa.Table, outcomes: pa.Table, keys: Sequence[str]) -> pa.Table:
    """Some predictions in the order of their keys, each with its label and known_at; null where it is open."""
    joined = rows.join(outcomes, [*keys], join_type="left outer")
    return joined.sort_by([(key, "ascending") for key in keys])


def labels(result: pa.Table, keys: Sequence[str], label: str) -> dict[Key, Any]:
    """key → label, of what is not open."""
    pairs = zip(keys_of(keys, result), result[label].to_pylist(), strict=True)
    return {each: value for each, value in pairs if value is not None}


def probed(outcomes: pa.Table) -> list[datetime]:
    """Moments as of which a label's query is asked again: the first at which one was known, and the middle one."""
    moments = sorted(set(outcomes[KNOWN_AT].to_pylist()))
    return sorted({moments[0], moments[len(moments) // 2]}) if moments else []


def held(query: Query, outcomes: pa.Table, early: pa.Table, moment: datetime, doing: str) -> None:
    """Hold what is said to have been known at a moment against what the query returned as of it.

    Raises:
        PermanentError: they differ.
    """
    keys, (*others, column) = query.keys, query.columns
    label = others[len(keys)]
    said = labels(outcomes.filter(pc.less_equal(outcomes[KNOWN_AT], pa.scalar(moment, _TIMESTAMP))), keys, label)
    then = labels(early, keys, label)
    if wrong := sorted(each for each in said.keys() | then.keys() if said.get(each) != then.get(each)):
        raise wrong_query(
            query.file,
            doing,
            f"{len(wrong)} rows, {listed(wrong)}, whose `{label}` as of {moment} was another than what `{column}` says "
            "was known then",
            f"in `{column}` the moment from which an outcome is known: not before its row arrived (a table's column "
            f"{KNOWN_AT} says when), and of an outcome that the source declares its own moment",
        )


def wrong_query(file: Path, doing: str, found: str, expected: str) -> PermanentError:
    """The error of a query that does not return what it must."""
    return PermanentError(
        f"{doing} by {file}", found=found, expected=expected, next_step=f"correct {file}, then clear this task"
    )
