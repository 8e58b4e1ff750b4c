"""What may go: intervals, days of the prediction log, old versions of tables. Pure.

Time is counted back from the newest interval, never from the wall clock: where no data arrives, nothing goes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

from evergreen.interval import DAY, Interval
from evergreen.registry.rules import Ended
from evergreen.spec.dataset import DatasetSpec
from evergreen.spec.schema import ModelSpec

SHORTEST = 2 * DAY  # of old versions: who reads one now goes on reading
# Beside what is needed; where those are longer, the interval that is worked on, and the one before.
_MARGIN = 2 * DAY


def expired(intervals: Iterable[Interval], kept: timedelta | None, needed: timedelta) -> list[Interval]:
    """The intervals of a table that may go, oldest first: never the newest, never one that is needed.

    Args:
        intervals: all that the table has.
        kept: how long they are kept by declaration; None: for ever.
        needed: how far the loops look back from the newest.
    """
    ordered = sorted(intervals)
    if kept is None or not ordered:
        return []
    bound = ordered[-1].end - max(kept, needed)
    return [interval for interval in ordered[:-1] if interval.end <= bound]


def superseded(
    versions: Iterable[Interval], newest: Interval | None, kept: timedelta | None, needed: timedelta
) -> list[Interval]:
    """The versions of a table for all intervals that may go, oldest first: those that were known no more when what is
    kept began. The one that was known then stays, however old it is.

    Args:
        versions: by the intervals that found them.
        newest: the newest interval that is ingested; None: none is.
        kept, needed: as of `expired`.
    """
    if kept is None or newest is None:
        return []
    bound = newest.end - max(kept, needed)
    return [version for version, following in pairwise(sorted(versions)) if following.end <= bound]


def unregistered(
    candidates: Iterable[Ended], registered: Collection[str], families: Collection[str], kept: timedelta
) -> list[Ended]:
    """The candidates that may go, oldest first: never one that is a version, never those of the last training of a
    family, whose study the next one begins with.

    Args:
        candidates: all that a model has, but for those that are being made.
        registered: the MLflow runs that are versions.
        families: that the model declares.
        kept: how long they are kept by declaration, counted back from the newest.
    """
    ordered = sorted(candidates, key=lambda each: (each.as_of, each.run_id))
    if not ordered:
        return []
    bound, newest = ordered[-1].as_of - kept, {each.family: each.as_of for each in ordered}
    return [
        each
        for each in ordered
        if each.as_of <= bound
        and each.run_id not in registered
        and not (each.family in families and each.as_of == newest[each.family])
    ]


def copied(
    days: Iterable[date],
    collected: Sequence[Interval],
    kept: timedelta | None,
    needed: timedelta,
    copies: timedelta | None,
) -> list[date]:
    """The UTC days of the prediction log that may go, oldest first: those that are as old, and wholly in the lake, or
    so old that the lake's copy went by its own retention.

    Args:
        days: all that the log has.
        collected: the intervals whose predictions the monitor has copied to the lake.
        kept, needed: as of `expired`.
        copies: how long the lake keeps the copies; None: for ever.
    """
    if kept is None or not collected:
        return []
    newest, ordered = max(collected).end, sorted(collected)
    bound = newest - max(kept, needed)
    lost = None if copies is None else newest - max(copies, needed)
    ends = {day: _start(day) + DAY for day in sorted(days)}
    return [
        day
        for day, end in ends.items()
        if end <= bound and ((lost is not None and end <= lost) or _covered(day, ordered))
    ]


def _covered(day: date, ordered: Sequence[Interval]) -> bool:
    """Whether intervals cover all of a day."""
    reached, end = _start(day), _start(day) + DAY
    for interval in ordered:
        if interval.start <= reached < interval.end:
            reached = interval.end
    return reached >= end


def _start(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def pinned(
    pins: Mapping[str, Mapping[int, Mapping[str, int]]], retired: Mapping[str, frozenset[int]]
) -> dict[str, set[int]]:
    """The versions of tables that no clean-up may touch.

    Args:
        pins: model → number of each registered version → table → the version of it that was joined.
        retired: model → numbers of the versions that a person took out of the line.
    """
    needed: dict[str, set[int]] = {}
    for model, versions in pins.items():
        for number, joined in versions.items():
            if number not in retired.get(model, frozenset()):
                for table, version in joined.items():
                    needed.setdefault(table, set()).add(version)
    return needed


def versions_kept(kept: timedelta | None) -> timedelta | None:
    """How long old versions are kept that nobody needs; None: for ever."""
    return None if kept is None else max(kept, SHORTEST)


def needed(layer: str, dataset: DatasetSpec | None, models: Sequence[ModelSpec]) -> timedelta:
    """How far the loops of a dataset's models look back in the tables of a layer, from the newest interval."""
    look_backs = [view.look_back for view in dataset.features.values()] if dataset is not None else []
    covered = max((source.covers for source in dataset.sources.values()), default=timedelta(0)) if dataset else None
    reaches = {
        "raw": [*look_backs, *(each.asking.label_delay + each.asking.look_back for each in models)],
        "features": [each.split.window + each.asking.label_delay for each in models],
        "labels": [each.split.window + each.asking.label_delay for each in models],
        "predictions": [each.window + each.asking.label_delay for each in models],
    }
    longest = max((each.calendar.longest for each in (*models, dataset) if each is not None), default=timedelta(0))
    further = covered if layer == "raw" and covered is not None else timedelta(0)
    return max(reaches.get(layer, []), default=timedelta(0)) + further + max(_MARGIN, 2 * longest)
