"""Pure rules of ingestion."""

from __future__ import annotations

from datetime import datetime, timedelta

from evergreen.errors import RowsUnaccounted
from evergreen.interval import Interval
from evergreen.spec.dataset import DatasetSpec


def known_at(interval: Interval) -> datetime:
    """When the rows of an interval's batch became available: its end, also for rows of earlier ones that arrive late in
    it, and also when the batch is written again years later."""
    return interval.end


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
