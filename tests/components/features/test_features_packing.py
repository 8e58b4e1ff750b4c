"""Packed features: what is written column by column is what Feast writes one by one, and is read as it was."""

from __future__ import annotations

import math
from typing import Any, get_args

import pyarrow as pa
import pytest
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.protos.feast.types.Value_pb2 import Map, Value
from hypothesis import given
from hypothesis import strategies as st

from evergreen.features import packing
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
    reader = packing.Reader(list(FIELDS))
    assert [reader.values(row) for row in packed] == [known(row) for row in rows]


@given(rows=ROWS)
def test_as_feasts_values_it_is_what_its_own_serialization_gives(rows: list[tuple[Any, ...]]) -> None:
    reader = packing.Reader(list(FIELDS))
    for row, packed in zip(rows, packing.pack(FIELDS, table(rows)).to_pylist(), strict=True):
        stored = {
            name: Value() if value is None else Value(**{FIELDS[name]: value}) for name, value in known(row).items()
        }
        old = Map(val=stored).SerializeToString()
        assert reader.protos(packed) == reader.protos(old) == stored
        assert reader.values(packed) == reader.values(old)


@pytest.mark.parametrize("kind", get_args(FeatureType))
def test_every_type_that_a_feature_may_have_is_packed(kind: str) -> None:
    column = pa.array([1, None]).cast(KINDS[kind].stored())
    packed = packing.pack({"feature": KINDS[kind].feast_field}, pa.table({"feature": column})).to_pylist()
    assert [packing.Reader(["feature"]).values(row)["feature"] for row in packed] == column.to_pylist()


def test_only_what_is_wanted_and_there_is_read_whatever_the_order() -> None:
    (packed,) = packing.pack(FIELDS, table([(1.5, None, True, "plus", "Île")])).to_pylist()
    assert packing.Reader(["région", "newer", "purchases"]).values(packed) == {"région": "Île", "purchases": None}
    assert packing.Reader([]).values(packed) == {}


def test_a_view_without_features_is_packed_too() -> None:
    (packed,) = packing.pack({}, pa.table({"key": ["a"]})).to_pylist()
    assert packing.Reader(["spent"]).values(packed) == {}


def test_a_header_is_shared_by_rows_and_grows_with_the_features_alone() -> None:
    rows = packing.pack(FIELDS, table([(1.0, 1, True, "a", ""), (math.inf, -1, False, "", "b")])).to_pylist()
    header = 3 + 5 * len(FIELDS)
    assert rows[0][:header] == rows[1][:header]
    assert [len(row) for row in rows] == [header + 1 + 8 + 8 + 1 + 4 + 4 + 1] * 2


def test_names_that_the_header_cannot_tell_apart_are_refused() -> None:
    assert packing._named("plumless") == packing._named("buckeroo")
    with pytest.raises(ValueError, match="rename one"):
        packing.pack(dict.fromkeys(("plumless", "buckeroo"), "double_val"), pa.table({}))


@given(values=st.one_of(st.lists(WHOLE, max_size=9), st.lists(TEXT, max_size=9)))
def test_keys_are_feasts_own(values: list[Any]) -> None:
    kind = pa.int64() if values and isinstance(values[0], int) else pa.string()
    keys = packing.keys("customer_id", pa.chunked_array([pa.array(values, kind)]), 3)
    assert keys.to_pylist() == [serialize_entity_key(packing.entity("customer_id", value), 3) for value in values]


def test_a_row_without_a_key_is_refused() -> None:
    with pytest.raises(ValueError, match="1 rows without a customer_id"):
        packing.keys("customer_id", pa.array(["a", None]), 3)
