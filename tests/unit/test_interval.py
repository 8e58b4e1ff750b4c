"""Intervals are half open, aware, in UTC; their partition is the date of their start."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta, timezone

import pendulum
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen.calendar import UTC_DAYS
from evergreen.interval import FIRST_DAY, LAST_DAY, Interval, days, in_utc


@given(st.dates(date(2000, 1, 1), date(2100, 1, 1)))
def test_a_day(day: date) -> None:
    interval = Interval.of_day(day)
    assert (interval.partition, interval.as_of) == (day.isoformat(), interval.start + timedelta(days=1))


@given(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)), st.integers(-12, 14))
def test_the_zone_of_the_caller_does_not_matter(moment: datetime, hours: int) -> None:
    there = moment.replace(tzinfo=UTC).astimezone(timezone(timedelta(hours=hours)))
    assert Interval(there, there + timedelta(hours=1)).partition == moment.date().isoformat()


def test_moments_of_another_kind_become_those_of_the_standard_library() -> None:
    """Airflow's are pendulum's: one in UTC and a length are a moment without a zone."""
    interval = Interval(pendulum.datetime(2026, 1, 1, tz="America/New_York"), pendulum.datetime(2026, 1, 2, 1))
    assert (type(interval.start), interval.start.hour, interval.end.tzinfo) == (datetime, 5, UTC)
    assert interval.end + (interval.end - interval.start) == datetime(2026, 1, 2, 21, tzinfo=UTC)


def test_days_are_contiguous_and_include_both_ends() -> None:
    intervals = days(date(2026, 2, 27), date(2026, 3, 2))
    assert [i.partition for i in intervals] == ["2026-02-27", "2026-02-28", "2026-03-01", "2026-03-02"]
    assert all(a.end == b.start for a, b in itertools.pairwise(intervals))


def test_what_is_no_interval() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    with pytest.raises(ValueError, match="before it starts"):
        Interval(start, start)
    with pytest.raises(ValueError, match="no time zone"):
        Interval(start.replace(tzinfo=None), start)


@pytest.mark.parametrize("day", [date.min, date(1899, 12, 31), date(2200, 1, 1), date.max])
def test_days_that_no_model_may_have(day: date) -> None:
    """The last of all days has no end, and from the first no window looks back."""
    with pytest.raises(ValueError, match=f"{day} is not a day from 1900-01-01 to 2199-12-31"):
        Interval.of_day(day)


def test_the_first_and_the_last_day() -> None:
    for day in (FIRST_DAY, LAST_DAY):
        interval = Interval.of_day(day)
        assert UTC_DAYS.until(interval.end) == interval
        assert interval.start - timedelta(days=36_525) < interval.end + timedelta(days=36_525), "the longest duration"
    for moment in (
        datetime(1900, 1, 1, tzinfo=UTC),
        datetime.max.replace(tzinfo=UTC),
        datetime.min.replace(tzinfo=UTC),
    ):
        with pytest.raises(ValueError, match="from 1900-01-01"):
            UTC_DAYS.until(moment)


def test_moments_that_utc_does_not_have() -> None:
    for moment, hours in ((datetime.min, 14), (datetime.max, -12)):
        with pytest.raises(ValueError, match="no moment in UTC"):
            in_utc(moment.replace(tzinfo=timezone(timedelta(hours=hours))))
