"""Which intervals should be there, and which of them are missing, late or waited for."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen.calendar import Calendar, Length
from evergreen.interval import Interval, days
from evergreen.spec.dataset import DatasetSpec, Freshness
from evergreen.status import rules

FIRST, LAST = date(2026, 1, 1), date(2026, 3, 1)
CALENDAR, ALL = Calendar(), days(FIRST, LAST)
MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2026, 4, 1), timezones=st.just(UTC))
GRACES = st.integers(0, 72).map(lambda hours: timedelta(hours=hours))
DONE = st.sets(st.sampled_from([interval.partition for interval in ALL]))


def spec(last_day: date | None = None) -> DatasetSpec:
    return DatasetSpec.model_construct(dataset="probe", first_day=FIRST, last_day=last_day)


def missing(
    calendar: Calendar, first: Interval, last: Interval, done: set[str], now: datetime, grace: timedelta
) -> list[Interval]:
    return rules.by_state(calendar, calendar.between(first, last), done, now, grace)["missing"]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@given(now=MOMENTS, grace=GRACES, done=DONE)
def test_an_interval_is_missing_if_it_is_not_done_and_both_its_grace_and_its_successor_are_over(
    now: datetime, grace: timedelta, done: set[str]
) -> None:
    assert missing(CALENDAR, ALL[0], ALL[-1], done, now, grace) == [
        interval
        for interval in ALL
        if interval.partition not in done and now >= interval.end + grace and now >= interval.end + timedelta(days=1)
    ]


@given(now=MOMENTS, grace=GRACES, done=DONE, later=st.integers(0, 1000))
def test_time_alone_finds_nothing_and_loses_nothing(
    now: datetime, grace: timedelta, done: set[str], later: int
) -> None:
    before = missing(CALENDAR, ALL[0], ALL[-1], done, now, grace)
    assert set(before) <= set(missing(CALENDAR, ALL[0], ALL[-1], done, now + timedelta(hours=later), grace))
    assert not missing(CALENDAR, ALL[0], ALL[-1], done | {interval.partition for interval in before}, now, grace)


@given(now=MOMENTS, grace=st.integers(0, 23).map(lambda hours: timedelta(hours=hours)), done=DONE)
def test_at_most_the_newest_interval_is_late_and_every_one_stands_somehow(
    now: datetime, grace: timedelta, done: set[str]
) -> None:
    over = rules.expected(spec(), now)
    stand = [rules.state(CALENDAR, interval, done, now, grace) for interval in over]
    assert stand.count("late") <= 1 and "late" not in stand[:-1]
    assert "waiting" not in stand[:-1], "what is older than the newest is there or missing"
    assert {interval for interval, state in zip(over, stand, strict=True) if state == "done"} == {
        interval for interval in over if interval.partition in done
    }


@given(now=MOMENTS, last=st.none() | st.dates(FIRST, LAST))
def test_expected_are_the_intervals_of_the_model_that_are_over(now: datetime, last: date | None) -> None:
    over = rules.expected(spec(last), now)
    assert over == [
        interval
        for interval in days(FIRST, date(2026, 5, 1))
        if interval.end <= now and (last is None or interval.start.date() <= last)
    ]


def test_the_newest_interval_waits_then_is_late_then_missing() -> None:
    (day,) = days(date(2026, 2, 1), date(2026, 2, 1))
    grace = timedelta(hours=3)
    states = [
        rules.state(CALENDAR, day, (), at(now), grace)
        for now in ("2026-02-02T02:59", "2026-02-02T03:00", "2026-02-02T23:59", "2026-02-03T00:00")
    ]
    assert states == ["waiting", "late", "late", "missing"]


@given(
    interval=st.sampled_from(["hour", "day", "week", "month"]),
    zone=st.sampled_from(["UTC", "America/New_York", "Australia/Lord_Howe"]),
    first=st.integers(0, 60 * 24),
    now=MOMENTS,
    grace=GRACES,
    lost=st.sets(st.integers(0, 100)),
)
def test_of_any_calendar_exactly_what_was_lost_long_enough_ago_is_missing(
    interval: Length, zone: str, first: int, now: datetime, grace: timedelta, lost: set[int]
) -> None:
    calendar = Calendar(interval, zone)
    begin = calendar.interval_of(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=first))
    every = [begin]
    while len(every) < 100:
        every.append(calendar.after(every[-1]))
    done = {each.partition for number, each in enumerate(every) if number not in lost}
    assert missing(calendar, every[0], every[-1], done, now, grace) == [
        each
        for number, each in enumerate(every)
        if number in lost and now >= each.end + grace and now >= calendar.after(each).end
    ]


@given(wanted=st.sets(st.sampled_from(ALL)))
def test_stretches_hold_exactly_the_intervals_that_they_were_made_of(wanted: set[Interval]) -> None:
    found = rules.stretches(sorted(wanted))
    assert {each for first, last in found for each in days(first.start.date(), last.start.date())} == wanted
    assert all(one[1].end < other[0].start for one, other in itertools.pairwise(found))


def test_intervals_as_people_write_them() -> None:
    some = [*days(date(2026, 1, 5), date(2026, 1, 7)), *days(date(2026, 1, 9), date(2026, 1, 9))]
    assert rules.text(some) == "2026-01-05..2026-01-07, 2026-01-09"
    assert rules.backfill("churn", "monitor", some[0], some[2]).endswith(
        "--dag-id churn__monitor --from-date 2026-01-05 --to-date 2026-01-07 --reprocess-behavior failed "
        "--max-active-runs 1"
    )


@pytest.mark.parametrize(("hours", "stale"), [(None, False), (0, False), (48, False), (49, True)])
def test_features_are_stale_beyond_their_bound_alone(hours: int | None, stale: bool) -> None:
    age = None if hours is None else timedelta(hours=hours)
    assert rules.is_stale(Freshness(bound=timedelta(days=2)), age) == stale
    assert not rules.is_stale(None, age)


@pytest.mark.parametrize(("hours", "text"), [(0, "0h"), (0.5, "0h"), (5, "5h"), (24, "1d"), (51.9, "2d 3h")])
def test_an_age_is_read_at_a_glance(hours: float, text: str) -> None:
    assert rules.age_text(timedelta(hours=hours)) == text
