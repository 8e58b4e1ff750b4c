"""What differs between the rows that a feature partition has and those that it would have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa

from evergreen.spec.columns import EVENT, KNOWN_AT, PARTITION


@dataclass(frozen=True)
class Difference:
    """By entity and by feature."""

    written: frozenset[Any]  # keys of entities that are new, or have another value
    gone: frozenset[Any]  # keys of entities that have no row any more
    features: frozenset[str]  # those with another value of some entity; all, where entities came or went


def rows(key: str, before: pa.Table | None, now: pa.Table) -> Difference:
    """Compare two contents of a partition.

    Args:
        key: the column with the entity's key, which no two rows share.
        before: None: there were none.
    """
    new = _by_key(key, now)
    if before is None:
        return Difference(frozenset(new.index), frozenset(), frozenset(new.columns))
    old = _by_key(key, before).reindex(columns=new.columns)
    there = new.index.intersection(old.index)
    was, will = old.loc[there], new.loc[there]
    other = (was != will) & ~(was.isna() & will.isna())
    added, gone = new.index.difference(old.index), old.index.difference(new.index)
    changed = frozenset(new.columns) if len(added) or len(gone) else frozenset(other.columns[other.any()])
    return Difference(frozenset([*added, *there[other.any(axis=1)]]), frozenset(gone), changed)


def _by_key(key: str, table: pa.Table) -> pd.DataFrame:
    features = [name for name in table.column_names if name not in (EVENT, KNOWN_AT, PARTITION)]
    frame: pd.DataFrame = table.select(features).to_pandas(integer_object_nulls=True).set_index(key).astype(object)
    return frame
