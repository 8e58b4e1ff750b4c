"""Which rows of a history, one file for all intervals, are those of one."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from evergreen.errors import BatchMissing
from evergreen.ingest import reading
from evergreen.ingest.origin import Origin
from evergreen.interval import Interval
from evergreen.lake.schema import ROW
from evergreen.quoting import shown
from evergreen.spec.cells import readable
from evergreen.spec.dataset import Source
from evergreen.spec.lent import lent

# A row without a readable time goes where the row before it goes, and the first rows where the first readable one goes,
# but to no interval without data: so it reaches quarantine, with about the interval that it belongs to.
_PLACED = """
select _row, moment, case when moment is not null then moment else least(greatest(coalesce(
    last_value(moment ignore nulls) over (order by _row rows between unbounded preceding and current row),
    first_value(moment ignore nulls) over (order by _row rows between current row and unbounded following)
), $first), $last) end as placed
from (select _row, {moment} as moment from {history})"""


@dataclass(frozen=True)
class Place:
    """An interval, and those of data that it is one of."""

    interval: Interval
    first: Interval
    last: Interval | None


def rows_of(times: pa.ChunkedArray, source: Source, place: Place, origin: Origin) -> pa.Array:
    """Positions of the rows of an interval, in order: whose time lies in it, and those without a time beside them.

    Args:
        times: the event times of the whole history, of any type, as the source declares them.

    Raises:
        BatchMissing: the newest time lies before the interval.
        BatchUnreadable: no time can be read.
    """
    interval = place.interval
    ends = {"first": place.first.start, "last": place.last and place.last.start}
    with lent({"threads": 2, "enable_external_access": False}) as connection:
        connection.execute("set timezone = 'UTC'")
        connection.register("history", pa.table({"time": times, ROW.name: pa.array(range(len(times)), pa.int64())}))
        declared = source.columns[source.moment]
        read = reading.of_column("time", source, declared, times.type)
        placed = _PLACED.format(moment=read.value, history=reading.steps([read], "history"))
        connection.execute(f"create temp table placed as {placed}", ends)
        ((newest,),) = connection.execute("select max(moment) from placed").fetchall()
        if newest is None and len(times):
            raise origin.unreadable(
                f"no time in {len(times)} rows; the first is {shown(str(times[0]))}",
                f"in {source.moment} {readable(declared, source.decimal, source.thousands, str(times[0]))}",
            )
        if newest is None or newest < interval.start:
            raise BatchMissing(
                origin.reading,
                found="a history without rows"
                if newest is None
                else f"a history that reaches to {newest:%Y-%m-%dT%H:%M:%SZ}",
                expected=f"rows of {interval.partition}, or later ones",
                next_step=(
                    "ask the upstream system for a history that reaches further, or name the model's last_day; then "
                    "clear this task"
                ),
            )
        positions = connection.sql(
            "select _row from placed where placed >= $start and placed < $end order by _row",
            params={"start": interval.start, "end": interval.end},
        )
        return positions.to_arrow_table()[ROW.name].combine_chunks()
