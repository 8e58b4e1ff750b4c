"""Packed features: what is written column by column is what Feast writes one by one, and is read as it was."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from typing import Any, get_args

import pyarrow as pa
import pytest
from feast.infra.key_encoding_utils import deserialize_entity_key, serialize_entity_key
from feast.protos.feast.types.Value_pb2 import Map, Value
from hypothesis import example, given
from hypothesis import strategies as st

from evergreen.features import packing
from evergreen.features.packed import Keys, Reader, named
from evergreen.spec.kinds import KINDS, FeatureType

FIELDS = {
    "spent": "double_val",
    "purchases": "int64_val",
    "big": "bool_val",
    "plan": "string_val",
    "région": "string_val",
}
TYPES = [pa.float64(), pa.int64(), pa.bool_(), pa.string(), pa.string()]
WHOLE = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ROWS = st.lists(
    st.tuples(*(st.none() | values for values in (st.floats(), WHOLE, st.booleans(), TEXT, TEXT))),
    min_size=1,
    max_size=20,
)


def table(rows: list[tuple[Any, ...]], chunks: int = 1) -> pa.Table:
    columns = [pa.array(column, kind) for column, kind in zip(zip(*rows, strict=True), TYPES, strict=True)]
    whole = pa.table(columns, list(FIELDS))
    return pa.concat_tables([whole.slice(0, len(rows) // 2), whole.slice(len(rows) // 2)]) if chunks > 1 else whole


def known(row: tuple[Any, ...]) -> dict[str, Any]:
    """Its features; NaN is null, as a missing number is."""
    return {name: None if value != value else value for name, value in zip(FIELDS, row, strict=True)}


@given(rows=ROWS, chunks=st.integers(1, 2))
def test_every_value_is_read_as_it_was(rows: list[tuple[Any, ...]], chunks: int) -> None:
    packed = packing.pack(FIELDS, table(rows, chunks)).to_pylist()
    reader = Reader(list(FIELDS))
    assert [reader.values(row) for row in packed] == [known(row) for row in rows]


@given(rows=ROWS)
def test_as_feasts_values_it_is_what_its_own_serialization_gives(rows: list[tuple[Any, ...]]) -> None:
    reader = Reader(list(FIELDS))
    for row, packed in zip(rows, packing.pack(FIELDS, table(rows)).to_pylist(), strict=True):
        stored = {
            name: Value() if value is None else Value(**{FIELDS[name]: value}) for name, value in known(row).items()
        }
        old = Map(val=stored).SerializeToString()
        assert reader.protos(packed) == reader.protos(old) == stored
        assert reader.values(packed) == reader.values(old)


@pytest.mark.parametrize("kind", get_args(FeatureType))
def test_every_type_that_a_feature_may_have_is_packed(kind: str) -> None:
    dated = {"timestamp": datetime(1970, 1, 2, tzinfo=UTC), "date": date(1970, 1, 2)}
    stored = KINDS[kind].stored()
    column = pa.array([dated[kind], None], stored) if kind in dated else pa.array([1, None]).cast(stored)
    expected = [86_400, None] if kind in dated else column.to_pylist()  # seconds, as Feast has moments
    packed = packing.pack({"feature": KINDS[kind].feast_field}, pa.table({"feature": column})).to_pylist()
    assert [Reader(["feature"]).values(row)["feature"] for row in packed] == expected


def test_only_what_is_wanted_and_there_is_read_whatever_the_order() -> None:
    (packed,) = packing.pack(FIELDS, table([(1.5, None, True, "plus", "Île")])).to_pylist()
    assert Reader(["région", "newer", "purchases"]).values(packed) == {"région": "Île", "purchases": None}
    assert Reader([]).values(packed) == {}
    old = Map(val={"region": Value(string_val="x")}).SerializeToString()
    assert Reader(["région", "newer", "purchases"]).rows([packed, old, packed]) == [
        ("Île", None, None),
        (None, None, None),
        ("Île", None, None),
    ]


def test_a_view_without_features_is_packed_too() -> None:
    (packed,) = packing.pack({}, pa.table({"key": ["a"]})).to_pylist()
    assert Reader(["spent"]).values(packed) == {}


def test_a_header_is_shared_by_rows_and_grows_with_the_features_alone() -> None:
    rows = packing.pack(FIELDS, table([(1.0, 1, True, "a", ""), (math.inf, -1, False, "", "b")])).to_pylist()
    header = 3 + 5 * len(FIELDS)
    assert rows[0][:header] == rows[1][:header]
    assert [len(row) for row in rows] == [header + 1 + 8 + 8 + 1 + 4 + 4 + 1] * 2


def test_names_that_the_header_cannot_tell_apart_are_refused() -> None:
    assert named("plumless") == named("buckeroo")
    with pytest.raises(ValueError, match="rename one"):
        packing.pack(dict.fromkeys(("plumless", "buckeroo"), "double_val"), pa.table({}))


@given(
    st.lists(
        st.tuples(st.none() | st.datetimes(), st.none() | st.dates(), st.none() | st.floats(allow_nan=False)),
        min_size=1,
        max_size=20,
    )
)
def test_moments_and_days_are_packed_as_feasts_seconds(rows: list[tuple[Any, ...]]) -> None:
    kinds = [pa.timestamp("us", tz="UTC"), pa.date32(), pa.float64()]
    utc = [(at and at.replace(tzinfo=UTC), day, number) for at, day, number in rows]
    names = ("at", "day", "number")
    columns = [pa.array(column, kind) for column, kind in zip(zip(*utc, strict=True), kinds, strict=True)]
    fields = {"at": "unix_timestamp_val", "day": "unix_timestamp_val", "number": "double_val"}
    packed = packing.pack(fields, pa.table(columns, list(names))).to_pylist()
    start = datetime(1970, 1, 1, tzinfo=UTC)
    for (at, day, number), stored in zip(utc, packed, strict=True):
        midnight = day and datetime(day.year, day.month, day.day, tzinfo=UTC)
        expected = [each and (each - start) // timedelta(seconds=1) for each in (at, midnight)]
        assert Reader(names).values(stored) == dict(zip(names, [*expected, number], strict=True))
        protos = Reader(names).protos(stored)
        assert [protos[name].WhichOneof("val") for name in ("at", "day")] == [
            None if each is None else "unix_timestamp_val" for each in expected
        ]


@given(values=st.one_of(st.lists(WHOLE, max_size=9), st.lists(TEXT, max_size=9)))
def test_keys_are_feasts_own(values: list[Any]) -> None:
    kind = pa.int64() if values and isinstance(values[0], int) else pa.string()
    keys = packing.keys({"customer_id": pa.chunked_array([pa.array(values, kind)])}, 3)
    assert keys.to_pylist() == [serialize_entity_key(packing.entity({"customer_id": value}), 3) for value in values]
    assert keys.to_pylist() == [Keys(["customer_id"]).of({"customer_id": value, "other": None}) for value in values]


@given(rows=st.lists(st.tuples(TEXT, WHOLE, TEXT), max_size=9))
def test_keys_of_several_columns_are_feasts_own_and_are_read_back(rows: list[tuple[str, int, str]]) -> None:
    names, kinds = ("store", "product", "aisle"), (pa.string(), pa.int64(), pa.string())
    columns = {name: pa.array([row[n] for row in rows], kinds[n]) for n, name in enumerate(names)}
    keys = packing.keys(columns, 3).to_pylist()
    entities = [packing.entity(dict(zip(names, row, strict=True))) for row in rows]
    assert keys == [serialize_entity_key(entity, 3) for entity in entities]
    assert keys == [Keys(names).of(dict(zip(names, row, strict=True))) for row in rows]
    assert [packing.named(deserialize_entity_key(key, 3)) for key in keys] == [
        dict(zip(names, row, strict=True)) for row in rows
    ]


@given(one=st.tuples(TEXT, TEXT), other=st.tuples(TEXT, TEXT))
@example(one=("ab", "c"), other=("a", "bc"))
@example(one=("", "ab"), other=("ab", ""))
def test_no_two_keys_of_several_columns_share_their_bytes(one: tuple[str, str], other: tuple[str, str]) -> None:
    columns = {name: pa.array([one[n], other[n]], pa.string()) for n, name in enumerate(("store", "product"))}
    first, second = packing.keys(columns, 3).to_pylist()
    assert (first == second) == (one == other)


def test_an_entity_of_which_a_part_is_not_known_has_no_key() -> None:
    assert Keys(["store", "product"]).of({"store": "s", "product": None}) is None


def test_a_row_without_a_key_is_refused() -> None:
    with pytest.raises(ValueError, match="1 rows without a customer_id"):
        packing.keys({"customer_id": pa.array(["a", None])}, 3)
