"""What differs between the rows that a feature partition has and those that it would have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from evergreen.spec.columns import EVENT, KNOWN_AT, PARTITION

# A column without nulls is hashed as one with nulls then.
_NULLABLE = {pa.int64(): pd.Int64Dtype(), pa.int32(): pd.Int32Dtype(), pa.bool_(): pd.BooleanDtype()}


@dataclass(frozen=True)
class Difference:
    """By entity and by feature."""

    written: frozenset[Any]  # keys of entities that are new, or have another value
    gone: frozenset[Any]  # keys of entities that have no row any more
    features: frozenset[str]  # those with another value of some entity; all, where entities came or went


def rows(key: str, before: pa.Table | None, now: pa.Table) -> Difference:
    """Compare two contents of a partition: all rows by their hashes, and value by value those that differ.

    Args:
        key: the column with the entity's key, which no two rows share.
        before: None: there were none.
    """
    features = [name for name in now.column_names if name not in (key, EVENT, KNOWN_AT, PARTITION)]
    if before is None:
        return Difference(frozenset(now[key].to_pylist()), frozenset(), frozenset(features))
    for name in features:
        if name not in before.column_names:  # it is declared since
            before = before.append_column(name, pa.nulls(before.num_rows))
    new, old = (_hashes(key, features, table) for table in (now, before))
    there = new.index.intersection(old.index)
    other = there[(new.loc[there] != old.loc[there]).to_numpy()]
    added, gone = new.index.difference(old.index), old.index.difference(new.index)
    changed = features if len(added) or len(gone) else _changed(key, features, before, now, other.tolist())
    return Difference(frozenset([*added, *other]), frozenset(gone), frozenset(changed))


def _hashes(key: str, features: Sequence[str], table: pa.Table) -> pd.Series[Any]:
    """A hash of the features of each entity, by its key."""
    frame = table.select([key, *features]).to_pandas(types_mapper=_NULLABLE.get).set_index(key)
    hashes: pd.Series[Any] = pd.util.hash_pandas_object(frame, index=False)
    return hashes


def _changed(key: str, features: Sequence[str], before: pa.Table, now: pa.Table, keys: Sequence[Any]) -> list[str]:
    """The features of which one of some entities, which are in both tables, has another value."""
    was, will = (
        table.filter(pc.is_in(table[key], pa.array(keys, table[key].type))).sort_by(key) for table in (before, now)
    )
    return [name for name in features if was[name].to_pylist() != will[name].to_pylist()]
