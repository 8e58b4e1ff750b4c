"""A batch's bytes become a table of the declared columns and types; a cell that does
not fit costs its row, not the batch."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import replace

import duckdb
import numpy as np
import pyarrow as pa

from evergreen.ingest import delimited, foreign, history, jsonl, limits, parquet, reading
from evergreen.ingest.cells import PLACE, ROW, UNPARSED, Cells, Tell
from evergreen.ingest.landing import Part
from evergreen.ingest.origin import Origin
from evergreen.quoting import shown
from evergreen.spec.dataset import Source
from evergreen.spec.lent import lent
from evergreen.sql import quoted

log = logging.getLogger(__name__)


def parse(parts: Sequence[Part], source: Source, tell: Tell = log.warning) -> pa.Table:
    """The rows of a batch, in order: declared columns (times in UTC), `_unparsed`, `_row`, `_place`.

    Args:
        tell: hears what the source's owner should know of a batch that can be read.

    Raises:
        BatchUnreadable: the bytes of a part are not of the declared format, compression and encoding, or its columns
            are not the declared ones; or it is larger than what is read.
    """
    tables: list[pa.Table] = []
    for part in parts:
        first = sum(table.num_rows for table in tables)
        held = sum(table.nbytes for table in tables)
        if held > limits.batch():
            raise part.origin.too_large(f"{held:,} bytes in the parts before it, as columns")
        cells = _read(part, source, limits.batch() - held, tell)
        cells = replace(cells, first=first, part=part.name if len(parts) > 1 else None)
        rows = pa.array(np.arange(first, first + cells.table.num_rows))
        tables.append(typed(cells, source, rows, part.origin, tell))
    return pa.concat_tables(tables)


def parse_history(part: Part, source: Source, place: history.Place, tell: Tell = log.warning) -> pa.Table:
    """The rows of one interval of a history, as `parse` gives those of a batch.

    Raises:
        BatchMissing: the history ends before the interval.
        BatchUnreadable: as of `parse`; or none of its rows has a time that can be read.
    """
    cells = _read(part, source, limits.batch(), tell)
    rows = history.rows_of(cells.table[source.moment], source, place, part.origin)
    return typed(replace(cells, table=cells.table.take(rows)), source, rows, part.origin, tell)


def typed(cells: Cells, source: Source, rows: pa.Array, origin: Origin, tell: Tell = log.warning) -> pa.Table:
    """Cells of any type as their declared ones, with `_row` from `rows`, and `_unparsed` (that of the cells, where they
    have one, and more) with `_place`.

    Raises:
        BatchUnreadable: a column has a type that nothing can be made of.
    """
    table = cells.table
    for name in reading.pointed(table, source):
        tell(
            f"{name}: every value is a whole number with .0, such as {shown(table[name].drop_null()[0].as_py())}, as "
            "pandas writes integers where one is missing; declare `normalise: [whole]` of the column, or `type: int`"
        )
    with lent({"threads": 2, "enable_external_access": False}) as connection:
        connection.execute("set timezone = 'UTC'")
        try:
            connection.register("cells", table.append_column(ROW, rows))
            values = _values(connection, table, source, ())
            if values[UNPARSED].null_count < values.num_rows and (doubtful := _doubtful(connection, table, source)):
                values = _values(connection, table, source, doubtful)
        except duckdb.Error as error:
            types = ", ".join(f"{name}: {table.schema.field(name).type}" for name in source.columns)
            raise origin.unreadable(
                f"columns of types that cannot be turned into the declared ones ({types[:500]})",
                ", ".join(f"{name}: {kind}" for name, kind in source.types.items()),
            ) from error
    return values.append_column(PLACE, _places(values, cells))


def _values(
    connection: duckdb.DuckDBPyConnection, table: pa.Table, source: Source, doubtful: Collection[str]
) -> pa.Table:
    """The values of the connection's `cells`, in order."""
    readings, values, wrong = [], [], [UNPARSED] if UNPARSED in table.column_names else []
    for name, column in source.columns.items():
        cell, arrived = quoted(name), table.schema.field(name).type
        read = reading.of_column(name, source, column, arrived, doubtful=name in doubtful)
        readings.append(read)
        values.append(f"{read.value} as {cell}")
        wrong.append(f"case when {read.unfit} then '{name}=' || cast({cell} as varchar) end")
    return connection.sql(
        f"select {', '.join(values)}, nullif(concat_ws('; ', {', '.join(wrong)}), '') as {UNPARSED}, {ROW} from "
        f"{reading.steps(readings, 'cells')} order by {ROW}"
    ).to_arrow_table()


def _doubtful(connection: duckdb.DuckDBPyConnection, table: pa.Table, source: Source) -> list[str]:
    """The columns in which some number has a decimal comma, so that a point in another may mean thousands."""
    columns = reading.maybe_commas(table, source)
    if not columns:
        return []
    looks = [reading.shows_commas(name, source.columns[name]) for name in columns]
    (shows,) = connection.sql(f"select {', '.join(looks)} from cells").fetchall()
    return [name for name, commas in zip(columns, shows, strict=True) if commas]


def _places(values: pa.Table, cells: Cells) -> pa.Array:
    """Where the rows stand that have a cell which cannot be read."""
    unread = np.flatnonzero(np.asarray(values[UNPARSED].is_valid()))
    if not len(unread):
        return pa.nulls(values.num_rows, pa.string())
    places: list[str | None] = [None] * values.num_rows
    for at, place in zip(unread.tolist(), cells.places(values[ROW].take(unread).to_pylist()), strict=True):
        places[at] = place
    return pa.array(places, pa.string())


def _read(part: Part, source: Source, room: int, tell: Tell) -> Cells:
    match source.format:
        case "csv":
            return delimited.read(part, source, room)
        case "jsonl":
            return jsonl.read(part, source, room, tell)
        case "parquet":
            return Cells(parquet.read(part, source, room))
        case _:
            return Cells(foreign.read(part, source, room))
