"""A batch's bytes become a table of the declared columns and types; a cell that does
not fit costs its row, not the batch."""

from __future__ import annotations

import csv
import io
import json
import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.csv

from evergreen.ingest import decode, history, limits, lines, parquet
from evergreen.ingest.columns import as_declared
from evergreen.ingest.landing import Part
from evergreen.ingest.origin import Origin, address
from evergreen.lake import schema
from evergreen.quoting import shown
from evergreen.spec.dataset import Source
from evergreen.spec.kinds import KINDS, ColumnType
from evergreen.sql import quoted

log = logging.getLogger(__name__)

UNPARSED = schema.UNPARSED.name
ROW = schema.ROW.name

_BLOCK_ROWS = 10_000  # of JSON Lines: as Python's objects they take ten times the memory
_HALF = re.compile(r"\\u[dD][89a-fA-F]")  # an escape of JSON that may be half a character
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")


def parse(parts: Sequence[Part], source: Source) -> pa.Table:
    """The rows of a batch, in order: declared columns (times in UTC, a time
    without a zone is UTC), `_unparsed`, `_row`.

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
        cells = _read(part, source, limits.batch() - held)
        tables.append(typed(cells, source.columns, pa.array(np.arange(first, first + cells.num_rows)), part.origin))
    return pa.concat_tables(tables)


def parse_history(part: Part, source: Source, place: history.Place) -> pa.Table:
    """The rows of one interval of a history, as `parse` gives those of a batch.

    Raises:
        BatchMissing: the history ends before the interval.
        BatchUnreadable: as of `parse`; or none of its rows has a time that can be read.
    """
    cells = _read(part, source, limits.batch())
    rows = history.rows_of(cells[source.event_time], place, part.origin)
    return typed(cells.take(rows), source.columns, rows, part.origin)


def typed(cells: pa.Table, columns: Mapping[str, ColumnType], rows: pa.Array, origin: Origin) -> pa.Table:
    """Cells of any type as their declared ones, with `_row` from `rows` and `_unparsed`:
    that of `cells`, where it has one, and more.

    Raises:
        BatchUnreadable: a column has a type that nothing can be made of.
    """
    values, wrong = [], [UNPARSED] if UNPARSED in cells.column_names else []
    for name, kind in columns.items():
        cell = quoted(name)
        values.append(f"{KINDS[kind].value(cell)} as {cell}")
        unfit = f"{cell} is not null and not {KINDS[kind].fits(cell)}"
        wrong.append(f"case when {unfit} then '{name}=' || cast({cell} as varchar) end")
    query = (
        f"select {', '.join(values)}, nullif(concat_ws('; ', {', '.join(wrong)}), '') as {UNPARSED}, {ROW} from "
        f"cells order by {ROW}"
    )
    with duckdb.connect(config={"threads": 2, "enable_external_access": False}) as connection:
        connection.execute("set timezone = 'UTC'")
        try:
            connection.register("cells", cells.append_column(ROW, rows))
            return connection.sql(query).to_arrow_table()
        except duckdb.Error as error:
            types = ", ".join(f"{name}: {cells.schema.field(name).type}" for name in columns)
            raise origin.unreadable(
                f"columns of types that cannot be turned into the declared ones ({types[:500]})",
                ", ".join(f"{name}: {kind}" for name, kind in columns.items()),
            ) from error


def text_columns(content: bytes, names: Sequence[str], options: pa.csv.ParseOptions, **nulls: Any) -> pa.Table:
    """The cells of a CSV in UTF-8 as text, whatever they look like.

    Raises:
        pyarrow.ArrowInvalid: a line has another number of cells than the header.
    """
    convert = pa.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, **nulls)
    blocks = pa.csv.ReadOptions(block_size=limits.ROW)
    return pa.csv.read_csv(io.BytesIO(content), parse_options=options, convert_options=convert, read_options=blocks)


def _read(part: Part, source: Source, room: int) -> pa.Table:
    """The cells of a part in the declared columns, of any type; maybe with
    `_unparsed`, where a cell is not even text."""
    return _READERS[source.format](part, source, room)


def _csv(part: Part, source: Source, room: int) -> pa.Table:
    text, delimiter = decode.text(part, source, room), source.delimiter
    body = text.lstrip("\r\n")
    header, above = body[: lines.end_of_first(body)], len(text) - len(body)
    if not header.strip():
        raise part.origin.unreadable("an empty file", f"a header line: {delimiter.join(source.columns)}")
    names = next(csv.reader([header], delimiter=delimiter))
    if len(names) == 1 and header not in source.columns:
        _same_delimiter(header, part, source)
    as_declared(names, source, part.origin)
    content = (body if body.endswith("\n") else body + "\n").encode()  # the reader wants a whole header
    look = lines.Look(body, delimiter, len(names), first=text.count("\n", 0, above) + 1)
    try:
        cells = text_columns(
            content,
            names,
            pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            null_values=[""],
            quoted_strings_can_be_null=True,
        )
    except pa.ArrowInvalid as error:
        raise part.origin.unreadable(look.misshapen(), f"rows of {len(names)} cells, as the header has") from error
    several = look.several(cells.num_rows)
    if wrong := look.swallowed(several, names.index(source.event_time)):
        raise part.origin.unreadable(wrong, "a quote at both ends of a value, or at none")
    if several:
        log.warning(
            "%s has %d values of several lines, the first in %s",
            address(part.origin.name),
            len(several),
            several[0].where,
        )
    return cells


def _same_delimiter(header: str, part: Part, source: Source) -> None:
    """A header that another delimiter would make sense of says so, before the rows fail for a stranger reason."""
    other = next((each for each in ",;\t|" if each in header), None)
    if other is not None:
        raise part.origin.unreadable(
            f"one column: {shown(header, 200)}; the header looks delimited by {json.dumps(other)}",
            f"columns delimited by {json.dumps(source.delimiter)}",
            declare=f"`delimiter: {json.dumps(other)}`",
        )


def _jsonl(part: Part, source: Source, room: int) -> pa.Table:
    """Every value as its text, as in CSV: a reader that guesses types fails on a
    column of two, and takes text for times."""
    names: dict[str, None] = {}
    rows: list[dict[str, str | None]] = []
    blocks = [_texts(rows, source)]
    for number, line in enumerate(decode.text(part, source, room).split("\n"), 1):
        if line.strip():
            row = _object(line, number, part.origin)
            names.update(dict.fromkeys(row))
            rows.append(_cells(row) if _HALF.search(line) else {name: _cell(value) for name, value in row.items()})
        if len(rows) == _BLOCK_ROWS:
            blocks.append(_texts(rows, source))
            rows = []
    blocks.append(_texts(rows, source))
    as_declared(list(names or source.columns), source, part.origin)
    return pa.concat_tables(blocks)


def _object(line: str, number: int, origin: Origin) -> dict[str, Any]:
    expected = "one JSON object a line"
    if len(line) > limits.ROW:
        raise origin.unreadable(f"line {number} of {len(line):,} characters", f"{expected}, of at most {limits.ROW:,}")
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        about = shown(line[max(0, error.pos - 20) : error.pos + 20])
        raise origin.unreadable(f"line {number} is no JSON, from column {error.colno} on: {about}", expected) from error
    except (ValueError, RecursionError) as error:
        excess = "values nested too deeply" if isinstance(error, RecursionError) else "a number of thousands of digits"
        raise origin.unreadable(f"line {number} has {excess}: {shown(line)}", expected) from error
    if not isinstance(value, dict):
        raise origin.unreadable(f"line {number} is no object: {shown(line.strip())}", expected)
    return value


def _cell(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _cells(row: Mapping[str, object]) -> dict[str, str | None]:
    """The cells of a row that may have half a character, which is no text: it costs
    the row, as any cell that does not fit."""
    cells, broken = {}, []
    for name, value in row.items():
        text = _cell(value)
        if text is not None and _HALF_CHARACTER.search(text):
            broken.append(f"{name}={text.encode('utf-8', 'backslashreplace').decode()}")
            text = None
        cells[name] = text
    return cells | {UNPARSED: "; ".join(broken) or None}


def _texts(rows: Sequence[Mapping[str, str | None]], source: Source) -> pa.Table:
    return pa.table(
        {name: pa.array([row.get(name) for row in rows], pa.string()) for name in (*source.columns, UNPARSED)}
    )


_READERS = {"csv": _csv, "jsonl": _jsonl, "parquet": parquet.read}
