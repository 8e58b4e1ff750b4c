"""Which rows of a history, one file for all days, are those of a day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime

import duckdb
import pyarrow as pa

from evergreen.errors import BatchMissing
from evergreen.ingest.origin import Origin
from evergreen.interval import Interval

# A time without a zone is UTC (by the connection's setting); infinity, which a database may hold, is no moment.
MOMENT = "case when isfinite(try_cast({0} as timestamptz)) then try_cast({0} as timestamptz) end"

# A row without a readable time goes where the row before it goes, and the first rows where the first readable one goes, but to
# no day outside of the model's: so it reaches quarantine, on about the day that it belongs to.
_PLACED = f"""
select _row, at, case when at is not null then at else least(greatest(coalesce(
    last_value(at ignore nulls) over (order by _row rows between unbounded preceding and current row),
    first_value(at ignore nulls) over (order by _row rows between current row and unbounded following)
), $first), $last) end as placed
from (select _row, {MOMENT.format('"time"')} as at from found)"""


@dataclass(frozen=True)
class Day:
    """An interval, and the model's days that it is one of."""

    interval: Interval
    first: date
    last: date | None

    @property
    def bounds(self) -> tuple[datetime, datetime | None]:
        """The starts of the first and of the last day."""
        first, last = (
            None if day is None else datetime(day.year, day.month, day.day, tzinfo=UTC)
            for day in (self.first, self.last)
        )
        assert first is not None
        return first, last


def rows_of(times: pa.ChunkedArray, day: Day, origin: Origin) -> pa.Array:
    """Positions of the rows of a day, in order: whose time lies in its interval, and those without a time beside them.

    Args:
        times: the event times of the whole history, of any type; a time without a zone is UTC.

    Raises:
        BatchMissing: the newest time lies before the day.
        BatchUnreadable: no time can be read.
    """
    interval, (first, last) = day.interval, day.bounds
    with duckdb.connect(config={"threads": 2, "enable_external_access": False}) as connection:
        connection.execute("set timezone = 'UTC'")
        connection.register("found", pa.table({"time": times, "_row": pa.array(range(len(times)), pa.int64())}))
        connection.execute(f"create temp table placed as {_PLACED}", {"first": first, "last": last})
        ((newest,),) = connection.execute("select max(at) from placed").fetchall()
        if newest is None and len(times):
            raise origin.unreadable(
                f"no time in {len(times)} rows; the first is {times[0].as_py()!r}",
                "event times as 2026-01-31T12:00:00Z",
            )
        if newest is None or newest < interval.start:
            raise BatchMissing(
                origin.reading,
                found="a history without rows"
                if newest is None
                else f"a history that reaches to {newest:%Y-%m-%dT%H:%M:%SZ}",
                expected=f"rows of {interval.partition}, or later ones",
                next_step="ask the upstream system for a history that reaches further, or name the model's last_day; then clear this task",
            )
        found = connection.execute(
            "select _row from placed where placed >= $start and placed < $end order by _row",
            {"start": interval.start, "end": interval.end},
        )
        return found.to_arrow_table()["_row"].combine_chunks()
