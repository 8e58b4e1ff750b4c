"""Fairness of a candidate: the groups of each protected attribute on the evaluation rows, and the gates that they
decide."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from evergreen.handovers.fairness import Fair
from evergreen.handovers.train import Gate
from evergreen.model import fairness
from evergreen.model.rows import Rows
from evergreen.model.weightings import Floats
from evergreen.spec import expression
from evergreen.spec.fairness import Fairness
from evergreen.spec.problem import Problem
from evergreen.spec.schema import ModelSpec

_SECONDS = 600.0  # an expression may take


def measure(
    spec: ModelSpec, asked: Fairness, problem: Problem, later: Rows, predictions: Floats, alike: npt.NDArray[np.object_]
) -> list[Fair]:
    """The numbers of each attribute that has two groups or more.

    Args:
        problem: with the candidate's threshold.

    Raises:
        QueryRefused: an expression cannot be computed.
    """
    rows, decided = expression.table(spec, later.frame), problem.decided(predictions)
    found = []
    for text in asked.by:
        groups = expression.values(spec, text, rows, seconds=_SECONDS, key=expression.FAIRNESS).to_pandas()
        made = fairness.measure(text, groups_of(groups), decided, later.labels, alike, asked.minimum_rows)
        found += [] if made is None else [made]
    return found


def groups_of(values: pd.Series[Any]) -> pd.Series[Any]:
    """The values as names of groups; what is missing is of none."""
    return values.map(lambda value: None if pd.isna(value) else str(value)).astype(object)


def gates(asked: Fairness, found: Sequence[Fair]) -> list[Gate]:
    """A gate for each attribute and each number that has a bound."""
    by_name = {each.attribute: each for each in found}
    return [
        _gate(text, number, bound, by_name.get(text), asked.minimum_rows)
        for text in asked.by
        for number in fairness.NUMBERS
        if (bound := getattr(asked, number)) is not None
    ]


def _gate(attribute: str, number: str, bound: float, fair: Fair | None, least: int) -> Gate:
    name = f"{number.replace('_', ' ')} of {attribute}"
    if fair is None:
        return Gate(name, None, bound, "no evidence", f"fewer than two groups have {least} rows")
    value, low, high = fair.numbers.get(number, (None, None, None))
    told = f"yes is answered to {_told(fair.shares, fair.rows)}"
    if value is None:
        return Gate(name, None, bound, "no evidence", f"not defined: {told}")
    good = (operator.ge if number == fairness.RATIO else operator.le)(value, bound)
    rows = sum(fair.rows.values())
    return Gate(name, value, bound, "pass" if good else "fail", told, low=low, high=high, rows=rows)


def _told(shares: Mapping[str, float], rows: Mapping[str, int]) -> str:
    """The share of yes of each group."""
    return ", ".join(f"{name} {share:.1%} of {rows[name]:,}" for name, share in shares.items())
