"""Contracts on the real Great Expectations: what each kind of bad value is found as."""

from __future__ import annotations

import logging
from datetime import UTC, date, datetime

import pyarrow as pa
import pytest

from evergreen.errors import SpecError
from evergreen.spec.contract import Contract
from evergreen.validate import expectations

AS_OF = datetime(2026, 1, 6, tzinfo=UTC)
TABLE = pa.table(
    {
        "key": pa.array(["a", "b", "c", "d"]),
        "amount": pa.array([1.0, None, -3.0, 8.0]),
        "count": pa.array([1, 2, None, 4], pa.int64()),
        "plan": pa.array(["basic", "plus", "family", None]),
        "at": pa.array([datetime(2026, 1, day, tzinfo=UTC) for day in (5, 5, 9, 5)], pa.timestamp("us", tz="UTC")),
        "on": pa.array([date(2026, 1, 5), None, date(2026, 1, 5), date(2026, 1, 9)]),
        "nothing": pa.nulls(4, pa.float64()),
    }
)
AMOUNT_ABOVE_COUNT = {
    "type": "expect_column_pair_values_a_to_be_greater_than_b",
    "column_A": "amount",
    "column_B": "count",
    "ignore_row_if": "either_value_is_missing",
}


def judged(*stated, table=TABLE, positions=None):
    contract = Contract.model_validate({"expectations": stated})
    suite = expectations.suite(contract, "t", "t.yaml")
    return expectations.Judge()(suite, table, positions or range(table.num_rows), "t", AS_OF)[0]


def values(name, column, **arguments):
    return {"type": f"expect_column_values_to_{name}", "column": column, **arguments}


@pytest.mark.parametrize(
    ("stated", "failing", "samples"),
    [
        (values("not_be_null", "amount"), (1,), ("null",)),
        (values("be_between", "amount", min_value=0, max_value=5), (2, 3), ("-3.0", "8.0")),
        (values("be_between", "count", min_value=2), (0,), ("1.0",)),
        (values("be_in_set", "plan", value_set=["basic", "plus"]), (2,), ("'family'",)),
        (values("be_between", "at", max_value="2026-01-06T00:00:00+00:00"), (2,), ("2026-01-09 00:00:00+00:00",)),
        (values("be_between", "on", max_value="2026-01-06"), (3,), ("2026-01-09",)),
        (values("be_unique", "on"), (0, 2), ("2026-01-05",)),
        (values("not_be_null", "nothing"), (0, 1, 2, 3), ("null",)),
        (AMOUNT_ABOVE_COUNT, (0,), ("(1.0, 1.0)",)),
        ({"type": "expect_compound_columns_to_be_unique", "column_list": ["at", "on"]}, (), ()),
    ],
)
def test_failing_rows_are_named_with_their_values(stated, failing, samples):
    (result,) = judged(stated)
    assert result.error is None
    assert result.failing == failing
    assert result.success == (not failing)
    assert result.samples == samples


def test_failing_rows_are_named_by_their_position_in_the_batch():
    (result,) = judged(values("not_be_null", "amount"), positions=[10, 11, 12, 13])
    assert result.failing == (11,)


def test_mostly_tolerates_failing_rows_and_still_names_them():
    (result,) = judged(values("be_between", "amount", min_value=0, mostly=0.5))
    assert result.success
    assert result.failing == (2,)


@pytest.mark.parametrize(
    "stated",
    [
        {"type": "expect_table_row_count_to_be_between", "min_value": 5},
        {"type": "expect_column_mean_to_be_between", "column": "amount", "max_value": 1},
        {"type": "expect_column_proportion_of_non_null_values_to_be_between", "column": "nothing", "min_value": 0.5},
        {"type": "expect_column_distinct_values_to_be_in_set", "column": "plan", "value_set": ["basic"]},
    ],
)
def test_an_expectation_about_the_table_names_no_rows(stated):
    (result,) = judged({**stated, "severity": "warning"})
    assert (result.success, result.failing, result.severity, result.error) == (False, None, "warning", None)
    assert result.observed.startswith("found ")


def test_an_exception_counts_as_a_failure_and_is_told(caplog):
    with caplog.at_level(logging.INFO):
        missing, wrong, sound = judged(
            values("be_between", "nope", min_value=0),
            values("be_between", "plan", min_value=0),
            values("not_be_null", "key"),
        )
    assert not missing.success
    assert "nope" in str(missing.error)
    assert not wrong.success
    assert wrong.error
    assert sound.success
    assert sound.error is None
    assert not caplog.records, "Great Expectations wrote into the task's log"


def test_of_an_empty_table_only_expectations_about_the_table_are_asked():
    mean = {"type": "expect_column_mean_to_be_between", "column": "amount", "min_value": 0}
    count = {"type": "expect_table_row_count_to_be_between", "min_value": 1}
    results = judged(values("not_be_null", "key"), mean, count, table=TABLE.slice(0, 0))
    assert [(each.name, each.success) for each in results] == [("expect_table_row_count_to_be_between()", False)]


def test_every_expectation_that_great_expectations_cannot_read_is_named_at_once():
    stated = (values("be_nice", "a"), values("be_between", "a", minimum=1), values("not_be_null", "a"))
    contract = Contract.model_validate({"expectations": stated})
    with pytest.raises(SpecError) as caught:
        expectations.suite(contract, "usage", "contracts/usage.yaml")
    assert "1. expect_column_values_to_be_nice" in caught.value.found
    assert "2. expect_column_values_to_be_between" in caught.value.found
    assert "3." not in caught.value.found
    assert "contracts/usage.yaml" in str(caught.value)
