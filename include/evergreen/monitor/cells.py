"""A column as counts in cells that its reference defines, so that windows of any size are compared by the same rule,
and simulated without their rows. Pure.

Of numbers the distance is Kolmogorov-Smirnov's: the greatest difference of the two distribution functions. It asks for
the order of values alone, so it needs no scale: constants, heavy tails and discrete numbers are no special cases. Of
categories it is Jensen-Shannon's, with one cell for all categories that the reference has not. Both are from 0 to 1.
Nulls are in no cell.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

_EDGES = 128  # of numbers: distribution functions are compared at so many of the reference's quantiles


@dataclass(frozen=True)
class Numbers:
    """Below, at, between and above values of the reference: n values, 2 n + 1 cells.

    Attributes:
        edges: different values of the reference, ascending.
    """

    edges: Floats

    @classmethod
    def of(cls, reference: pd.Series[Any]) -> Numbers:
        """The cells of a column; there is at least one value."""
        ordered = _sorted(reference)
        places = np.linspace(0, len(ordered) - 1, min(_EDGES, len(ordered))).astype(int)
        return cls(np.unique(ordered[places]))

    def counts(self, values: pd.Series[Any]) -> Counts:
        """Rows in each cell."""
        ordered = _sorted(values)
        ends = np.empty(2 * len(self.edges) + 2, np.int64)
        ends[0], ends[-1] = 0, len(ordered)
        ends[1:-1:2] = np.searchsorted(ordered, self.edges, "left")
        ends[2:-1:2] = np.searchsorted(ordered, self.edges, "right")
        return np.diff(ends)

    def distances(self, windows: Floats, references: Floats) -> Floats:
        """Between shares in cells, both windows by cells."""
        greatest: Floats = np.abs(np.cumsum(windows - references, axis=-1)).max(axis=-1)
        return greatest


@dataclass(frozen=True)
class Categories:
    """Each category of the reference, then all others.

    Attributes:
        names: of the reference.
    """

    names: tuple[Hashable, ...]

    @classmethod
    def of(cls, reference: pd.Series[Any]) -> Categories:
        """The cells of a column."""
        return cls(tuple(sorted(reference.dropna().unique())))

    def counts(self, values: pd.Series[Any]) -> Counts:
        """Rows in each cell."""
        found = values.value_counts()  # without nulls
        known = found.reindex(list(self.names), fill_value=0).to_numpy(np.int64)
        return np.append(known, int(found.sum()) - int(known.sum()))

    def distances(self, windows: Floats, references: Floats) -> Floats:
        """Between shares in cells, both windows by cells."""
        middle = (windows + references) / 2
        divergence = _entropies(middle) - (_entropies(windows) + _entropies(references)) / 2
        return np.sqrt(np.maximum(divergence, 0.0))


Cells = Numbers | Categories


def shares(counts: Counts | Floats) -> Floats:
    """Counts as shares of their sum."""
    held: Floats = counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1)
    return held


def _entropies(shares: Floats) -> Floats:
    """In bits."""
    logs = np.log2(shares, out=np.zeros_like(shares), where=shares > 0)
    total: Floats = -(shares * logs).sum(axis=-1)
    return total


def _sorted(values: pd.Series[Any]) -> Floats:
    numbers = values.to_numpy(np.float64, na_value=np.nan)
    ordered = np.sort(numbers)  # NaN last
    return ordered[: len(ordered) - int(np.isnan(ordered).sum())] if np.isnan(ordered[-1:]).any() else ordered
