"""The slice of time that a run works on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta


@dataclass(frozen=True, order=True)
class Interval:
    """`[start, end)`, both aware and in UTC."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            moment: datetime = getattr(self, name)
            if moment.tzinfo is None:
                raise ValueError(f"interval {name} {moment.isoformat()} has no time zone")
            object.__setattr__(self, name, moment.astimezone(UTC))
        if self.end <= self.start:
            raise ValueError(f"interval ends ({self.end.isoformat()}) before it starts ({self.start.isoformat()})")

    @classmethod
    def of_day(cls, day: date) -> Interval:
        """The interval of one UTC day."""
        start = datetime(day.year, day.month, day.day, tzinfo=UTC)
        return cls(start, start + timedelta(days=1))

    @property
    def partition(self) -> str:
        """The partition key: the date of the start, in UTC, as YYYY-MM-DD."""
        return self.start.date().isoformat()

    @property
    def as_of(self) -> datetime:
        """The moment that a run over this interval may know about: its end."""
        return self.end

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%dT%H:%MZ}/{self.end:%Y-%m-%dT%H:%MZ}"


def days(first: date, last: date) -> list[Interval]:
    """The daily intervals from `first` to `last`, both included."""
    return [Interval.of_day(first + timedelta(days=n)) for n in range((last - first).days + 1)]
