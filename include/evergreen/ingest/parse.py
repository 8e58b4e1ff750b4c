"""A batch's bytes become a table of the declared columns and types; a cell that does not fit costs its row, not the batch."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from evergreen.errors import BatchUnreadable
from evergreen.ingest.landing import Batch
from evergreen.spec.schema import Source

UNPARSED = "_unparsed"  # null, or `column=value; …`: the cells of the row that do not fit their declared type
ROW = "_row"  # position in the batch, from 0

_WHOLE = (
    "case when try_cast({0} as double) % 1 = 0 then try_cast({0} as bigint) end"  # a plain cast would round 1.7 to 2
)
_CASTS = {
    "string": "try_cast({0} as varchar)", "int": _WHOLE, "float": "try_cast({0} as double)", "bool": "try_cast({0} as boolean)",
    "timestamp": "try_cast({0} as timestamptz)", "date": "try_cast({0} as date)",
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
        connection.register("found", found.append_column(ROW, pa.array(range(found.num_rows), pa.int64())))
        query = f"select {', '.join(values)}, nullif(concat_ws('; ', {', '.join(wrong)}), '') as {UNPARSED}, {ROW} from found order by {ROW}"
        return connection.sql(query).to_arrow_table()


def _csv(batch: Batch, source: Source, subject: str) -> pa.Table:
    header = _text(batch, subject).split("\n", 1)[0].removeprefix("\ufeff").strip()
    if not header:
        raise _unreadable(batch, subject, "an empty file", f"a header line: {','.join(source.columns)}")
    names = [name.strip().strip('"') for name in header.split(",")]
    content = (
        batch.content if batch.content.endswith(b"\n") else batch.content + b"\n"
    )  # the reader wants a whole header
    try:
        return pa.csv.read_csv(
            io.BytesIO(content), parse_options=pa.csv.ParseOptions(newlines_in_values=True),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), null_values=[""],
                strings_can_be_null=True, quoted_strings_can_be_null=True,
            ),
        )  # fmt: skip
    except pa.ArrowInvalid as error:
        raise _unreadable(batch, subject, str(error), "a CSV file with a header") from error


def _jsonl(batch: Batch, source: Source, subject: str) -> pa.Table:
    """Every value as its text, as in CSV: a reader that guesses types fails on a column of two, and takes text for times."""
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(_text(batch, subject).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise _unreadable(batch, subject, f"line {number}: {error}", "one JSON object a line") from error
        if not isinstance(row, dict):
            raise _unreadable(
                batch, subject, f"line {number} is no object: {line.strip()[:80]}", "one JSON object a line"
            )
        rows.append(
            {
                name: v if v is None or isinstance(v, str) else json.dumps(v, ensure_ascii=False)
                for name, v in row.items()
            }
        )
    names = dict.fromkeys(name for row in rows for name in row) if rows else source.columns
    return pa.table({name: pa.array([row.get(name) for row in rows], pa.string()) for name in names})


def _text(batch: Batch, subject: str) -> str:
    try:
        return batch.content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = batch.content.count(b"\n", 0, error.start) + 1
        byte = batch.content[error.start : error.start + 1].hex()
        raise _unreadable(batch, subject, f"byte 0x{byte} at offset {error.start}, line {line}", "UTF-8") from error


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
