"""The metrics that Great Expectations asks for, computed at once over whole columns.

Great Expectations computes each metric by a graph of its own: milliseconds an expectation before the first row is
looked at, then the table as pandas objects. Here the expectations that contracts mostly have get the same metrics from
arrays, each column looked at once, and judge them by their own rules (`Expectation._validate`, the method that authors
of expectations write). `result` gives None for what is not here, down to a single argument or type of column; then
Great Expectations runs the expectation itself. A test holds both to the same results.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from great_expectations.constants import MAX_DISTINCT_VALUES, MAX_RESULT_RECORDS
from great_expectations.core.expectation_validation_result import ExpectationValidationResult
from great_expectations.expectations import core
from great_expectations.expectations.expectation import Expectation

Metrics = dict[str, Any]
_BOUNDS = {"min_value", "max_value", "strict_min", "strict_max"}
_NO_EXCEPTION = {"raised_exception": False, "exception_traceback": None, "exception_message": None}


class Columns:
    """The columns of a table, as arrays: a number as numpy has it, a null as NaN, as in a pandas DataFrame."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table
        self._series: dict[str, pd.Series[Any] | None] = {}
        self._missing: dict[str, np.ndarray] = {}

    def series(self, name: str) -> pd.Series[Any] | None:
        """A column of numbers or moments; None: it is another kind."""
        if name not in self._series:
            column = self.table[name]
            numeric = column.type in (pa.int64(), pa.float64()) or column.type == pa.timestamp("us", "UTC")
            self._series[name] = column.to_pandas() if numeric else None
        return self._series[name]

    def text(self, name: str) -> pa.ChunkedArray | None:
        """A column of text; None: it is another kind."""
        column = self.table[name]
        return column if pa.types.is_string(column.type) else None

    def missing(self, name: str) -> np.ndarray:
        """Where a column is null, or no number."""
        if name not in self._missing:
            series = self.series(name)
            nulls = self.table[name].is_null() if series is None else series.isna()
            self._missing[name] = np.asarray(nulls, bool)
        return self._missing[name]

    def values(self, name: str, failing: np.ndarray) -> list[Any]:
        """The first values at some positions, as a list of them as pandas has them."""
        positions = failing[:MAX_RESULT_RECORDS]
        series = self.series(name)
        return self.table[name].take(positions).to_pandas().tolist() if series is None else list(series.iloc[positions])


def result(
    expectation: Expectation, columns: Columns, result_format: Mapping[str, Any]
) -> ExpectationValidationResult | None:
    """What an expectation says of a table; None: Great Expectations must compute it."""
    known = _KNOWN.get(type(expectation))
    configuration = expectation.configuration
    arguments = configuration.kwargs
    if known is None or not known[1].issuperset(arguments):
        return None
    named = [arguments[name] for name in ("column", "column_A", "column_B") if name in arguments]
    if not all(isinstance(name, str) and columns.table.schema.names.count(name) == 1 for name in named):
        return None
    try:
        metrics = known[0](arguments, columns)
        if metrics is None:
            return None
        metrics["table.row_count"] = columns.table.num_rows
        raw = expectation._validate(metrics=metrics, runtime_configuration={"result_format": dict(result_format)})
    except Exception:  # noqa: BLE001 - whatever it is, Great Expectations says it in its own words
        return None
    return ExpectationValidationResult(
        **raw, expectation_config=configuration, exception_info=dict(_NO_EXCEPTION), meta={}
    )


def _failing(name: str, failing: np.ndarray, values: Callable[[np.ndarray], list[Any]]) -> Metrics:
    """What is asked of an expectation about rows."""
    positions = np.flatnonzero(failing)
    return {
        f"{name}.unexpected_count": len(positions),
        f"{name}.unexpected_values": values(positions),
        f"{name}.unexpected_index_list": positions.tolist(),
    }


def _of_values(name: str, column: str, columns: Columns, wrong: np.ndarray) -> Metrics:
    """Of one about the values of a column: nulls are not asked."""
    missing = columns.missing(column)
    return {
        "column_values.nonnull.unexpected_count": int(missing.sum()),
        **_failing(name, wrong & ~missing, lambda positions: columns.values(column, positions)),
    }


def _not_null(arguments: Mapping[str, Any], columns: Columns) -> Metrics:
    column = arguments["column"]
    return _failing(
        "column_values.nonnull", columns.missing(column), lambda positions: columns.values(column, positions)
    )


def _between(arguments: Mapping[str, Any], columns: Columns) -> Metrics | None:
    series = columns.series(arguments["column"])
    low, high = arguments.get("min_value"), arguments.get("max_value")
    if series is None or (low is None and high is None) or (low is not None and high is not None and low > high):
        return None
    if isinstance(series.dtype, pd.DatetimeTZDtype):
        low, high = map(_moment, (low, high))
        allowed: type | tuple[type, ...] = dt.datetime
    else:
        allowed = (int, float)
    if not all(bound is None or isinstance(bound, allowed) for bound in (low, high)):
        return None
    wrong = np.zeros(len(series), bool)
    if low is not None:
        wrong |= ~np.asarray(series > low if arguments.get("strict_min") else series >= low, bool)
    if high is not None:
        wrong |= ~np.asarray(series < high if arguments.get("strict_max") else series <= high, bool)
    return _of_values("column_values.between", arguments["column"], columns, wrong)


def _in_set(arguments: Mapping[str, Any], columns: Columns) -> Metrics | None:
    column, values = arguments["column"], arguments["value_set"]
    if not isinstance(values, list):
        return None
    text, series = columns.text(column), columns.series(column)
    if text is not None and all(isinstance(value, str) for value in values):
        known = np.asarray(pc.is_in(text, pa.array(values, text.type)), bool)
    elif series is not None and pd.api.types.is_numeric_dtype(series.dtype) and _numbers(values):
        known = series.isin(values).to_numpy()
    else:
        return None
    return _of_values("column_values.in_set", column, columns, ~known)


def _unique(arguments: Mapping[str, Any], columns: Columns) -> Metrics | None:
    column = arguments["column"]
    text, series = columns.text(column), columns.series(column)
    if text is not None:
        series = pd.Series(np.asarray(pc.fill_null(text.combine_chunks().dictionary_encode().indices, -1)))
    if series is None:
        return None
    return _of_values("column_values.unique", column, columns, series.duplicated(keep=False).to_numpy())


def _greater(arguments: Mapping[str, Any], columns: Columns) -> Metrics | None:
    names = arguments["column_A"], arguments["column_B"]
    first, second = (columns.series(name) for name in names)
    ignored = arguments.get("ignore_row_if", "both_values_are_missing")
    if first is None or second is None or ignored not in _IGNORED:
        return None
    one, other = (columns.missing(name) for name in names)
    compared = ~_IGNORED[ignored](one, other)
    right = first >= second if arguments.get("or_equal") else first > second

    def pairs(positions: np.ndarray) -> list[Any]:
        shown = positions[:MAX_RESULT_RECORDS]
        return list(zip(first.iloc[shown].values, second.iloc[shown].values, strict=True))

    failing = compared & ~np.asarray(right, bool)
    return _failing("column_pair_values.a_greater_than_b", failing, pairs) | {
        "column_pair_values.a_greater_than_b.filtered_row_count": int(compared.sum())
    }


_IGNORED: Mapping[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "both_values_are_missing": np.logical_and,
    "either_value_is_missing": np.logical_or,
    "neither": lambda one, other: np.zeros(len(one), bool),
}


def _distinct_in_set(arguments: Mapping[str, Any], columns: Columns) -> Metrics | None:
    column, allowed = arguments["column"], arguments["value_set"]
    text = columns.text(column)
    if text is None or not isinstance(allowed, list) or not all(isinstance(value, str) for value in allowed):
        return None
    others = sorted(set(pc.unique(text).to_pylist()) - {None, *allowed})
    return {
        "column.distinct_values.not_in_set.count": len(others),
        "column.distinct_values.not_in_set": others[:MAX_DISTINCT_VALUES],
    }


def _distinct_count(arguments: Mapping[str, Any], columns: Columns) -> Metrics | None:
    text, series = columns.text(arguments["column"]), columns.series(arguments["column"])
    if text is not None:
        return {"column.distinct_values.count": pc.count_distinct(text, mode="only_valid").as_py()}
    return None if series is None else {"column.distinct_values.count": series.nunique()}


def _share_known(arguments: Mapping[str, Any], columns: Columns) -> Metrics:
    rows = columns.table.num_rows
    known = rows - int(columns.missing(arguments["column"]).sum())
    return {"column.non_null_proportion": known / rows if rows else 0}


def _moment(bound: Any) -> Any:
    """A bound of moments: text in ISO's form, which Great Expectations reads alike, as a moment."""
    return dt.datetime.fromisoformat(bound) if isinstance(bound, str) and bound[4:5] == bound[7:8] == "-" else bound


def _numbers(values: list[Any]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


_KNOWN: Mapping[type, tuple[Callable[[Mapping[str, Any], Columns], Metrics | None], set[str]]] = {
    core.ExpectColumnValuesToNotBeNull: (_not_null, {"column", "mostly"}),
    core.ExpectColumnValuesToBeBetween: (_between, {"column", "mostly", *_BOUNDS}),
    core.ExpectColumnValuesToBeInSet: (_in_set, {"column", "mostly", "value_set"}),
    core.ExpectColumnValuesToBeUnique: (_unique, {"column", "mostly"}),
    core.ExpectColumnPairValuesAToBeGreaterThanB: (
        _greater,
        {"column_A", "column_B", "or_equal", "ignore_row_if", "mostly"},
    ),
    core.ExpectColumnDistinctValuesToBeInSet: (_distinct_in_set, {"column", "value_set"}),
    core.ExpectColumnUniqueValueCountToBeBetween: (_distinct_count, {"column", *_BOUNDS}),
    core.ExpectColumnProportionOfNonNullValuesToBeBetween: (_share_known, {"column", *_BOUNDS}),
    core.ExpectTableRowCountToBeBetween: (lambda *_: {}, _BOUNDS),
    core.ExpectTableColumnsToMatchSet: (
        lambda _, columns: {"table.columns": list(columns.table.column_names)},
        {"column_set", "exact_match"},
    ),
}
