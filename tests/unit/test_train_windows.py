"""Which rows the ways to learn after a change take, how much each counts, and on which folds they are compared."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen.handovers.train import LearningWindow, Way
from evergreen.interval import DAY
from evergreen.model.rows import Rows
from evergreen.spec.columns import EVENT
from evergreen.train import windows

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
days = st.lists(st.integers(0, 60), min_size=1, max_size=60)
few_days = st.integers(1, 10)


def cutoffs_of(numbers: list[int]) -> pd.Series:
    return pd.Series([FIRST + number * DAY for number in sorted(numbers)], dtype="datetime64[us, UTC]")


def rows_of(numbers: list[int], weights: list[float] | None = None) -> Rows:
    cutoffs = cutoffs_of(numbers)
    return Rows(
        pd.DataFrame({EVENT: cutoffs}),
        pd.DataFrame({"x": np.arange(len(cutoffs), dtype=float)}),
        np.arange(len(cutoffs)) % 2,
        np.array([f"c{number}" for number in numbers], object),
        None if weights is None else np.array(weights),
    )


@given(numbers=days, change=st.integers(0, 61), minimum=st.integers(1, 40), weights=st.booleans())
def test_the_ways_are_those_that_have_rows_and_the_others_say_why_not(
    numbers: list[int], change: int, minimum: int, weights: bool
) -> None:
    cutoffs, changed_at = cutoffs_of(numbers), FIRST + change * DAY
    ways, left_out = windows.options(cutoffs, changed_at, minimum_rows=minimum, weights=weights)
    old, new = (cutoffs < changed_at).sum(), (cutoffs >= changed_at).sum()
    assert "full" in ways and not ways.keys() & left_out.keys()
    assert ways.keys() | left_out.keys() == ({"full", "since", "weighted"} if old else {"full"})
    assert ("since" in ways) == (old > 0 and new >= minimum)
    assert ("weighted" in ways) == (old > 0 and new > 0 and weights)


@given(numbers=days, change=st.integers(0, 60))
def test_since_counts_what_is_from_after_the_change_and_nothing_else(numbers: list[int], change: int) -> None:
    changed_at, rows = FIRST + change * DAY, rows_of(numbers)
    learned = windows.of(LearningWindow(way="since", since=changed_at), rows)
    assert list(learned.frame[EVENT]) == [moment for moment in rows.frame[EVENT] if moment >= changed_at]
    assert list(learned.labels) == [
        label for label, moment in zip(rows.labels, rows.frame[EVENT], strict=True) if moment >= changed_at
    ]
    assert len(learned.inputs) == len(learned.keys) == len(learned.labels) and learned.weights is None


@given(numbers=days, hours=st.integers(1, 24 * 20), stated=st.booleans())
def test_a_row_that_is_older_by_the_half_life_counts_half(numbers: list[int], hours: int, stated: bool) -> None:
    half_life = timedelta(hours=hours)
    window = LearningWindow(way="weighted", half_life=half_life)
    own = [float(1 + place % 3) for place in range(len(numbers))]
    rows = rows_of(numbers, own if stated else None)
    counts = windows.counts(window, rows.frame[EVENT])
    ages = (rows.frame[EVENT].max() - rows.frame[EVENT]) / pd.Timedelta(half_life)
    assert counts == pytest.approx(0.5 ** ages.to_numpy()) and counts.max() == 1
    learned = windows.of(window, rows)
    assert len(learned.labels) == len(rows.labels), "none is left out"
    assert learned.weights is not None and learned.weights.mean() == pytest.approx(1)
    expected = counts * np.array(own) if stated else counts
    assert learned.weights == pytest.approx(expected / expected.mean()), "what the spec says it counts, by its age"


@given(numbers=days)
def test_full_is_the_rows_themselves(numbers: list[int]) -> None:
    rows = rows_of(numbers)
    assert windows.of(windows.FULL, rows) is rows


@given(numbers=days, change=st.integers(0, 60), horizon=few_days, wanted=st.integers(1, 6))
def test_folds_after_a_change_score_only_what_came_after_it_and_never_look_ahead(
    numbers: list[int], change: int, horizon: int, wanted: int
) -> None:
    cutoffs, changed_at = list(cutoffs_of(numbers)), FIRST + change * DAY
    alone, with_older = windows.folds(cutoffs, lambda moment: moment - horizon * DAY, wanted, changed_at)
    assert not (alone and with_older) and len(alone or with_older) <= wanted
    for fold in alone or with_older:
        learns = [cutoff for cutoff in cutoffs if cutoff <= fold.learn_to]
        scores = [cutoff for cutoff in cutoffs if fold.score_from <= cutoff <= fold.score_to]
        assert scores and min(scores) >= changed_at
        assert learns and max(learns) + horizon * DAY <= min(scores)
        if alone:
            assert max(learns) >= changed_at, "the way that learns from after the change alone can be scored too"
    if not alone:
        new = [cutoff for cutoff in cutoffs if cutoff >= changed_at]
        assert not new or min(new) + horizon * DAY > max(new), "none is missed"


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        ({"full": 0.7, "since": 0.8, "weighted": 0.75}, "since"),
        ({"full": 0.8, "since": 0.8, "weighted": 0.8}, "full"),
        ({"full": float("nan"), "since": 0.5, "weighted": float("inf")}, "since"),
        ({"full": float("nan")}, "full"),
    ],
)
def test_the_best_is_the_best_finite_score_and_of_equals_the_one_with_more_rows(
    scores: dict[Way, float], best: Way
) -> None:
    assert windows.best(scores, lambda score: score) == best
    turned: dict[Way, float] = {way: -score for way, score in scores.items()}
    assert windows.best(turned, lambda score: -score) == best, "whichever way the metric points"
