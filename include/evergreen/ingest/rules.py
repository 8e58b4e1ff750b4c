"""Pure rules of ingestion."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta

from evergreen.errors import RowsUnaccounted
from evergreen.interval import Interval
from evergreen.spec.dataset import DatasetSpec


def known_at(interval: Interval) -> datetime:
    """When the rows of an interval's batch became available: its end, also for rows of earlier ones that arrive late in
    it, and also when the batch is written again years later."""
    return interval.end


def version_of(
    own: str, first: str, versions: Sequence[str], looked: Collection[str], *, refresh: str, same: Callable[[str], bool]
) -> str | None:
    """Under which interval a run keeps what it finds of a table for all intervals; None: nothing is new to it.

    The first that is found is that of the first interval: it counts as known before. A later one becomes known at the
    end of the interval whose run finds it. A run of an interval that later ones came after finds what was not known
    then, and keeps nothing; unless it looks for the first time, and what it finds is what the next one found: then it
    was there before, and whoever catches up in whatever order ends the same. A run of the interval that found a version
    reads it again while it is there: its contract or declaration may be another.

    Args:
        own: the run's interval, by its partition.
        first: the first interval of data.
        versions: the intervals that found versions.
        looked: the intervals whose runs looked.
        refresh: as the source declares it.
        same: whether what is found now is what a version was read from.
    """
    if not versions:
        return first
    ordered, after = sorted(versions), sorted(each for each in looked if each > own)
    if own in versions and same(own):
        return own
    if refresh == "never":
        return own if own == ordered[0] else None
    if not after:
        return None if same(ordered[-1]) else own
    seen_next = max((each for each in ordered if each <= after[0]), default=ordered[0])
    return own if own not in looked and seen_next > own and same(seen_next) else None


def growing(spec: DatasetSpec, as_of: datetime, now: datetime) -> list[str]:
    """Sources whose batch may still grow, each with the moment when it is complete."""
    return [
        f"{name} (complete at {as_of + source.complete_after:%Y-%m-%d %H:%M} UTC)"
        for name, source in spec.sources.items()
        if now < as_of + source.complete_after
    ]


def delay(spec: DatasetSpec) -> timedelta:
    """How long after the end of an interval the last of its batches is complete."""
    return max(source.complete_after for source in spec.sources.values())


def account(subject: str, rows: int, published: int, quarantined: int) -> None:
    """Every row that came in is published or quarantined.

    Raises:
        RowsUnaccounted: it is not.
    """
    if rows != published + quarantined:
        raise RowsUnaccounted(
            f"accounting for the rows of {subject}",
            found=f"{rows} in, {published} published, {quarantined} quarantined",
            expected=f"{rows} = published + quarantined",
            next_step="keep the interval's staging folder and tell the platform's owner: this is a defect of Evergreen",
        )
