"""From a model's inputs to the numbers of a graph's columns: categories by their codes first, then numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

INPUT, OUTPUT = "inputs", "answers"  # a graph's names of them
ABOUT = "evergreen"  # the key of a graph's metadata that says what its columns are
_MISSING = math.nan


@dataclass(frozen=True)
class Category:
    """A column of texts.

    Attributes:
        codes: the number of each value that the model was trained with.
        missing: the number of a missing value; NaN where it has none of its own, as values that are not here.
    """

    name: str
    codes: Mapping[str, float]
    missing: float

    @cached_property
    def numbers(self) -> Mapping[str | None, float]:
        """The number of each value; one that is not here has none."""
        numbers: dict[str | None, float] = {None: self.missing}
        return numbers | dict(self.codes)


@dataclass(frozen=True)
class Inputs:
    """The columns of a graph, in order."""

    categories: tuple[Category, ...]
    numbers: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As a graph keeps it."""
        categories = [{"name": each.name, "codes": each.codes, "missing": each.missing} for each in self.categories]
        return {"categories": categories, "numbers": list(self.numbers)}

    @classmethod
    def of_json(cls, kept: Mapping[str, Any]) -> Inputs:
        """What `to_json` was made of."""
        return cls(tuple(Category(**each) for each in kept["categories"]), tuple(kept["numbers"]))

    def encode(self, rows: Sequence[Mapping[str, Any]]) -> npt.NDArray[np.float64]:
        """Rows by columns, of features as a request and the online store have them; None and NaN are missing."""
        matrix = np.empty((len(rows), len(self.categories) + len(self.numbers)), np.float64)
        for at, category in enumerate(self.categories):
            name, numbers = category.name, category.numbers
            matrix[:, at] = [numbers.get(row[name], _MISSING) for row in rows]
        if self.numbers:
            matrix[:, len(self.categories) :] = [self._numbers(row) for row in rows]  # None becomes NaN
        return matrix

    @cached_property
    def _numbers(self) -> Callable[[Mapping[str, Any]], Sequence[Any]]:
        """The numbers of a row."""
        if len(self.numbers) == 1:
            (name,) = self.numbers
            return lambda row: (row[name],)
        return itemgetter(*self.numbers)

    def encode_frame(self, frame: pd.DataFrame) -> npt.NDArray[np.float64]:
        """The same of a frame, as `evergreen.model.rows.inputs` makes it, column by column."""
        codes = [[each.numbers.get(value, _MISSING) for value in frame[each.name]] for each in self.categories]
        coded = np.array(codes, np.float64).reshape(len(codes), len(frame)).T
        return np.ascontiguousarray(np.hstack([coded, frame[[*self.numbers]].to_numpy(np.float64)]))
