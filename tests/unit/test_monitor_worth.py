"""What a window's answers were worth, and how it is told."""

from __future__ import annotations

import math

import pytest

from evergreen.handovers.monitor import Worth
from evergreen.model.intervals import Spread
from evergreen.monitor import worth


def of(value: float, error: float = 10.0) -> Spread:
    return Spread(value, error, freedom=1e6)


def test_a_loss_has_the_errors_of_both_sides() -> None:
    made = worth.beside("EUR", of(300, 30), of(800, 40), rows=980)
    assert (made.value, made.usual, made.lost, made.rows) == (300, 800, 500, 980)
    assert (made.low, made.high) == (pytest.approx(300 - 1.96 * 30, abs=0.1), pytest.approx(300 + 1.96 * 30, abs=0.1))
    assert made.lost_low == pytest.approx(500 - 1.96 * 50, abs=0.1)
    assert made.lost_high == pytest.approx(500 + 1.96 * 50, abs=0.1)


def test_nothing_is_lost_beside_nothing_and_no_interval_is_no_number() -> None:
    alone = worth.beside("EUR", Spread(300, math.nan, 0), None, rows=1)
    assert (alone.low, alone.high, alone.usual, alone.lost) == (None, None, None, None)
    assert worth.told(alone, 10) == "1,000 predictions are worth 300 EUR, by 1 matured rows"


def test_a_loss_is_told_of_1000_predictions_and_of_the_interval() -> None:
    said = worth.told(worth.beside("EUR", of(300, 30), of(800, 40), rows=980), predictions=2000)
    assert said == (
        "1,000 predictions are worth 300 EUR (241 to 359), by 980 matured rows: 500 EUR less than at evaluation "
        "(402 to 598), some 1,000 EUR for the interval's 2,000 predictions"
    )


def test_a_gain_is_told_as_one() -> None:
    said = worth.told(worth.beside("points", of(12.5, 1), of(2.5, 1), rows=50), predictions=100)
    assert said is not None and "10 points more than at evaluation (7.228 to 12.77), some 1 points for" in said


def test_windows_together_count_by_their_rows() -> None:
    first, second = worth.beside("EUR", of(100, 10), None, 300), worth.beside("EUR", of(500, 20), None, 100)
    both = worth.together([first, second])
    assert both is not None and (both.value, both.rows) == (200, 400)
    half = 1.96 * math.hypot(10 * 300, 20 * 100) / 400
    assert (both.low, both.high) == (pytest.approx(200 - half, abs=0.1), pytest.approx(200 + half, abs=0.1))
    assert (
        worth.together([first, worth.beside("USD", of(5), None, 7)]) == worth.beside("USD", of(5), None, 7).model_copy()
    )
    assert worth.together([]) is None and worth.line(None) == ""
    assert worth.line(both) == f"200 EUR ({200 - half:.0f} to {200 + half:.0f})"


def test_what_a_decision_keeps_is_read_again_and_anything_else_is_nothing() -> None:
    made = worth.beside("EUR", of(300), of(800), rows=9)
    assert worth.recorded(made.model_dump(mode="json")) == made
    assert worth.recorded(None) is worth.recorded({"value": "much"}) is worth.recorded(3) is None


def test_an_interval_without_answers_loses_nothing() -> None:
    assert worth.of_window(500, 0) == 0 and worth.of_window(500, 2000) == 1000
    assert Worth(currency="EUR", value=1, low=None, high=None, rows=0).lost is None
