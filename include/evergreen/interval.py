"""The slice of time that a run works on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TypeVar

T = TypeVar("T")

DAY = timedelta(days=1)
# The days that a model may have. The longest duration of a spec reaches a century further, and is a
# moment still, to pandas' nanoseconds too.
FIRST_DAY, LAST_DAY = date(1900, 1, 1), date(2199, 12, 31)
CALENDAR = f"a day from {FIRST_DAY} to {LAST_DAY}"


@dataclass(frozen=True, order=True)
class Interval:
    """`[start, end)`, both aware and in UTC."""

    start: datetime
    end: datetime
    key: str | None = field(default=None, compare=False, repr=False)  # of the partition, by the calendar that made it

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            moment: datetime = getattr(self, name)
            if moment.tzinfo is None:
                raise ValueError(f"interval {name} {moment.isoformat()} has no time zone")
            object.__setattr__(self, name, in_utc(moment))
        if self.end <= self.start:
            raise ValueError(f"interval ends ({self.end.isoformat()}) before it starts ({self.start.isoformat()})")

    @classmethod
    def of_day(cls, day: date) -> Interval:
        """The interval of one UTC day; raises ValueError for one that no model may have."""
        if not FIRST_DAY <= day <= LAST_DAY:
            raise ValueError(f"{day} is not {CALENDAR}")
        start = datetime(day.year, day.month, day.day, tzinfo=UTC)
        return cls(start, start + DAY)

    @property
    def partition(self) -> str:
        """The partition key: the calendar's; of an interval that no calendar made, the date of the start in UTC."""
        return self.key or self.start.date().isoformat()

    @property
    def as_of(self) -> datetime:
        """The moment that a run over this interval may know about: its end."""
        return self.end

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%dT%H:%MZ}/{self.end:%Y-%m-%dT%H:%MZ}"


def in_utc(moment: datetime) -> datetime:
    """An aware moment in UTC; raises ValueError at the ends of the calendar, where UTC has no such moment."""
    try:
        utc = moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"{moment.isoformat()} is no moment in UTC") from error
    # Airflow's moments are pendulum's, which lose this zone when a length is added to them.
    return utc if type(utc) is datetime else datetime.combine(utc.date(), utc.time(), UTC)


def days(first: date, last: date) -> list[Interval]:
    """The daily intervals from `first` to `last`, both included."""
    return [Interval.of_day(first + timedelta(days=n)) for n in range((last - first).days + 1)]


def runs(items: Sequence[T], follows: Callable[[T, T], bool]) -> list[tuple[T, T]]:
    """The first and the last of each run of items without a gap; the items are in order.

    Args:
        follows: whether the second of two items is the one after the first.
    """
    bounds: list[tuple[T, T]] = []
    for item in items:
        if bounds and follows(bounds[-1][1], item):
            bounds[-1] = (bounds[-1][0], item)
        else:
            bounds.append((item, item))
    return bounds


def from_to(first: str, last: str) -> str:
    """A stretch of partitions as people write it: 2026-01-05, or 2026-01-08..2026-01-11."""
    return first if first == last else f"{first}..{last}"
