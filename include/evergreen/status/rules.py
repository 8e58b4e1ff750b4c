"""Which intervals should be there by now, and which of them are not: the calendar compared with what was done.

Airflow is not asked: an interval whose run was never made (Airflow was down, the DAG paused, a limit reached) looks
there like one that nobody wanted.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, time, timedelta
from functools import lru_cache
from typing import Literal

from evergreen.calendar import Calendar
from evergreen.interval import Interval, from_to, runs
from evergreen.spec.dataset import DatasetSpec, Freshness
from evergreen.spec.schema import ModelSpec

State = Literal["done", "waiting", "late", "missing"]
STATES: tuple[State, ...] = ("done", "waiting", "late", "missing")


def expected(spec: DatasetSpec | ModelSpec, now: datetime, first: str | None = None) -> list[Interval]:
    """The intervals of a dataset or model that are over, oldest first.

    Args:
        first: the partition to begin with; by default that of the first interval of data.
    """
    begin = spec.first_interval if first is None else spec.calendar.at(first)
    return list(_between(spec.calendar, begin, spec.newest_complete(now)))


@lru_cache(maxsize=256)  # who looks all the time looks at years of hours, of which one is new each hour
def _between(calendar: Calendar, first: Interval, last: Interval) -> Sequence[Interval]:
    return tuple(calendar.between(first, last))


def state(calendar: Calendar, interval: Interval, done: Collection[str], now: datetime, grace: timedelta) -> State:
    """How an interval that is over stands.

    Done: its partition is there. Waiting: it is not over for `grace` yet. Late: it should be there, and is the newest
    that is over, whose run works or waits. Missing: the interval after it is over too.
    """
    if interval.partition in done:
        return "done"
    if now < interval.end + grace:
        return "waiting"
    return "late" if now < calendar.after(interval).end else "missing"


def by_state(
    calendar: Calendar, intervals: Sequence[Interval], done: Collection[str], now: datetime, grace: timedelta
) -> dict[State, list[Interval]]:
    """Intervals that are over, by how they stand."""
    stand: dict[State, list[Interval]] = {each: [] for each in STATES}
    for interval in intervals:
        stand[state(calendar, interval, done, now, grace)].append(interval)
    return stand


def overtaken(interval: Interval, now: datetime, calendar: Calendar | None = None) -> bool:
    """Whether the interval after it is over too: a run of it only catches up.

    Args:
        calendar: None: the interval is of none, and the one after it as long.
    """
    if calendar is None:
        return now >= interval.end + (interval.end - interval.start)
    return now >= calendar.after(interval).end


def stretches(intervals: Sequence[Interval]) -> list[tuple[Interval, Interval]]:
    """The first and the last interval of each run of intervals without a gap; the intervals are in order."""
    return runs(intervals, lambda one, other: one.end == other.start)


def text(intervals: Sequence[Interval]) -> str:
    """The intervals as people write them: 2026-01-05, 2026-01-08..2026-01-11."""
    return ", ".join(from_to(first.partition, last.partition) for first, last in stretches(intervals))


def backfill(name: str, loop: str, first: Interval, last: Interval) -> str:
    """The command that runs some intervals; those too whose run failed, which a backfill leaves alone by default."""
    one_by_one = " --max-active-runs 1" if loop == "monitor" else ""
    return (
        f"evergreen airflow backfill create --dag-id {name}__{loop} --from-date {_date(first)} "
        f"--to-date {_date(last)} --reprocess-behavior failed{one_by_one}"
    )


def _date(interval: Interval) -> str:
    """The logical date of an interval, as Airflow reads it: a day is one in UTC."""
    midnight = interval.start.time() == time(0)
    return f"{interval.start:%Y-%m-%d}" if midnight else f"{interval.start:%Y-%m-%dT%H:%M:%SZ}"


def is_stale(freshness: Freshness | None, age: timedelta | None) -> bool:
    """Features are older than their view allows. What has no age has no features: that is another matter."""
    return freshness is not None and age is not None and age > freshness.bound


def age_text(age: timedelta) -> str:
    """An age in its two largest units: 3d 2h, 5h, 0h."""
    whole, hours = divmod(int(age / timedelta(hours=1)), 24)
    return " ".join(part for part in (f"{whole}d" if whole else "", f"{hours}h" if hours or not whole else "") if part)
