"""The numbers of fairness are fairlearn's."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from fairlearn.metrics import demographic_parity_difference, demographic_parity_ratio, equalized_odds_difference
from hypothesis import example, given
from hypothesis import strategies as st

from evergreen.handovers.fairness import Fair
from evergreen.model import fairness

Row = tuple[str, int, int, int]  # group, label, decision, weight


def measured(rows: list[Row], *, labelled: bool = True) -> Fair | None:
    """Ours. Rows count alike there, so that a row of weight 2 is there twice."""
    groups, labels, decided, weights = (np.array(column) for column in zip(*rows, strict=True))
    groups, labels, decided = (np.repeat(column, weights) for column in (groups, labels, decided))
    alike = np.arange(len(labels)).astype(object)
    told = labels if labelled else None
    return fairness.measure("group", pd.Series(groups), decided.astype(float), told, alike, least=1)


@given(st.lists(st.tuples(st.sampled_from("abcd"), *[st.integers(0, 1)] * 2, st.integers(1, 3)), min_size=2))
@example([("a", 1, 1, 1), ("a", 0, 0, 1), ("b", 0, 1, 2)])  # b has no positive
@example([("a", 1, 0, 1), ("b", 1, 0, 1)])  # nobody is answered a yes, and nobody is negative
@example([("a", 1, 0, 1), ("b", 0, 1, 1)])  # a has no negative, b no positive
@example([("a", 1, 0, 1), ("a", 0, 1, 3)])  # one group
def test_the_numbers_are_those_of_fairlearn(rows: list[Row]) -> None:
    groups, labels, decided, weights = (np.array(column) for column in zip(*rows, strict=True))
    asked = {"sensitive_features": groups, "sample_weight": weights}
    made = measured(rows)
    if made is None:  # there, a group is as alike as can be to itself; here, that is no evidence
        assert len(set(groups)) == 1
        assert demographic_parity_difference(labels, decided, **asked) == 0
        return
    parity, ratio, odds = (
        made.numbers[name][0] for name in ("demographic_parity", "disparate_impact", "equalised_odds")
    )
    assert parity == pytest.approx(demographic_parity_difference(labels, decided, **asked))
    if decided.any():
        assert ratio == pytest.approx(demographic_parity_ratio(labels, decided, **asked))
    else:
        assert ratio is None and np.isnan(demographic_parity_ratio(labels, decided, **asked))
    if all(len(set(labels[groups == group])) == 2 for group in set(groups)):
        assert odds == pytest.approx(equalized_odds_difference(labels, decided, **asked))
    else:  # fairlearn's rate of a group without rows of a label is 0; ours is not known
        assert made.numbers["equalised_odds"] == (None, None, None)


def test_without_labels_there_are_no_odds() -> None:
    open_ones = measured([("a", 0, 1, 1), ("b", 0, 0, 1)], labelled=False)
    assert open_ones is not None and "equalised_odds" not in open_ones.numbers
