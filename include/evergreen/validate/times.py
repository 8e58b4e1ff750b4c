"""Where the rows of a batch lie in time, against the interval that the batch is of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from evergreen.interval import Interval
from evergreen.validate.rules import FAR as FAR_FROM_ITS_INTERVAL

if TYPE_CHECKING:
    import pyarrow as pa

FAR = timedelta(days=183)  # a row of the wrong year is further away than half of one, in either direction


@dataclass(frozen=True)
class Outside:
    """The rows of a batch that do not lie in its interval."""

    far: dict[int, str]  # position → reason, of those that lie so far away that nothing can be meant by it
    late: int  # how many others lie before it
    unseen: int  # and how many of these before all that a view looks back at
    ahead: int  # how many others lie after it
    newest: datetime | None  # of those, the newest

    @property
    def any(self) -> bool:
        """Whether there is such a row."""
        return bool(self.far or self.late or self.ahead)

    def __str__(self) -> str:
        return f"{self.late} before it, {self.ahead} after it, {len(self.far)} more than {FAR.days} days away"

    def warnings(self) -> Iterator[str]:
        """What the owner should look at; to be late is common, and none of it where a view counts the row still."""
        if self.far:
            yield f"{_rows(len(self.far))} more than {FAR.days} days away from the interval: to quarantine"
        if self.ahead:
            yield (
                f"{_rows(self.ahead)} after the interval, up to {self.newest:%Y-%m-%dT%H:%M:%SZ}; spans of later ones "
                "count them. Is the batch of another time zone than the calendar?"
            )
        if self.unseen:
            yield (
                f"{_rows(self.unseen)} before the interval, and further back than any view looks from its end: no "
                "feature counts them. Is the batch of another time zone than the calendar?"
            )


NOWHERE = Outside(far={}, late=0, unseen=0, ahead=0, newest=None)  # of rows that have no place in time


def outside(times: pa.ChunkedArray, interval: Interval, seen: datetime | None) -> Outside:
    """Which rows lie outside of an interval.

    Args:
        times: the event time of each row; null is nowhere.
        seen: the first moment that a view looks back at from the interval's end; None: no view reads the table.
    """
    moments = times.to_numpy().astype("datetime64[us]")  # null is NaT, which is neither before nor after anything

    def before(moment: datetime) -> npt.NDArray[np.bool_]:
        mask: npt.NDArray[np.bool_] = moments < _utc(moment)
        return mask

    def after(moment: datetime) -> npt.NDArray[np.bool_]:
        mask: npt.NDArray[np.bool_] = moments >= _utc(moment)
        return mask

    far = before(interval.start - FAR) | after(interval.end + FAR)
    late, ahead = before(interval.start) & ~far, after(interval.end) & ~far
    unseen = late & (False if seen is None else before(seen))
    return Outside(
        far={
            position: f"{FAR_FROM_ITS_INTERVAL}: {text}Z"
            for position, text in zip(
                np.flatnonzero(far).tolist(), np.datetime_as_string(moments[far], unit="s").tolist(), strict=True
            )
        },
        late=int(late.sum()),
        unseen=int(unseen.sum()),
        ahead=int(ahead.sum()),
        newest=moments[ahead].max().item().replace(tzinfo=UTC) if ahead.any() else None,
    )


def _utc(moment: datetime) -> np.datetime64:
    return np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "us")


def _rows(count: int) -> str:
    return "1 row lies" if count == 1 else f"{count:,} rows lie"
