"""Fairness as gates: the groups of each protected attribute on the evaluation rows, against the bounds of the spec."""

from __future__ import annotations

import operator

from evergreen.handovers.fairness import Fair, named
from evergreen.handovers.gate import Gate
from evergreen.model import fairness
from evergreen.spec.fairness import Fairness


def gates(asked: Fairness, attribute: str, fair: Fair | None) -> list[Gate]:
    """A gate of an attribute for each number that has a bound; `fair` is None where it has no two groups."""
    return [
        _gate(attribute, number, bound, fair, asked.minimum_rows)
        for number in fairness.NUMBERS
        if (bound := getattr(asked, number)) is not None
    ]


def _gate(attribute: str, number: str, bound: float, fair: Fair | None, least: int) -> Gate:
    name = named(number, attribute)
    if fair is None:
        return Gate(name, None, bound, "no evidence", f"fewer than two groups have {least} rows")
    value, low, high = fair.numbers.get(number, (None, None, None))
    told = f"yes is answered to {fair.answered}"
    if value is None:
        return Gate(name, None, bound, "no evidence", f"not defined: {told}")
    good = (operator.ge if number == fairness.RATIO else operator.le)(value, bound)
    rows = sum(fair.rows.values())
    return Gate(name, value, bound, "pass" if good else "fail", told, low=low, high=high, rows=rows)
