"""Declared types: a value goes from a cell to the lake,
to a request and to the model without loss, or it is missing."""

from __future__ import annotations

import json
import math
from datetime import date, datetime
from typing import Any, get_args

import duckdb
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ConfigDict, TypeAdapter, ValidationError

from evergreen.spec.ago import DATED
from evergreen.spec.kinds import KINDS, ColumnType, FeatureType, KeyType, categories, numbers

FEATURES: tuple[FeatureType, ...] = get_args(FeatureType)
MODELLED = tuple(name for name in FEATURES if name not in DATED)  # as they are; the others as days ago
VALUES = {
    "int": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(allow_nan=False, allow_infinity=False),
    "bool": st.booleans(),
    "category": st.text(max_size=20).filter(lambda text: "\0" not in text),
}


def cell(kind: str, text: object) -> tuple[Any, bool]:
    """The value of a cell, and whether the cell is refused."""
    declared = KINDS[kind]
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        connection.register("cells", pa.table({"cell": [text]}))
        query = f"select {declared.value('cell')}, cell is not null and not {declared.fits('cell')} from cells"
        ((value, refused),) = connection.execute(query).fetchall()
    return value, refused


@pytest.mark.parametrize(
    ("kind", "text", "value", "refused"),
    [
        ("int", "7", 7, False),
        ("int", "7.0", 7, False),
        ("int", "1.7", None, True),
        ("int", "9223372036854775807", 2**63 - 1, False),
        ("int", "9223372036854775808", None, True),
        ("float", "1e300", 1e300, False),
        ("float", "nan", None, False),
        ("float", "inf", None, True),
        ("float", "1,5", None, True),
        ("bool", "true", True, False),
        ("bool", "perhaps", None, True),
        ("date", "2026-01-05", date(2026, 1, 5), False),
        ("date", "10000-01-01", None, True),
        ("timestamp", "infinity", None, True),
        ("timestamp", "yesterday", None, True),
        ("string", "0012", "0012", False),
        ("string", None, None, False),
        ("int", None, None, False),
    ],
)
def test_a_cell_holds_a_value_or_is_refused(kind: str, text: str | None, value: object, refused: bool) -> None:
    assert cell(kind, text) == (value, refused)


@pytest.mark.parametrize("text", ["2026-01-05T10:00:00", "2026-01-05 10:00:00Z", "2026-01-05T12:00:00+02:00"])
def test_a_time_without_a_zone_is_utc(text: str) -> None:
    value, refused = cell("timestamp", text)
    assert value == datetime.fromisoformat("2026-01-05T10:00:00+00:00") and not refused


@pytest.mark.parametrize("name", get_args(ColumnType))
def test_what_is_stored_is_seen_by_queries_unchanged(name: str) -> None:
    kind = KINDS[name]
    empty = pa.schema({"a": kind.queried()}).empty_table()
    with duckdb.connect() as connection:
        connection.register("t", empty)
        seen = connection.sql("select a from t").to_arrow_table()["a"]
    assert kind.returned(seen.type)
    assert kind.of_result(seen).type == kind.stored()


@pytest.mark.parametrize(
    ("expression", "fitting"),
    [
        ("1::tinyint", {"int", "float"}),
        ("sum(1)", {"int", "float"}),  # HUGEINT
        ("1.5::decimal(4, 1)", {"int", "float"}),
        ("1::float", {"int", "float"}),
        ("true", {"bool"}),
        ("'a'", {"category", "string"}),
        ("'a'::enum('a', 'b')", {"category", "string"}),
        ("timestamp '2026-01-05 10:00:00'", {"timestamp"}),
        ("timestamptz '2026-01-05 10:00:00+00'", {"timestamp"}),
        ("date '2026-01-05'", {"date"}),
        ("interval 1 day", set()),
        ("[1]", set()),
        ("null", set(KINDS)),
    ],
)
def test_which_results_of_a_query_may_become_a_kind(expression: str, fitting: set[str]) -> None:
    with duckdb.connect() as connection:
        column = connection.sql(f"select {expression} as a").to_arrow_table()["a"]
    assert {name for name, kind in KINDS.items() if kind.returned(column.type)} == fitting
    for name in fitting - ({"int"} if "1.5" in expression else set()):
        assert KINDS[name].of_result(column).type == KINDS[name].stored()


@pytest.mark.parametrize(("kind", "values"), [("int", [1.5]), ("int", [2.0**63]), ("timestamp", [1])])
def test_a_result_that_would_lose_something_is_refused(kind: str, values: list[Any]) -> None:
    column = pa.chunked_array([values]) if kind == "int" else pa.chunked_array([pa.array(values, pa.timestamp("ns"))])
    with pytest.raises(pa.ArrowInvalid):
        KINDS[kind].of_result(column)


def test_what_is_not_finite_is_missing() -> None:
    column = pa.chunked_array([[1.0, math.nan, math.inf, -math.inf, None]])
    assert KINDS["float"].of_result(column).to_pylist() == [1.0, None, None, None, None]
    assert KINDS["int"].of_result(column).to_pylist() == [1, None, None, None, None]


@pytest.mark.parametrize("name", MODELLED)
@given(data=st.data())
def test_the_model_takes_a_sent_value_as_it_takes_the_stored_and_the_logged_one(
    name: FeatureType, data: st.DataObject
) -> None:
    kind, value = KINDS[name], data.draw(VALUES[name])
    adapter = TypeAdapter(kind.sent, config=ConfigDict(strict=True, allow_inf_nan=False))
    sent = adapter.validate_json(json.dumps(value))
    assert sent == value
    stored = pa.array([value, None], kind.stored()).to_pandas()
    modelled = [kind.modelled(pd.Series([one, None])).iloc[0] for one in (sent, stored.iloc[0])]
    logged = kind.logged(json.loads(json.dumps(sent)))
    assert modelled[0] == modelled[1] == logged == pa.array([logged], kind.modelled_arrow())[0].as_py()


@pytest.mark.parametrize("name", FEATURES)
def test_what_was_logged_under_another_type_is_missing(name: FeatureType) -> None:
    assert KINDS[name].logged(None) is None
    assert KINDS[name].logged("text" if KINDS[name].numeric else 1.5) is None


@pytest.mark.parametrize(("name", "key"), [("string", "0012"), ("int", -(2**63))])
def test_a_key_comes_back_from_its_text(name: KeyType, key: str | int) -> None:
    adapter = TypeAdapter(KINDS[name].sent, config=ConfigDict(strict=True))
    assert KINDS[name].key(str(adapter.validate_json(json.dumps(key)))) == key
    with pytest.raises(ValidationError):
        adapter.validate_json('""')


def test_features_are_numbers_or_categories_and_no_third() -> None:
    types: dict[str, FeatureType] = {f"a_{name}": name for name in MODELLED}
    assert (numbers(types), categories(types)) == (["a_int", "a_float", "a_bool"], ["a_category"])


def test_every_feature_has_a_type_in_the_store() -> None:
    assert {KINDS[name].feast_field for name in FEATURES} >= {"string_val", "unix_timestamp_val"}
