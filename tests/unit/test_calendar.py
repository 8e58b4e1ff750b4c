"""A calendar divides time without a gap, in every zone and through every change of its clock."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta
from typing import get_args
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen.calendar import UTC_DAYS, Calendar, Length
from evergreen.interval import DAY, FIRST_DAY, LAST_DAY, Interval

HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",  # five hours and a half
    "Asia/Kathmandu",  # and three quarters
    "Australia/Lord_Howe",  # changes its clock by half an hour
    "America/St_Johns",  # put its clock back at a minute past midnight, until 2011
    "America/Sao_Paulo",  # changed its clock at midnight
    "Pacific/Apia",  # leapt over 2011-12-30
    "Pacific/Kwajalein",  # leapt over 1993-08-21
    "Africa/Monrovia",  # -0:44:30 until 1972
    "America/Toronto",  # leapt over midnight from half past eleven in 1919
    "Africa/Casablanca",  # two changes around Ramadan
)
lengths = st.sampled_from(get_args(Length))
moments = st.datetimes(datetime(1900, 3, 1), datetime(2199, 11, 1)).map(lambda moment: moment.replace(tzinfo=UTC))


@st.composite
def changes(draw: st.DrawFn) -> tuple[str, datetime]:
    """A zone, and a moment within two days of a change of its clock, where it has one that year."""
    zone, year = draw(st.sampled_from(ZONES)), draw(st.integers(1905, 2040))
    hours = (datetime(year, 1, 1, tzinfo=UTC) + number * HOUR for number in range(0, 24 * 365, 12))
    offsets = [(moment, moment.astimezone(ZoneInfo(zone)).utcoffset()) for moment in hours]
    changed = [later for (_, old), (later, new) in itertools.pairwise(offsets) if old != new]
    near = draw(st.sampled_from(changed or [datetime(year, 6, 1, tzinfo=UTC)]))
    return zone, near + timedelta(seconds=draw(st.integers(-2 * 86_400, 2 * 86_400)))


anywhere = st.one_of(changes(), st.tuples(st.sampled_from(ZONES), moments))


@given(lengths, anywhere)
def test_time_is_divided_without_a_gap_and_keys_sort(length: Length, where: tuple[str, datetime]) -> None:
    zone, moment = where
    calendar = Calendar(length, zone)
    interval = calendar.interval_of(moment)
    assert interval.start <= moment < interval.end
    before, after = calendar.before(interval), calendar.after(interval)
    assert (before.end, after.start) == (interval.start, interval.end)
    assert before.partition < interval.partition < after.partition
    assert calendar.before(after) == interval == calendar.after(before)
    assert calendar.newest_complete(interval.end) == interval == calendar.newest_complete(after.end - SECOND)
    assert calendar.newest_complete(interval.end - SECOND) == before
    assert calendar.between(before, after) == [before, interval, after]
    assert calendar.between(after, before) == []


@given(lengths, anywhere)
def test_a_key_names_its_interval(length: Length, where: tuple[str, datetime]) -> None:
    calendar = Calendar(length, where[0])
    interval = calendar.interval_of(where[1])
    again = calendar.at(interval.partition)
    assert (again, again.partition) == (interval, interval.partition)


@given(anywhere)
def test_a_local_day_has_the_moments_of_its_date(where: tuple[str, datetime]) -> None:
    """Each but those which a clock that is put back over midnight shows again."""
    zone, moment = where
    interval = Calendar("day", zone).interval_of(moment)
    shown = moment.astimezone(ZoneInfo(zone))
    if shown.date().isoformat() != interval.partition:
        assert (moment - 2 * HOUR).astimezone(ZoneInfo(zone)).date() == shown.date()
        assert shown.hour >= 22, "before a midnight that comes again"
    assert timedelta(0) < interval.end - interval.start <= 2 * DAY


@given(anywhere)
def test_an_hour_begins_when_the_clock_shows_a_full_one(where: tuple[str, datetime]) -> None:
    zone, moment = where
    interval = Calendar("hour", zone).interval_of(moment)
    for full in (interval.start, interval.end):
        shown = full.astimezone(ZoneInfo(zone))
        assert (shown.minute, shown.second, shown.microsecond) == (0, 0, 0)


@given(st.dates(FIRST_DAY, LAST_DAY))
def test_days_in_utc_are_what_they_were(day: date) -> None:
    interval = UTC_DAYS.at(day.isoformat())
    assert (interval, interval.partition) == (Interval.of_day(day), day.isoformat())


@pytest.mark.parametrize(
    ("calendar", "partition", "start", "hours"),
    [
        (Calendar("day", "Europe/Berlin"), "2026-03-29", "2026-03-28T23:00", 23),
        (Calendar("day", "Europe/Berlin"), "2026-10-25", "2026-10-24T22:00", 25),
        (Calendar("day", "America/New_York"), "2026-01-21", "2026-01-21T05:00", 24),
        (Calendar("day", "America/Sao_Paulo"), "2018-11-04", "2018-11-04T03:00", 23),  # begins at one o'clock
        (Calendar("day", "America/St_Johns"), "2010-11-07", "2010-11-07T02:30", 25),
        (Calendar("day", "Pacific/Apia"), "2011-12-29", "2011-12-29T10:00", 24),
        (Calendar("day", "America/Toronto"), "1919-03-31", "1919-03-31T04:30", 23.5),
        (Calendar("week", "Europe/Berlin"), "2026-10-19", "2026-10-18T22:00", 7 * 24 + 1),
        (Calendar("week", "UTC"), "2025-12-29", "2025-12-29T00:00", 7 * 24),
        (Calendar("month", "Europe/Berlin"), "2026-03", "2026-02-28T23:00", 31 * 24 - 1),
        (Calendar("hour", "Asia/Kolkata"), "2026-10-25T0130Z", "2026-10-25T01:30", 1),
        (Calendar("hour", "Australia/Lord_Howe"), "2026-04-04T1400Z", "2026-04-04T14:00", 1.5),
        (Calendar("hour", "Australia/Lord_Howe"), "2026-10-03T1430Z", "2026-10-03T14:30", 1.5),
    ],
)
def test_intervals_around_changes_of_the_clock(calendar: Calendar, partition: str, start: str, hours: float) -> None:
    interval = calendar.at(partition)
    assert interval.start == datetime.fromisoformat(start).replace(tzinfo=UTC)
    assert interval.end - interval.start == hours * HOUR


def test_a_night_in_which_the_clock_is_put_back_has_each_of_its_hours_once() -> None:
    night = Calendar("hour", "Europe/Berlin")
    hours = night.between(night.at("2026-10-24T2200Z"), night.at("2026-10-25T0200Z"))
    assert [hour.partition[-6:] for hour in hours] == ["T2200Z", "T2300Z", "T0000Z", "T0100Z", "T0200Z"]
    assert [hour.start.astimezone(ZoneInfo("Europe/Berlin")).hour for hour in hours] == [0, 1, 2, 2, 3]


@pytest.mark.parametrize(
    ("calendar", "partition"),
    [
        (UTC_DAYS, "2026-1-5"),
        (UTC_DAYS, "20260105"),
        (UTC_DAYS, "2026-02-30"),
        (UTC_DAYS, "2026-01-05\n"),
        (UTC_DAYS, "٢٠٢٦-01-05"),
        (UTC_DAYS, "1899-12-31"),
        (UTC_DAYS, "9999-12-31"),
        (UTC_DAYS, "2026-01-05T0000Z"),
        (Calendar("day", "Pacific/Apia"), "2011-12-30"),
        (Calendar("week"), "2026-01-06"),
        (Calendar("month"), "2026-13"),
        (Calendar("month"), "0000-01"),
        (Calendar("hour"), "2026-01-05T0030Z"),
        (Calendar("hour"), "2026-01-05T2400Z"),
        (Calendar("hour", "Asia/Kolkata"), "2026-01-05T0000Z"),
        (Calendar("hour"), "1899-12-31T2300Z"),
    ],
)
def test_what_is_no_partition_is_refused(calendar: Calendar, partition: str) -> None:
    with pytest.raises(ValueError, match=r"is not|must be|out of range"):
        calendar.at(partition)


@pytest.mark.parametrize("length", get_args(Length))
@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Pacific/Niue", "Asia/Kolkata"])
def test_the_ends_of_the_calendar(length: Length, zone: str) -> None:
    calendar = Calendar(length, zone)
    for moment in (
        datetime.min.replace(tzinfo=UTC),
        datetime(1899, 12, 29, tzinfo=UTC),
        datetime(2200, 1, 3, tzinfo=UTC),
        datetime.max.replace(tzinfo=UTC),
    ):
        with pytest.raises(ValueError, match="1900-01-01"):
            calendar.interval_of(moment)
    last = calendar.interval_of(datetime(2199, 12, 15, tzinfo=UTC))
    with pytest.raises(ValueError, match="2199-12-31"):
        for _ in range(1000):
            last = calendar.after(last)
    assert last.start - timedelta(days=36_525) < last.end + timedelta(days=36_525), "the longest duration"


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "Europe", "../etc/passwd", "/etc/passwd", "Europe/Berlin\0"])
def test_a_zone_that_does_not_exist(zone: str) -> None:
    with pytest.raises(ValueError, match="no time zone"):
        Calendar("day", zone)


def test_a_moment_without_a_zone_is_one_of_the_calendars_clock() -> None:
    berlin = Calendar("day", "Europe/Berlin")
    assert berlin.by_its_clock(datetime(2026, 7, 31, 12)) == datetime(2026, 7, 31, 10, tzinfo=UTC)
    assert berlin.by_its_clock(datetime(2026, 7, 31, 12, tzinfo=UTC)) == datetime(2026, 7, 31, 12, tzinfo=UTC)
    assert berlin.by_its_clock(datetime(2026, 10, 25, 2, 30)).astimezone(UTC) == datetime(
        2026, 10, 25, 0, 30, tzinfo=UTC
    )
