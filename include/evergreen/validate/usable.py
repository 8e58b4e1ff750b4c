"""Which rows of a batch can be judged: `rules.unusable`, of the few rows that it may be about."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from evergreen.lake.schema import UNPARSED
from evergreen.validate import rules


def unusable_rows(table: pa.Table, keys: Sequence[str]) -> dict[int, str]:
    """The rows that cannot be judged, with the reason: those that were not parsed, and repetitions of a key."""
    unparsed = np.asarray(table[UNPARSED.name].is_valid(), bool)
    positions = np.flatnonzero(unparsed | _repeated(table, keys))
    if not len(positions):
        return {}
    suspects = table.select([*keys, UNPARSED.name]).take(positions)
    values = zip(*(suspects[key].to_pylist() for key in keys), strict=True)
    reasons = rules.unusable(suspects[UNPARSED.name].to_pylist(), values)
    return {int(positions[at]): reason for at, reason in reasons.items()}


def _repeated(table: pa.Table, keys: Sequence[str]) -> np.ndarray:
    """Where a row's key stands in another row too; a null counts as a value, which the rules then leave alone."""
    numbered: list[np.ndarray] = []  # the values of each key column as numbers: as cheap to compare as to hash
    for key in keys:
        column = table[key].combine_chunks()
        numbered.append(np.asarray(pc.fill_null(column.dictionary_encode().indices, -1)))
    return pd.DataFrame(dict(enumerate(numbered))).duplicated(keep=False).to_numpy()
