"""Metrics that are computed at once, against Great Expectations' own engine: the same findings, results and pages."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from great_expectations.render.renderer import ValidationResultsPageRenderer
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from evergreen.errors import SpecError
from evergreen.spec.contract import Contract
from evergreen.validate import expectations, metrics, rules

AS_OF = datetime(2026, 1, 6, tzinfo=UTC)
TEXTS = st.sampled_from(["basic", "plus", "é $x", "", "0"])
NUMBERS = st.sampled_from([0.0, -0.0, 1.0, 2.5, -3.0, 1e300, float("nan"), 2.0**53 + 2])
WHOLE = st.sampled_from([0, 1, 2, -3, 2**53 + 1, 2**62])
MOMENTS = st.integers(0, 5).map(lambda days: datetime(2026, 1, 1, 12, tzinfo=UTC) + timedelta(days=days))
COLUMNS: dict[str, tuple[st.SearchStrategy[Any], pa.DataType]] = {
    "text": (TEXTS, pa.string()),
    "number": (NUMBERS, pa.float64()),
    "other": (NUMBERS, pa.float64()),
    "whole": (WHOLE, pa.int64()),
    "at": (MOMENTS, pa.timestamp("us", tz="UTC")),
    "until": (MOMENTS, pa.timestamp("us", tz="UTC")),
    "flag": (st.booleans(), pa.bool_()),
    "day": (st.sampled_from([date(2026, 1, 1), date(2026, 1, 4)]), pa.date32()),
}
MOSTLY: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [{}, {"mostly": 0.5}, {"mostly": 0.0}, {"severity": "warning"}]
)


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    rows = draw(st.integers(1, 12))
    columns = {}
    for name, (values, kind) in COLUMNS.items():
        nullable = draw(st.sampled_from([values, st.none() | values, st.none()]))
        columns[name] = pa.array(draw(st.lists(nullable, min_size=rows, max_size=rows)), kind)
    return pa.table(columns)


@st.composite
def stated(draw: st.DrawFn) -> dict[str, Any]:
    """An expectation of the types that are computed at once; some with arguments or columns that are not."""
    column = draw(st.sampled_from([*COLUMNS, "nope"]))
    bounds: st.SearchStrategy[Any] = {
        "text": TEXTS,
        "at": st.sampled_from(
            ["2026-01-03T00:00:00+00:00", "2026-01-02T12:00:00Z", "2026-01-04", "2026-01-04T00:00:00"]
        ),
    }.get(column, st.sampled_from([0, 1, -3, 2.5, 2**53]))
    range_of: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
        {},
        optional={"min_value": bounds, "max_value": bounds, "strict_min": st.booleans(), "strict_max": st.booleans()},
    ).filter(lambda given: "min_value" in given or "max_value" in given)
    shares: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
        [{"min_value": 0.5}, {"max_value": 0.9}, {"min_value": 0, "strict_min": True}]
    )
    counts = st.sampled_from([{"min_value": 2}, {"max_value": 3}, {"min_value": 1, "max_value": 9}])
    sets = st.lists(
        {"text": TEXTS, "number": st.sampled_from([0, 1.0])}.get(column, st.sampled_from([0, 1, "basic"])), max_size=3
    )
    of_column: dict[str, Any] = {"column": column}
    kinds: st.SearchStrategy[tuple[str, dict[str, Any]]] = st.one_of(
        st.just(("column_values_to_not_be_null", of_column)),
        st.just(("column_values_to_be_unique", of_column)),
        range_of.map(lambda given: ("column_values_to_be_between", of_column | given)),
        sets.map(lambda given: ("column_values_to_be_in_set", of_column | {"value_set": given})),
        sets.map(lambda given: ("column_distinct_values_to_be_in_set", of_column | {"value_set": given})),
        counts.map(lambda given: ("column_unique_value_count_to_be_between", of_column | given)),
        shares.map(lambda given: ("column_proportion_of_non_null_values_to_be_between", of_column | given)),
        counts.map(lambda given: ("table_row_count_to_be_between", given)),
        st.sampled_from([list(COLUMNS), ["text"], ["nope", "at"]]).map(
            lambda given: ("table_columns_to_match_set", {"column_set": given, "exact_match": len(given) > 2})
        ),
        st.tuples(
            st.sampled_from([("number", "other"), ("at", "until"), ("whole", "number"), ("text", "day")]),
            st.sampled_from(["both_values_are_missing", "either_value_is_missing", "neither", None]),
            st.booleans(),
        ).map(
            lambda given: (
                "column_pair_values_a_to_be_greater_than_b",
                {"column_A": given[0][0], "column_B": given[0][1], "or_equal": given[2]}
                | ({} if given[1] is None else {"ignore_row_if": given[1]}),
            )
        ),
    )
    kind, arguments = draw(kinds)
    tolerance: dict[str, Any] = draw(MOSTLY)
    if not kind.startswith(("column_values", "column_pair")):
        tolerance = {name: value for name, value in tolerance.items() if name == "severity"}
    return {"type": f"expect_{kind}", **arguments, **tolerance}


def judged(suite: list[Any], table: pa.Table) -> tuple[list[rules.Finding], list[dict[str, Any]], str]:
    """The findings; the results as JSON, but for what names the engine's own objects; the page's sections."""
    findings, result = expectations.Judge()(suite, table, range(table.num_rows), "t", AS_OF)
    plain = json.loads(json.dumps(result.to_json_dict()["results"], default=str))
    for each in plain:
        each["expectation_config"]["kwargs"].pop("batch_id", None)
        each["expectation_config"].pop("id", None)
        if each["exception_info"].get("exception_message", "") is not None:
            each["exception_info"] = "raised"
    sections = ValidationResultsPageRenderer().render(result).to_json_dict()["sections"]
    shown = json.dumps([each for each in sections if each["section_name"] != "Overview"], default=str, sort_keys=True)
    return findings, plain, shown.replace('"batch_id": "stage-table", ', "")  # which no sentence shows


@settings(
    max_examples=25,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(table=tables(), contract=st.lists(stated(), min_size=6, max_size=12))
def test_both_give_the_same(table: pa.Table, contract: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    stated = Contract.model_validate({"expectations": tuple(contract)})
    try:
        suite = expectations.suite(stated, "t", "t.yaml")
    except SpecError:
        return
    ours = judged(suite, table)
    with monkeypatch.context() as patch:
        patch.setattr(metrics, "result", lambda *_: None)
        theirs = judged(suite, table)
    raised = [finding.error is None for finding in ours[0]]
    assert raised == sorted(raised)
    assert [str(each) for each in ours[0]] == [str(each) for each in theirs[0]]
    assert ours[1] == theirs[1]
    assert ours[2] == theirs[2]
