"""The contracts of a drafted model: what the sample was like, as Great Expectations' expectations. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping

from evergreen.onboarding.rules import Column, Draft

Expectation = Mapping[str, object]
_MOST = 12  # columns of a kind that are watched


def of_source(draft: Draft) -> list[Expectation]:
    """Of the file's table. What names a row must be there; all else is told, and the rows stay."""
    profile = draft.profile
    made: list[Expectation] = []
    named = [name for name in (profile.time, profile.key) if name is not None]
    for column in (profile.column(name) for name in dict.fromkeys(named)):
        if not column.nulls:
            made.append({"type": "expect_column_values_to_not_be_null", "column": column.name, "severity": "warning"})
    if draft.style != "batch":
        rhythm = profile.rhythms[draft.calendar.every]
        least = 1 if rhythm.filled == rhythm.intervals else 0
        made.append(
            {
                "type": "expect_table_row_count_to_be_between",
                "min_value": least,
                "max_value": 10 * rhythm.most,
                "severity": "warning",
            }
        )
    seen = [column for column in profile.columns if column.name not in named and column.nulls < column.rows]
    for column in [each for each in seen if each.kind == "string" and 2 <= each.distinct <= 30][:_MOST]:
        made.append(
            {
                "type": "expect_column_distinct_values_to_be_in_set",
                "column": column.name,
                "value_set": list(column.values),
                "severity": "warning",
            }
        )
    for column in [each for each in seen if each.is_number and each.low is not None][:_MOST]:
        low, high = _widened(column)
        for end, bounds in (("min", {"min_value": low}), ("max", {"max_value": high})):
            made.append(
                {"type": f"expect_column_{end}_to_be_between", "column": column.name, **bounds, "severity": "warning"}
            )
    return made or [{"type": "expect_table_row_count_to_be_between", "min_value": 0, "severity": "warning"}]


def of_view(key: str) -> list[Expectation]:
    """Of features."""
    return [{"type": "expect_column_values_to_not_be_null", "column": key}]


def _widened(column: Column) -> tuple[float, float]:
    """The range of a number, as wide again on either side, where it can be negative at all."""
    assert column.low is not None and column.high is not None
    width = max(column.high - column.low, abs(column.high), 1.0)
    low = 0 if column.low >= 0 else column.low - width
    return _short(low), _short(column.high + width)


def _short(value: float) -> float:
    if not value or not math.isfinite(value):
        return 0
    place = 10.0 ** (math.floor(math.log10(abs(value))) - 2)
    rounded = float(f"{round(value / place) * place:.12g}")
    return int(rounded) if rounded.is_integer() else rounded
