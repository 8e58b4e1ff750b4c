"""A baseline of one's own: an expression of a row's inputs, in DuckDB's SQL."""

from __future__ import annotations

import duckdb  # noqa: TID253 - running an expression is what this is for; the deep pass and stages import it late
import pyarrow as pa  # noqa: TID253 - as above

from evergreen.spec.columns import EVENT
from evergreen.spec.kinds import KINDS, KindName
from evergreen.spec.mistakes import one_of
from evergreen.spec.query import Refusal, connected, interrupted_after, row_by_row
from evergreen.spec.runner import QueryRefused
from evergreen.spec.schema import ModelSpec

_INPUTS, _ROW, _VALUE = "inputs", "_row", "_value"
_KEY = "gates.baseline"


def columns(spec: ModelSpec) -> dict[str, KindName]:
    """What it may name: the keys, the moment of the prediction and the inputs; never the label."""
    return {**spec.keys, EVENT: "timestamp", **spec.feature_types}


def empty(spec: ModelSpec) -> pa.Table:
    """No rows, to check an expression on."""
    return pa.schema({name: KINDS[kind].queried() for name, kind in columns(spec).items()}).empty_table()


def values(spec: ModelSpec, text: str, rows: pa.Table, *, seconds: float) -> pa.ChunkedArray:
    """The baseline of each row, in their order: numbers, or of a label of several classes their names; null where it
    has none.

    Args:
        rows: have the columns that the expression may name.
        seconds: after so long it is stopped.

    Raises:
        QueryRefused: it is no expression of a row's columns, or of another type than the label.
    """
    kind = "string" if spec.problem.by_class else "float"
    query = f"SELECT {_ROW}, (\n{text}\n) AS {_VALUE} FROM {_INPUTS}"
    known = one_of(columns(spec))
    try:
        if refused := row_by_row(query, _INPUTS):
            raise QueryRefused([_refusal(each.found, each.allowed, each.fix) for each in refused])
        with connected() as connection, interrupted_after(connection, seconds):
            numbered = rows.select([*columns(spec)]).append_column(_ROW, pa.array(range(rows.num_rows), pa.int64()))
            connection.register(_INPUTS, numbered)
            result = connection.sql(f"SELECT * FROM ({query}) ORDER BY {_ROW}").to_arrow_table()
    except duckdb.Error as error:
        found = " ".join(str(error).split())[:400]
        raise QueryRefused([_refusal(found, f"an expression of {known}", "correct it")]) from error
    if result.column_names != [_ROW, _VALUE] or result[_ROW].to_pylist() != [*range(rows.num_rows)]:
        raise QueryRefused([_refusal("more than one value a row", f"one expression of {known}", "correct it")])
    column = result[_VALUE]
    if not KINDS[kind].returned(column.type):
        allowed = "the name of a class" if spec.problem.by_class else f"a number: {spec.problem.answered}"
        raise QueryRefused([_refusal(f"it is {column.type}", allowed, "cast it")])
    return KINDS[kind].of_result(column)


def _refusal(found: str, allowed: str, fix: str) -> Refusal:
    return Refusal(found, allowed, fix, key=_KEY)
