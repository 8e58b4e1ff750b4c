"""An expression of a row's inputs, in DuckDB's SQL: a baseline of one's own, or what rows are told apart by."""

from __future__ import annotations

import duckdb  # noqa: TID253 - running an expression is what this is for; the deep pass and stages import it late
import pandas as pd  # noqa: TID253 - as above
import pyarrow as pa  # noqa: TID253 - as above

from evergreen.spec.columns import EVENT
from evergreen.spec.kinds import KINDS, KindName
from evergreen.spec.mistakes import one_of
from evergreen.spec.query import Refusal, connected, interrupted_after, row_by_row
from evergreen.spec.runner import QueryRefused
from evergreen.spec.schema import ModelSpec

SECONDS = 600.0  # that one over all rows may take
_INPUTS, _ROW, _VALUE = "inputs", "_row", "_value"
_BASELINE, SLICES, BEHAVIOUR, FAIRNESS = "gates.baseline", "gates.slices.by", "gates.behaviour", "gates.fairness.by"


def columns(spec: ModelSpec) -> dict[str, KindName]:
    """What it may name: the keys, the moment of the prediction and the inputs; never the label."""
    return {**spec.keys, EVENT: "timestamp", **spec.feature_types}


def empty(spec: ModelSpec) -> pa.Table:
    """No rows, to check an expression on."""
    return pa.schema({name: KINDS[kind].queried() for name, kind in columns(spec).items()}).empty_table()


def table(spec: ModelSpec, frame: pd.DataFrame) -> pa.Table:
    """Rows of a training set as an expression is asked about them."""
    kinds = columns(spec)
    rows = pa.Table.from_pandas(frame[[*kinds]], preserve_index=False)
    return rows.cast(pa.schema({name: KINDS[kind].queried() for name, kind in kinds.items()}))


def baseline(spec: ModelSpec, text: str, rows: pa.Table, *, seconds: float = SECONDS) -> pa.ChunkedArray:
    """The baseline of each row, in their order: numbers, or of a label of several classes their names; null where it
    has none. Arguments and errors are those of `values`; its type must be the label's."""
    kind: KindName = "string" if spec.problem.by_class else "float"
    column = values(spec, text, rows, seconds=seconds, key=_BASELINE)
    if not KINDS[kind].returned(column.type):
        allowed = "the name of a class" if spec.problem.by_class else f"a number: {spec.problem.answered}"
        raise QueryRefused([Refusal(f"it is {column.type}", allowed, "cast it", key=_BASELINE)])
    return KINDS[kind].of_result(column)


def values(spec: ModelSpec, text: str, rows: pa.Table, *, key: str, seconds: float = SECONDS) -> pa.ChunkedArray:
    """What an expression says of each row, in their order.

    Args:
        rows: have the columns that the expression may name.
        key: where it stands in the spec.
        seconds: after so long it is stopped.

    Raises:
        QueryRefused: it is no expression of a row's columns.
    """
    query = f"SELECT {_ROW}, (\n{text}\n) AS {_VALUE} FROM {_INPUTS}"
    known = one_of(columns(spec))
    try:
        if refused := row_by_row(query, _INPUTS):
            raise QueryRefused([Refusal(each.found, each.allowed, each.fix, key=key) for each in refused])
        with connected() as connection, interrupted_after(connection, seconds):
            numbered = rows.select([*columns(spec)]).append_column(_ROW, pa.array(range(rows.num_rows), pa.int64()))
            connection.register(_INPUTS, numbered)
            result = connection.sql(f"SELECT * FROM ({query}) ORDER BY {_ROW}").to_arrow_table()
    except duckdb.Error as error:
        found = " ".join(str(error).split())[:400]
        raise QueryRefused([Refusal(found, f"an expression of {known}", "correct it", key=key)]) from error
    if result.column_names != [_ROW, _VALUE] or result[_ROW].to_pylist() != [*range(rows.num_rows)]:
        raise QueryRefused([Refusal("more than one value a row", f"one expression of {known}", "correct it", key=key)])
    return result[_VALUE]
