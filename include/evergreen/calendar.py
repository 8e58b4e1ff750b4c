"""How time is divided into intervals: hours, days, weeks or months of a named zone, with every change of its clock."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Literal
from zoneinfo import ZoneInfo

from evergreen.interval import DAY, FIRST_DAY, LAST_DAY, Interval, in_utc

Length = Literal["hour", "day", "week", "month"]

_HOUR, _SECOND = timedelta(hours=1), timedelta(seconds=1)
_EXAMPLES: dict[Length, str] = {
    "hour": "2026-01-31T1400Z",  # the start in UTC, which no change of the clock repeats
    "day": "2026-01-31",
    "week": "2026-01-26",
    "month": "2026-01",
}
_FORMS: dict[Length, re.Pattern[str]] = {
    "hour": re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d)(\d\d)(\d\d)?Z", re.ASCII),
    "day": re.compile(r"(\d{4})-(\d\d)-(\d\d)", re.ASCII),
    "week": re.compile(r"(\d{4})-(\d\d)-(\d\d)", re.ASCII),
    "month": re.compile(r"(\d{4})-(\d\d)", re.ASCII),
}


@dataclass(frozen=True)
class Calendar:
    """Divides time without a gap and without an overlap; the partition keys of its intervals sort as the intervals do.

    A day begins with the first moment that has its date, a week on Monday, a month on its first day, an hour when the
    zone's clock shows a full one. So a day in which the clock is changed has 23 or 25 hours, an hour in which it is put
    forward by half an hour ends that much later by the clock, and a day that a zone leapt over is none.

    Raises:
        ValueError: there is no such zone. So do its methods where no interval is meant that a dataset may have.
    """

    interval: Length = "day"
    zone: str = "UTC"

    def __post_init__(self) -> None:
        _zone(self.zone)

    def __str__(self) -> str:
        """A partition of it in words, with an example: `a day (UTC), as 2026-01-31`."""
        monday = " (the date of its Monday)" if self.interval == "week" else ""
        article = "an" if self.interval == "hour" else "a"
        return f"{article} {self.interval} ({self.zone}), as {_EXAMPLES[self.interval]}{monday}"

    def interval_of(self, moment: datetime) -> Interval:
        """The interval that a moment lies in."""
        moment = in_utc(moment)
        if not FIRST_DAY - 2 * DAY <= moment.date() <= LAST_DAY + 2 * DAY:
            raise self._beyond(moment.isoformat())
        if self.interval == "hour":
            start = self._full_hour(moment)
            if not FIRST_DAY <= start.astimezone(_zone(self.zone)).date() <= LAST_DAY:
                raise self._beyond(moment.isoformat())
            seconds = "%S" if start.second else ""  # of a zone's own mean time, a century ago
            return Interval(start, self._next_full_hour(start), f"{start:%Y-%m-%dT%H%M{seconds}Z}")
        first = self._first(moment.astimezone(_zone(self.zone)).date())
        # A clock that is put back over midnight shows a date again whose day has ended.
        while self._begins(self._next(first)) <= moment:
            first = self._next(first)
        while self._begins(first) > moment:
            first = self._first(first - DAY)
        if not FIRST_DAY <= first <= self._next(first) - DAY <= LAST_DAY:
            raise self._beyond(moment.isoformat())
        key = f"{first:%Y-%m}" if self.interval == "month" else first.isoformat()
        return Interval(self._begins(first), self._begins(self._next(first)), key)

    def at(self, partition: str) -> Interval:
        """The interval of a partition key."""
        form = _FORMS[self.interval].fullmatch(partition)
        if form is None:
            raise ValueError(f"{partition!r} is not {self}")
        numbers = [int(each or 0) for each in form.groups()]
        if self.interval == "hour":
            year, month, day, hour, minute, second = numbers
            start = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
        else:
            year, month, day = (*numbers, 1)[:3]  # of a month, its first
            first = date(year, month, day)
            if not FIRST_DAY <= first <= LAST_DAY:
                raise self._beyond(partition)
            start = self._begins(first)
        interval = self.interval_of(start)
        if interval.partition != partition:
            raise ValueError(f"{partition!r} is not {self}; {interval.partition} is")
        return interval

    def before(self, interval: Interval) -> Interval:
        """The interval that ends where one begins."""
        return self.interval_of(interval.start - datetime.resolution)

    def after(self, interval: Interval) -> Interval:
        """The interval that begins where one ends."""
        return self.interval_of(interval.end)

    def between(self, first: Interval, last: Interval) -> list[Interval]:
        """The intervals from one to another, both included; none where the first is the later one."""
        intervals = []
        while first <= last:
            intervals.append(first)
            if first == last:
                break  # and nothing is asked of what may lie beyond the calendar
            first = self.after(first)
        return intervals

    def newest_complete(self, now: datetime) -> Interval:
        """The last interval that has ended by now."""
        return self.before(self.interval_of(now))

    def _first(self, day: date) -> date:
        """The first local day of the interval that a local day belongs to."""
        if self.interval == "week":
            return day - day.weekday() * DAY
        return day.replace(day=1) if self.interval == "month" else day

    def _next(self, first: date) -> date:
        """The first local day of the interval after the one that has the first day `first`."""
        if self.interval == "month":
            return (first + 31 * DAY).replace(day=1)
        return first + (7 * DAY if self.interval == "week" else DAY)

    def _begins(self, day: date) -> datetime:
        """When a local day begins. Of a day that the zone leapt over, when the next one does."""
        midnight = datetime(day.year, day.month, day.day)
        begin = midnight.replace(tzinfo=_zone(self.zone)).astimezone(UTC)  # the first, of a midnight that is repeated
        if begin.astimezone(_zone(self.zone)).replace(tzinfo=None) == midnight:
            return begin
        # The clock is put forward over midnight: the day begins with that change.
        return self._change(midnight.replace(tzinfo=_zone(self.zone), fold=1).astimezone(UTC), begin)

    def _full_hour(self, moment: datetime) -> datetime:
        """The last moment, until this one, at which the clock shows a full hour."""
        while True:
            full = moment - self._past_hour(moment)
            if not self._past_hour(full):
                return full
            # The clock was changed since then, by other than whole hours.
            moment = self._change(full, moment) - datetime.resolution

    def _next_full_hour(self, moment: datetime) -> datetime:
        """The first moment after this one at which the clock shows a full hour."""
        while True:
            full = moment + _HOUR - self._past_hour(moment)
            if not self._past_hour(full):
                return full
            moment = self._change(moment, full)
            if not self._past_hour(moment):
                return moment

    def _past_hour(self, moment: datetime) -> timedelta:
        local = moment.astimezone(_zone(self.zone))
        return timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)

    def _change(self, before: datetime, after: datetime) -> datetime:
        """The moment, after the first and until the second, with which the clock has another offset."""
        zone = _zone(self.zone)
        old = before.astimezone(zone).utcoffset()
        before = before.replace(microsecond=0)  # clocks are changed at whole seconds
        while after - before > _SECOND:
            middle = before + (after - before) // _SECOND // 2 * _SECOND
            if middle.astimezone(zone).utcoffset() == old:
                before = middle
            else:
                after = middle
        return before + _SECOND

    def _beyond(self, found: str) -> ValueError:
        return ValueError(f"{found} is not in {self}, from {FIRST_DAY} to {LAST_DAY}")


@cache
def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError) as error:  # not there, a folder, or a path out of the database
        raise ValueError(f"there is no time zone {name!r}; one is called as Europe/Berlin") from error


UTC_DAYS = Calendar()
