"""From a model's inputs to the numbers of a graph's columns: categories by their codes first, then numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
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
        codes = [(each.name, each.numbers) for each in self.categories]
        return np.array(
            [
                [numbers.get(row[name], _MISSING) for name, numbers in codes]
                + [_MISSING if (value := row[name]) is None else value for name in self.numbers]
                for row in rows
            ],
            np.float64,
        ).reshape(len(rows), len(codes) + len(self.numbers))

    def encode_frame(self, frame: pd.DataFrame) -> npt.NDArray[np.float64]:
        """The same of a frame, as `evergreen.model.rows.inputs` makes it, column by column."""
        codes = [[each.numbers.get(value, _MISSING) for value in frame[each.name]] for each in self.categories]
        coded = np.array(codes, np.float64).reshape(len(codes), len(frame)).T
        return np.ascontiguousarray(np.hstack([coded, frame[[*self.numbers]].to_numpy(np.float64)]))
