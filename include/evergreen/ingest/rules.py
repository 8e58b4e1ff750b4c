"""Pure rules of ingestion."""

from __future__ import annotations

from datetime import datetime

from evergreen.errors import RowsUnaccounted
from evergreen.interval import Interval


def known_at(interval: Interval) -> datetime:
    """When the rows of an interval's batch became available: its end, also for rows of earlier days that arrive late in it, and
    also when the batch is written again years later."""
    return interval.end


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
            next_step="keep the day's staging folder and tell the platform's owner: this is a defect of Evergreen",
        )
