"""A batch's bytes become a table of the declared columns and types; a cell that does not fit costs its row, not the batch."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from evergreen.ingest import decode, history
from evergreen.ingest.landing import Part
from evergreen.ingest.origin import Origin
from evergreen.spec.schema import Source

UNPARSED = "_unparsed"  # null, or `column=value; …`: the cells of the row that do not fit their declared type
ROW = "_row"  # position in the batch, from 0, over all its parts; of a history, position in the file

_WHOLE = (
    "case when try_cast({0} as double) % 1 = 0 then try_cast({0} as bigint) end"  # a plain cast would round 1.7 to 2
)
_CASTS = {
    "string": "try_cast({0} as varchar)", "int": _WHOLE, "float": "case when not isinf(try_cast({0} as double)) then try_cast({0} as double) end", "bool": "try_cast({0} as boolean)",
    "timestamp": history.MOMENT, "date": "case when isfinite(try_cast({0} as date)) then try_cast({0} as date) end",
}  # fmt: skip


def parse(parts: Sequence[Part], source: Source) -> pa.Table:
    """The rows of a batch, in order: declared columns (times in UTC, a time without a zone is UTC), `_unparsed`, `_row`.

    Raises:
        BatchUnreadable: the bytes of a part are not of the declared format, compression and encoding, or its columns are not
            the declared ones.
    """
    tables: list[pa.Table] = []
    for part in parts:
        first = sum(table.num_rows for table in tables)
        found = _read(part, source)
        tables.append(typed(found, source.columns, pa.array(range(first, first + found.num_rows), pa.int64())))
    return pa.concat_tables(tables)


def parse_history(part: Part, source: Source, day: history.Day) -> pa.Table:
    """The rows of one day of a history, as `parse` gives those of a batch.

    Raises:
        BatchMissing: the history ends before the day.
        BatchUnreadable: as of `parse`; or none of its rows has a time that can be read.
    """
    found = _read(part, source)
    rows = history.rows_of(found[source.event_time], day, part.origin)
    return typed(found.take(rows), source.columns, rows)


def as_declared(found: pa.Table, source: Source, origin: Origin) -> pa.Table:
    """The table, which has the declared columns and no others.

    Raises:
        BatchUnreadable: it has not.
    """
    missing = [name for name in source.columns if name not in found.column_names]
    unexpected = [name for name in found.column_names if name not in source.columns]
    twice = sorted({name for name in found.column_names if found.column_names.count(name) > 1})
    if missing or unexpected or twice:
        wrong = {"missing": missing, "unexpected": unexpected, "twice": twice}
        raise origin.unreadable(
            "columns " + "; ".join(f"{kind}: {', '.join(names)}" for kind, names in wrong.items() if names),
            f"columns {', '.join(source.columns)}",
        )
    return found


def typed(found: pa.Table, columns: Mapping[str, str], rows: pa.Array) -> pa.Table:
    """Cells of any type as their declared ones, with `_unparsed` and, from `rows`, `_row`."""
    values, wrong = [], []
    for name, kind in columns.items():
        cast = _CASTS[kind].format(f'"{name}"')
        # NaN is missing: in Arrow and Delta it would pass for a value, and one of them would make every mean NaN.
        values.append(f"nullif({cast}, 'nan'::double) as \"{name}\"" if kind == "float" else f'{cast} as "{name}"')
        wrong.append(
            f"""case when "{name}" is not null and {cast} is null then '{name}=' || cast("{name}" as varchar) end"""
        )
    with duckdb.connect(config={"threads": 2, "enable_external_access": False}) as connection:
        connection.execute("set timezone = 'UTC'")
        connection.register("found", found.append_column(ROW, rows))
        query = f"select {', '.join(values)}, nullif(concat_ws('; ', {', '.join(wrong)}), '') as {UNPARSED}, {ROW} from found order by {ROW}"
        return connection.sql(query).to_arrow_table()


def text_columns(content: bytes, names: Sequence[str], options: pa.csv.ParseOptions, **nulls: Any) -> pa.Table:
    """The cells of a CSV in UTF-8 as text, whatever they look like.

    Raises:
        pyarrow.ArrowInvalid: a line has another number of cells than the header.
    """
    convert = pa.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, **nulls)
    return pa.csv.read_csv(io.BytesIO(content), parse_options=options, convert_options=convert)


def _read(part: Part, source: Source) -> pa.Table:
    return as_declared(_READERS[source.format](part, source), source, part.origin)


def _csv(part: Part, source: Source) -> pa.Table:
    text, delimiter = decode.text(part, source), source.delimiter
    header = re.split("[\r\n]", text, maxsplit=1)[0].strip()
    if not header:
        raise part.origin.unreadable("an empty file", f"a header line: {delimiter.join(source.columns)}")
    names = [name.strip().strip('"') for name in header.split(delimiter)]
    if len(names) == 1 and header not in source.columns:
        _same_delimiter(header, part, source)
    content = (text if text.endswith("\n") else text + "\n").encode()  # the reader wants a whole header
    try:
        return text_columns(
            content, names, pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            null_values=[""], quoted_strings_can_be_null=True,
        )  # fmt: skip
    except pa.ArrowInvalid as error:
        raise part.origin.unreadable(str(error), "a CSV file with a header") from error


def _same_delimiter(header: str, part: Part, source: Source) -> None:
    """A header that another delimiter would make sense of says so, before the rows fail for a stranger reason."""
    other = next((each for each in ",;\t|" if each in header), None)
    if other is not None:
        raise part.origin.unreadable(
            f"one column: {header[:200]}; the header looks delimited by {json.dumps(other)}",
            f"columns delimited by {json.dumps(source.delimiter)}",
            declare=f"`delimiter: {json.dumps(other)}`",
        )


def _jsonl(part: Part, source: Source) -> pa.Table:
    """Every value as its text, as in CSV: a reader that guesses types fails on a column of two, and takes text for times."""
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(decode.text(part, source).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise part.origin.unreadable(f"line {number}: {error}", "one JSON object a line") from error
        if not isinstance(row, dict):
            raise part.origin.unreadable(f"line {number} is no object: {line.strip()[:80]}", "one JSON object a line")
        rows.append(
            {
                name: v if v is None or isinstance(v, str) else json.dumps(v, ensure_ascii=False)
                for name, v in row.items()
            }
        )
    names = dict.fromkeys(name for row in rows for name in row) if rows else source.columns
    return pa.table({name: pa.array([row.get(name) for row in rows], pa.string()) for name in names})


def _parquet(part: Part, source: Source) -> pa.Table:
    try:
        return pa.parquet.read_table(io.BytesIO(decode.uncompressed(part, source)))
    except pa.ArrowInvalid as error:
        raise part.origin.unreadable(str(error), "a Parquet file") from error


_READERS = {"csv": _csv, "jsonl": _jsonl, "parquet": _parquet}
