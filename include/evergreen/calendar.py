"""How time is divided into intervals: hours, days, weeks or months of a named zone, with every change of its clock."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Annotated, ClassVar, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, ConfigDict, Field

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


# How long an interval is, at least and at most, but for changes of the clock; those make it longer by no more than
# `_CHANGED`.
_SHORTEST: dict[Length, timedelta] = {"hour": _HOUR, "day": DAY, "week": 7 * DAY, "month": 28 * DAY}
_LONGEST: dict[Length, timedelta] = _SHORTEST | {"month": 31 * DAY}
_CHANGED = timedelta(hours=2)


def known_zone(zone: str) -> str:
    """The name of a time zone as it is; raises ValueError where there is no such zone."""
    try:
        _zone(zone)
    except ValueError:
        raise ValueError("a time zone by its name, such as Europe/Berlin") from None
    return zone


@dataclass(frozen=True)
class Calendar:
    """How time is divided into intervals, without a gap and without an overlap; partition keys sort as they do.

    A day begins with the first moment that has its date, a week on Monday, a month on its first day, an hour when the
    zone's clock shows a full one. So a day in which the clock is changed has 23 or 25 hours, an hour in which it is put
    forward by half an hour ends that much later by the clock, and a day that a zone leapt over is none.
    """

    # Raises ValueError where there is no such zone; its methods, where no interval is meant that a dataset may have.

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    every: Annotated[Length, Field(description="how long an interval is; a week begins on Monday")] = "day"
    zone: Annotated[str, AfterValidator(known_zone), Field(description="the time zone, such as Europe/Berlin")] = "UTC"

    def __post_init__(self) -> None:
        _zone(self.zone)

    def __str__(self) -> str:
        """A partition of it in words, with an example: `a day (UTC), as 2026-01-31`."""
        monday = " (the date of its Monday)" if self.every == "week" else ""
        return f"{self.name}, as {_EXAMPLES[self.every]}{monday}"

    @property
    def name(self) -> str:
        """An interval of it in words: `a day (UTC)`."""
        return f"{'an' if self.every == 'hour' else 'a'} {self.every} ({self.zone})"

    @property
    def unit(self) -> timedelta:
        """What durations are whole numbers of, where they are counted in intervals; of months, days."""
        return DAY if self.every == "month" else _SHORTEST[self.every]

    @property
    def shortest(self) -> timedelta:
        """No interval is shorter, but for a change of the clock."""
        return _SHORTEST[self.every]

    @property
    def longest(self) -> timedelta:
        """No interval is longer, but for a change of the clock."""
        return _LONGEST[self.every]

    @property
    def bound(self) -> timedelta:
        """No interval is longer, whatever its clock does."""
        return _LONGEST[self.every] + (timedelta(0) if self.zone == "UTC" else _CHANGED)

    @property
    def parts(self) -> tuple[str, ...]:
        """What a partition key is made of: `year`, `month`, …"""
        return ("year", "month", "day", "hour")[: {"hour": 4, "month": 2}.get(self.every, 3)]

    def interval_of(self, moment: datetime) -> Interval:
        """The interval that a moment lies in."""
        moment = in_utc(moment)
        if not FIRST_DAY - 2 * DAY <= moment.date() <= LAST_DAY + 2 * DAY:
            raise self._beyond(moment.isoformat())
        if self.every == "hour":
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
        key = f"{first:%Y-%m}" if self.every == "month" else first.isoformat()
        return Interval(self._begins(first), self._begins(self._next(first)), key)

    def at(self, partition: str) -> Interval:
        """The interval of a partition key."""
        form = _FORMS[self.every].fullmatch(partition)
        if form is None:
            raise ValueError(f"{partition!r} is not {self}")
        numbers = [int(each or 0) for each in form.groups()]
        if self.every == "hour":
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
            if plain := self._plain(first, last):
                intervals.extend(plain)
                first = plain[-1]
            else:
                intervals.append(first)
            if first == last:
                break  # and nothing is asked of what may lie beyond the calendar
            first = self.after(first)
        return intervals

    def _plain(self, first: Interval, last: Interval) -> list[Interval]:
        """The intervals from one on, by `last`, for which no clock need be asked: days in UTC, and the hours of a day
        in which the clock is not changed. Histories of years are asked for."""
        if self == UTC_DAYS:
            starts = (first.start + number * DAY for number in range((last.end - first.start) // DAY))
            return [Interval(start, start + DAY, start.date().isoformat()) for start in starts]
        zone, until = _zone(self.zone), first.start + DAY
        if self.every != "hour" or until > last.end or first.start.second or first.end - first.start != _HOUR:
            return []
        if first.start.astimezone(zone).utcoffset() != until.astimezone(zone).utcoffset():
            return []
        starts = (first.start + number * _HOUR for number in range(24))
        return [Interval(start, start + _HOUR, f"{start:%Y-%m-%dT%H%MZ}") for start in starts]

    def touching(self, start: datetime, end: datetime) -> list[Interval]:
        """The intervals that have a moment of `[start, end)`; at least one."""
        return self.between(self.interval_of(start), self.interval_of(max(start, end - datetime.resolution)))

    def newest_complete(self, now: datetime) -> Interval:
        """The last interval that has ended by now."""
        now = in_utc(now)
        if not FIRST_DAY <= now.date() <= LAST_DAY + DAY:
            raise self._beyond(now.isoformat())
        interval = self.interval_of(now - datetime.resolution)
        return interval if interval.end <= now else self.before(interval)

    def until(self, moment: datetime) -> Interval:
        """What a run that may know about a moment works on: the interval that ends then; between two ends, as much time
        as the last complete one has, under its key."""
        moment, newest = in_utc(moment), self.newest_complete(moment)
        if newest.end == moment:
            return newest
        return Interval(moment - (newest.end - newest.start), moment, newest.partition)

    def first_of(self, day: date) -> Interval:
        """The first interval that has a moment of a local day."""
        return self.interval_of(self._begins(day))

    def last_of(self, day: date) -> Interval:
        """The last interval that has a moment of a local day."""
        return self.interval_of(self._begins(day + DAY) - datetime.resolution)

    def later(self, moment: datetime, by: timedelta) -> datetime:
        """A moment that lies a duration later, in UTC.

        Hours are hours that pass. Where intervals are made of days, so are durations: as many local days later, and
        what is left of a duration in hours. So a week after the beginning of a local day another one begins, also where
        the clock was changed in between.
        """
        moment = in_utc(moment)
        if self.every == "hour" or self.zone == "UTC":
            return moment + by
        days, rest = divmod(by, DAY)
        return self._shifted(moment, days) + rest

    def earlier(self, moment: datetime, by: timedelta) -> datetime:
        """A moment that lies a duration earlier, in UTC; counted as `later` counts."""
        moment = in_utc(moment)
        if self.every == "hour" or self.zone == "UTC":
            return moment - by
        days, rest = divmod(by, DAY)
        return self._shifted(moment, -days) - rest

    def complete(self, moment: datetime) -> datetime:
        """When all that happened before a moment is known: the end of the interval that it happened in."""
        return self.interval_of(in_utc(moment) - datetime.resolution).end

    def back(self, interval: Interval, length: timedelta) -> list[Interval]:
        """The intervals that a window of some length holds which ends with an interval, oldest first."""
        return self.between(self.interval_of(self.earlier(interval.end, length)), interval)

    def by_its_clock(self, moment: datetime) -> datetime:
        """A moment that someone named: by the zone's clock, unless it names a zone itself; of an hour that the clock
        shows twice, the first."""
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=_zone(self.zone))

    def shown(self, moment: datetime) -> str:
        """A moment as messages show it: the local day where intervals are made of days, else to the minute."""
        if self.every == "hour":
            return f"{in_utc(moment):%Y-%m-%dT%H:%MZ}"
        return f"{moment.astimezone(_zone(self.zone)):%Y-%m-%d}"

    def _shifted(self, moment: datetime, days: int) -> datetime:
        """The same time of day, some local days later or earlier."""
        local = moment.astimezone(_zone(self.zone))
        other = local.date() + days * DAY
        if self._begins(local.date()) == moment:
            return self._begins(other)
        return datetime.combine(other, local.timetz()).astimezone(UTC)

    def _first(self, day: date) -> date:
        """The first local day of the interval that a local day belongs to."""
        if self.every == "week":
            return day - day.weekday() * DAY
        return day.replace(day=1) if self.every == "month" else day

    def _next(self, first: date) -> date:
        """The first local day of the interval after the one that has the first day `first`."""
        if self.every == "month":
            return (first + 31 * DAY).replace(day=1)
        return first + (7 * DAY if self.every == "week" else DAY)

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
