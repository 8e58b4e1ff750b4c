"""Which rows of a batch can be judged: `rules.unusable`, of the few rows that it may be about."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from evergreen.lake.schema import PLACE, UNPARSED
from evergreen.validate import rules


def unusable_rows(table: pa.Table, keys: Sequence[str], readable: Mapping[str, Callable[[str], str]]) -> dict[int, str]:
    """The rows that cannot be judged, with the reason: those that were not parsed, and repetitions of a key.

    Args:
        readable: what a cell of each column might be, in words, given the one that could not be parsed.
    """
    unparsed = np.asarray(table[UNPARSED.name].is_valid(), bool)
    positions = np.flatnonzero(unparsed | _repeated(table, keys))
    if not len(positions):
        return {}
    suspects = table.select([*keys, UNPARSED.name, PLACE.name]).take(positions)
    values = zip(*(suspects[key].to_pylist() for key in keys), strict=True)
    cells = zip(suspects[PLACE.name].to_pylist(), suspects[UNPARSED.name].to_pylist(), strict=True)
    texts = [None if cell is None else f"{place}: {cell}{_hint(cell, readable)}" for place, cell in cells]
    return {int(positions[at]): reason for at, reason in rules.unusable(texts, values).items()}


def _hint(cells: str, readable: Mapping[str, Callable[[str], str]]) -> str:
    hints = [f"{name} is {readable[name](cell)}" for name, cell in rules.cells_in(cells).items() if name in readable]
    return f" ({'; '.join(hints)})" if hints else ""


def _repeated(table: pa.Table, keys: Sequence[str]) -> np.ndarray:
    """Where a row's key stands in another row too; a null counts as a value, which the rules then leave alone."""
    numbered: list[np.ndarray] = []  # the values of each key column as numbers: as cheap to compare as to hash
    for key in keys:
        column = table[key].combine_chunks()
        numbered.append(np.asarray(pc.fill_null(column.dictionary_encode().indices, -1)))
    return pd.DataFrame(dict(enumerate(numbered))).duplicated(keep=False).to_numpy()
