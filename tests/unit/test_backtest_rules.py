"""Which trainings a backtest makes: its windows lie side by side, and each has its training before it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen.backtest.rules import windows
from evergreen.calendar import Calendar
from tests.small_models import tiny

FIRST = datetime(2026, 1, 3, tzinfo=UTC)


@given(
    days=st.integers(0, 200),
    minutes=st.integers(0, 24 * 60 - 1),
    length=st.integers(1, 21),
    calendar=st.sampled_from(
        [Calendar("hour"), Calendar("day"), Calendar("day", "America/New_York"), Calendar("week", "Europe/Berlin")]
    ),
)
def test_windows_lie_side_by_side_and_end_with_the_newest_prediction(
    days: int, minutes: int, length: int, calendar: Calendar
) -> None:
    model = tiny(calendar=calendar)
    last = FIRST + timedelta(days=days, minutes=minutes)
    found = list(windows(model, FIRST, last, timedelta(days=length)))
    for later, earlier in pairwise(found):
        assert earlier.end == later.start, "no prediction is judged twice, and none is left out"
    for window in found:
        assert (
            window.start == window.training.end
            and model.calendar.interval_of(window.training.start).end == window.start
        )
        assert model.calendar.earlier(window.start, model.label.horizon) >= FIRST, "there is a label to learn from"
    if found:
        assert found[0].start <= last < found[0].end


def test_a_window_is_as_long_as_it_is_asked_for() -> None:
    last = datetime(2026, 2, 1, tzinfo=UTC)
    found = list(windows(tiny(), FIRST, last, timedelta(days=3)))
    assert [(each.start.day, each.end.day) for each in found[:2]] == [(30, 2), (27, 30)]
    assert {each.end - each.start for each in found} == {timedelta(days=3)}


@pytest.mark.parametrize("last", [FIRST, FIRST + timedelta(days=1)])
def test_there_is_none_before_anything_can_be_learned(last: datetime) -> None:
    assert list(windows(tiny(), FIRST, last, timedelta(days=1))) == []
