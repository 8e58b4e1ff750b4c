"""From a model's inputs to the numbers of a graph's columns: categories by their codes first, then numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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


@dataclass(frozen=True, slots=True)
class Values:
    """Rows of features without their names, which stand once."""

    names: Sequence[str]
    rows: Sequence[Sequence[Any]]

    def __len__(self) -> int:
        return len(self.rows)

    def named(self, start: int = 0, end: int | None = None) -> list[dict[str, Any]]:
        """The features of the rows from a place on, up to another one, by name."""
        names = self.names
        return [dict(zip(names, row)) for row in self.rows[start:end]]  # noqa: B905  to compare lengths costs as much again

    def column(self, name: str) -> list[Any]:
        """A feature of all rows."""
        at = self.names.index(name)
        return [row[at] for row in self.rows]


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

    def encode(self, rows: Sequence[Mapping[str, Any]] | Values) -> npt.NDArray[np.float64]:
        """Rows by columns, of features as a request and the online store have them; None and NaN are missing."""
        names = {} if not isinstance(rows, Values) else {name: place for place, name in enumerate(rows.names)}
        of: Sequence[Any] = rows.rows if isinstance(rows, Values) else rows
        matrix = np.empty((len(of), len(self.categories) + len(self.numbers)), np.float64)
        for at, category in enumerate(self.categories):
            key, numbers = names.get(category.name, category.name), category.numbers
            matrix[:, at] = [numbers.get(row[key], _MISSING) for row in of]
        if self.numbers:
            keys = [names.get(name, name) for name in self.numbers]
            several = itemgetter(*keys) if len(keys) > 1 else lambda row: (row[keys[0]],)
            matrix[:, len(self.categories) :] = [*map(several, of)]  # None becomes NaN
        return matrix

    def encode_frame(self, frame: pd.DataFrame) -> npt.NDArray[np.float64]:
        """The same of a frame, as `evergreen.model.rows.inputs` makes it, column by column."""
        codes = [[each.numbers.get(value, _MISSING) for value in frame[each.name]] for each in self.categories]
        coded = np.array(codes, np.float64).reshape(len(codes), len(frame)).T
        return np.ascontiguousarray(np.hstack([coded, frame[[*self.numbers]].to_numpy(np.float64)]))
