"""What a rollout compares of the prediction log, as columns: of an answer or a failure everything but its features,
which are most of a row.

A rollout may have millions of rows, and each look reads them all. So no object is made for a row: Postgres writes text
to a file (`copy`), and Arrow reads columns from it.
"""

from __future__ import annotations

import tempfile
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.csv

from evergreen import database
from evergreen.serve.predictions import ANSWERED
from evergreen.spec.columns import AS_OF, FEATURES_AT, REQUEST_ID

_MOMENT = pa.timestamp("us", "UTC")
# Column → its type, and how Postgres writes it.
_COLUMNS: dict[str, tuple[pa.DataType, str]] = {
    REQUEST_ID: (pa.string(), "request_id"),
    "position": (pa.int64(), "position"),
    AS_OF: (_MOMENT, "as_of"),
    "version": (pa.int64(), "version"),
    "role": (pa.string(), "role"),
    "share": (pa.int64(), "share"),
    "entity": (pa.string(), "entity"),
    FEATURES_AT: (_MOMENT, "features_at"),
    # JSON: a number, or class → probability
    "answer": (pa.string(), "case when failed is null then coalesce(probabilities::text, prediction::text) end"),
    "seconds": (pa.float64(), "seconds"),
    "failed": (pa.bool_(), "failed is not null"),
}


def of_rollout(model: str, rollout: str, start: datetime, end: datetime) -> pa.Table:
    """What every version was asked during a rollout with `as_of` in [start, end), in the order of the key."""
    rest = "as_of >= %s and as_of < %s and rollout = %s order by as_of, request_id, position, version"
    return _read(rest, model, start, end, rollout)


def newest(model: str, version: int, before: datetime, most: int) -> pa.Table:
    """A version's newest answers to clients with `as_of` before a moment, the newest first."""
    rest = f"as_of < %s and version = %s and {ANSWERED} order by as_of desc, request_id, position limit %s"
    return _read(rest, model, before, version, most)


def _read(rest: str, *values: Any) -> pa.Table:
    columns = ", ".join(_written(kind, sql) for kind, sql in _COLUMNS.values())
    query = f"copy (select {columns} from predictions where model = %s and {rest}) to stdout (format csv)"
    kinds = {name: pa.int64() if kind == _MOMENT else kind for name, (kind, _) in _COLUMNS.items()}
    with tempfile.TemporaryFile() as file:
        with database.connect() as connection, connection.cursor().copy(query.encode(), values) as copy:
            for block in copy:
                file.write(block)
        if not file.tell():
            return _schema().empty_table()
        file.seek(0)
        table = pyarrow.csv.read_csv(
            file,
            pyarrow.csv.ReadOptions(column_names=[*_COLUMNS]),
            pyarrow.csv.ParseOptions(newlines_in_values=True),
            pyarrow.csv.ConvertOptions(
                column_types=kinds,
                null_values=[""],
                true_values=["t"],
                false_values=["f"],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
    return table.cast(_schema())


def _written(kind: pa.DataType, sql: str) -> str:
    """Moments as whole microseconds, in every zone that the database may have."""
    return f"(extract(epoch from {sql}) * 1000000)::bigint" if kind == _MOMENT else sql


def _schema() -> pa.Schema:
    return pa.schema([(name, kind) for name, (kind, _) in _COLUMNS.items()])
