"""Distances need no scale: what counts is the order of values and how many rows they have."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.spatial.distance import jensenshannon
from scipy.stats import ks_2samp

from evergreen.monitor.cells import Categories, Cells, Numbers, shares

VALUES = arrays.arrays(np.float64, st.integers(1, 60), elements=st.integers(-20, 20).map(float))


def distance(window: pd.Series, reference: pd.Series, kind: type[Cells] = Numbers) -> float:
    cells = kind.of(reference)
    return float(cells.distances(shares(cells.counts(window)), shares(cells.counts(reference))))


@given(window=VALUES, reference=VALUES)
@settings(max_examples=60, deadline=None)
def test_numbers_are_compared_as_scipy_does_wherever_the_reference_has_values(
    window: np.ndarray, reference: np.ndarray
) -> None:
    ours = distance(pd.Series(window), pd.Series(reference))
    # Between two values of the reference, those of a window are alike: only there ours may be less.
    assert ours <= ks_2samp(window, reference, method="asymp").statistic + 1e-9
    cut = np.searchsorted(np.unique(reference), window, "left") + np.searchsorted(np.unique(reference), window, "right")
    same = np.searchsorted(np.unique(reference), reference, "left") + np.searchsorted(
        np.unique(reference), reference, "right"
    )
    assert ours == pytest.approx(ks_2samp(cut, same, method="asymp").statistic)


@given(window=VALUES, reference=VALUES, scale=st.sampled_from([1e-9, 1e-5, 1.0, 1e6]))
@settings(max_examples=40, deadline=None)
def test_the_unit_of_a_number_does_not_matter(window: np.ndarray, reference: np.ndarray, scale: float) -> None:
    plain = distance(pd.Series(window), pd.Series(reference))
    assert distance(pd.Series(window * scale), pd.Series(reference * scale)) == pytest.approx(plain)


def test_a_tiny_feature_that_moves_by_ten_deviations_has_moved() -> None:
    random = np.random.default_rng(0)
    reference, window = random.normal(0, 1e-5, 2000), random.normal(1e-4, 1e-5, 500)
    assert distance(pd.Series(window), pd.Series(reference)) > 0.99


@pytest.mark.parametrize("moved", [6.9999, 7.0001])
def test_a_constant_that_moves_has_moved_whichever_way(moved: float) -> None:
    assert distance(pd.Series([moved] * 10), pd.Series([7.0] * 10)) == 1.0
    assert distance(pd.Series([7.0] * 3), pd.Series([7.0] * 10)) == 0.0


def test_heavy_tails_hide_no_shift() -> None:
    random = np.random.default_rng(0)
    reference, window = random.standard_cauchy(5000), random.standard_cauchy(1000) + 2
    assert distance(pd.Series(window), pd.Series(reference)) > 0.4
    assert distance(pd.Series([np.inf, -np.inf]), pd.Series(reference)) == pytest.approx(0.5, abs=0.01)


def test_nulls_are_in_no_cell() -> None:
    cells = Numbers.of(pd.Series([1.0, np.nan, 2.0]))
    assert cells.edges.tolist() == [1.0, 2.0]
    assert cells.counts(pd.Series([np.nan, 0.0, 1.5, 2.0, 9.0])).tolist() == [1, 0, 1, 1, 1]
    assert Categories.of(pd.Series(["a", None])).counts(pd.Series(["a", None, "b"])).tolist() == [1, 1]


@given(st.lists(st.sampled_from("abcd"), min_size=1), st.lists(st.sampled_from("abc"), min_size=1))
@settings(max_examples=40, deadline=None)
def test_categories_are_compared_as_scipy_does_and_new_ones_count(window: list[str], reference: list[str]) -> None:
    names = sorted({*window, *reference})
    theirs = jensenshannon([window.count(each) for each in names], [reference.count(each) for each in names], base=2)
    assert distance(pd.Series(window), pd.Series(reference), Categories) == pytest.approx(theirs, abs=1e-7)
