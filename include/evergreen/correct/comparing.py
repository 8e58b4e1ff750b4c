"""What differs between the rows that a feature partition has and those that it would have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa

from evergreen.spec.columns import EVENT, KNOWN_AT, PARTITION
from evergreen.spec.keyed import keys_of

# A column without nulls is hashed as one with nulls then.
_NULLABLE = {pa.int64(): pd.Int64Dtype(), pa.int32(): pd.Int32Dtype(), pa.bool_(): pd.BooleanDtype()}


@dataclass(frozen=True)
class Difference:
    """By entity and by feature."""

    written: frozenset[Any]  # keys of entities that are new, or have another value
    gone: frozenset[Any]  # keys of entities that have no row any more
    features: frozenset[str]  # those with another value of some entity; all, where entities came or went


def rows(keys: Sequence[str], before: pa.Table | None, now: pa.Table) -> Difference:
    """Compare two contents of a partition: all rows by their hashes, and value by value those that differ.

    Args:
        keys: the columns with the entity's key, which no two rows share.
        before: None: there were none.
    """
    features = [name for name in now.column_names if name not in (*keys, EVENT, KNOWN_AT, PARTITION)]
    if before is None:
        return Difference(frozenset(_indexed(keys, [], now).index), frozenset(), frozenset(features))
    for name in features:
        if name not in before.column_names:  # it is declared since
            before = before.append_column(name, pa.nulls(before.num_rows))
    new, old = (_hashes(keys, features, table) for table in (now, before))
    there = new.index.intersection(old.index)
    other = there[(new.loc[there] != old.loc[there]).to_numpy()]
    added, gone = new.index.difference(old.index), old.index.difference(new.index)
    changed = features if len(added) or len(gone) else _changed(keys, features, before, now, other)
    return Difference(frozenset([*added, *other]), frozenset(gone), frozenset(changed))


def _indexed(keys: Sequence[str], columns: Sequence[str], table: pa.Table) -> pd.DataFrame:
    """Some columns of each entity, by its key: of several columns a tuple."""
    # Python's values, which Feast takes: an index of numbers has NumPy's.
    index = pd.Index([*keys_of(keys, table)], dtype=object, tupleize_cols=False)
    frame: pd.DataFrame = table.select([*columns]).to_pandas(types_mapper=_NULLABLE.get)
    return frame.set_index(index) if columns else pd.DataFrame(index=index)


def _hashes(keys: Sequence[str], features: Sequence[str], table: pa.Table) -> pd.Series[Any]:
    """A hash of the features of each entity, by its key."""
    hashes: pd.Series[Any] = pd.util.hash_pandas_object(_indexed(keys, features, table), index=False)
    return hashes


def _changed(
    keys: Sequence[str], features: Sequence[str], before: pa.Table, now: pa.Table, entities: pd.Index[Any]
) -> list[str]:
    """The features of which one of some entities, which are in both tables, has another value."""
    order = [(name, "ascending") for name in keys]
    was, will = (
        table.filter(pa.array(_indexed(keys, [], table).index.isin(entities), pa.bool_())).sort_by(order)
        for table in (before, now)
    )
    return [name for name in features if was[name].to_pylist() != will[name].to_pylist()]
