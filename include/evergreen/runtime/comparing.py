"""Whether a graph answers as the pipeline does, and how much sooner."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from evergreen.families import Columns
from evergreen.model.rows import predict
from evergreen.runtime.answering import GraphPredictor

TOLERANCE = 1e-9  # between two answers; of numbers beyond 1, of their size
_BASES = 5  # rows of which each feature in turn is made odd
_ODD_NUMBERS = (math.nan, 0.0, -1e30, 1e30)
_ODD_TEXTS = (None, "a value that no row of a training has")
_TURNS = 7  # of which the median counts


@dataclass(frozen=True)
class Compared:
    """What a comparison found.

    Attributes:
        rows: how many were asked.
        difference: the largest between two answers; infinite where one is no number.
        original, graph: seconds of one answer to one row.
    """

    rows: int
    difference: float
    original: float
    graph: float

    @property
    def faithful(self) -> bool:
        """Whether the answers are the same."""
        return self.difference <= TOLERANCE


def compare(pipeline: Pipeline, graph: GraphPredictor, columns: Columns, inputs: pd.DataFrame) -> Compared:
    """Ask both about rows, and about such rows with nulls, unseen categories and extreme numbers.

    Args:
        inputs: rows that the pipeline has not learned from, as the model takes them; at least one.
    """
    asked = pd.concat([inputs, odd(columns, inputs)], ignore_index=True)
    originals, answers = predict(pipeline, asked), graph.predict(asked)
    differences = np.abs(answers - originals) / np.maximum(1.0, np.abs(originals))
    first = inputs.head(1)
    one = [{str(name): None if pd.isna(each[0]) else each[0] for name, each in first.to_dict("list").items()}]
    return Compared(
        len(asked),
        float(np.nan_to_num(differences, nan=math.inf).max()),
        _seconds(lambda: predict(pipeline, first)),
        _seconds(lambda: graph.answer(one)),
    )


def odd(columns: Columns, inputs: pd.DataFrame) -> pd.DataFrame:
    """Some rows, each feature of them in turn missing, unseen or extreme; and a row in which nothing is known."""
    base = inputs.head(_BASES)
    changed = [base.assign(**{name: value}) for name, value in _odd_values(columns)]
    nothing = base.head(1).assign(**dict.fromkeys(columns.numbers, math.nan), **dict.fromkeys(columns.categories))
    return pd.concat([*changed, nothing], ignore_index=True).astype(inputs.dtypes.to_dict())


def _odd_values(columns: Columns) -> Iterator[tuple[str, Any]]:
    yield from ((name, value) for name in columns.numbers for value in _ODD_NUMBERS)
    yield from ((name, value) for name in columns.categories for value in _ODD_TEXTS)


def _seconds(answer: Callable[[], object]) -> float:
    """Of one call, when it has been called before."""
    answer()
    taken = []
    for _ in range(_TURNS):
        started = time.perf_counter()
        answer()
        taken.append(time.perf_counter() - started)
    return median(taken)
