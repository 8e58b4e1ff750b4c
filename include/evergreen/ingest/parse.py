"""A batch's bytes become a table of the declared columns and types; a cell that does not fit costs its row, not the batch."""

from __future__ import annotations

import io
from collections.abc import Mapping

import duckdb
import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from evergreen.errors import BatchUnreadable
from evergreen.ingest.landing import Batch
from evergreen.spec.schema import Source

UNPARSED = "_unparsed"  # null, or `column=value; …`: the cells of the row that do not fit their declared type
ROW = "_row"  # position in the batch, from 0

_SQL_TYPES = {
    "string": "VARCHAR", "int": "BIGINT", "float": "DOUBLE", "bool": "BOOLEAN", "timestamp": "TIMESTAMPTZ", "date": "DATE",
}  # fmt: skip


def parse(batch: Batch, source: Source, subject: str) -> pa.Table:
    """The rows of a batch, in order: declared columns (times in UTC, a time without a zone is UTC), `_unparsed`, `_row`.

    Raises:
        BatchUnreadable: the bytes are not of the declared format and encoding, or the columns are not the declared ones.
    """
    found = _READERS[source.format](batch, source, subject)
    missing = [name for name in source.columns if name not in found.column_names]
    unexpected = [name for name in found.column_names if name not in source.columns]
    twice = sorted({name for name in found.column_names if found.column_names.count(name) > 1})
    if missing or unexpected or twice:
        wrong = {"missing": missing, "unexpected": unexpected, "twice": twice}
        raise _unreadable(
            batch, subject, "columns " + "; ".join(f"{kind}: {', '.join(names)}" for kind, names in wrong.items() if names),
            f"columns {', '.join(source.columns)}",
        )  # fmt: skip
    return _typed(found, source.columns)


def _typed(found: pa.Table, columns: Mapping[str, str]) -> pa.Table:
    casts = ", ".join(f'try_cast("{name}" as {_SQL_TYPES[kind]}) as "{name}"' for name, kind in columns.items())
    wrong = ", ".join(
        f"""case when "{name}" is not null and try_cast("{name}" as {_SQL_TYPES[kind]}) is null
        then '{name}=' || cast("{name}" as varchar) end"""
        for name, kind in columns.items()
    )
    with duckdb.connect(config={"threads": 2, "enable_external_access": False}) as connection:
        connection.execute("set timezone = 'UTC'")
        connection.register("found", found.append_column(ROW, pa.array(range(found.num_rows), pa.int64())))
        query = f"select {casts}, nullif(concat_ws('; ', {wrong}), '') as {UNPARSED}, {ROW} from found order by {ROW}"
        return connection.sql(query).to_arrow_table()


def _csv(batch: Batch, source: Source, subject: str) -> pa.Table:
    try:
        batch.content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = batch.content.count(b"\n", 0, error.start) + 1
        text = batch.content[error.start : error.start + 1].hex()
        raise _unreadable(batch, subject, f"byte 0x{text} at offset {error.start}, line {line}", "UTF-8") from error
    header = batch.content.split(b"\n", 1)[0].decode("utf-8-sig").strip()
    if not header:
        raise _unreadable(batch, subject, "an empty file", f"a header line: {','.join(source.columns)}")
    names = [name.strip().strip('"') for name in header.split(",")]
    try:
        return pa.csv.read_csv(
            io.BytesIO(batch.content),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), null_values=[""],
                strings_can_be_null=True, quoted_strings_can_be_null=True,
            ),
        )  # fmt: skip
    except pa.ArrowInvalid as error:
        raise _unreadable(batch, subject, str(error), "a CSV file with a header") from error


def _jsonl(batch: Batch, source: Source, subject: str) -> pa.Table:
    if not batch.content.strip():
        return pa.table({name: pa.array([], pa.string()) for name in source.columns})
    try:
        return pa.json.read_json(io.BytesIO(batch.content))
    except pa.ArrowInvalid as error:
        raise _unreadable(batch, subject, str(error), "one JSON object a line, in UTF-8") from error


def _parquet(batch: Batch, source: Source, subject: str) -> pa.Table:
    try:
        return pa.parquet.read_table(io.BytesIO(batch.content))
    except pa.ArrowInvalid as error:
        raise _unreadable(batch, subject, str(error), "a Parquet file") from error


_READERS = {"csv": _csv, "jsonl": _jsonl, "parquet": _parquet}


def _unreadable(batch: Batch, subject: str, found: str, expected: str) -> BatchUnreadable:
    return BatchUnreadable(
        f"reading the batch of {subject} from {batch.uri}",
        found=found,
        expected=expected,
        next_step="ask the upstream system for a corrected file, or declare what it sends in model.yaml; then clear this task",
    )
