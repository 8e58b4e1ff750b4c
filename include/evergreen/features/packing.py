"""Features as `packed` describes them, written column by column; and entities as Feast names them."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from feast.infra.key_encoding_utils import serialize_entity_key_prefix
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value, ValueType

from evergreen.features import feast_values, packed
from evergreen.features.packed import CODES, COUNT, FIELD, MARK, MOMENT, TEXT

_TYPE, _TYPED = struct.Struct("<I"), struct.Struct("<II")  # of a key's value: its type; with its length
_DTYPES = {"d": "<f8", "q": "<i8", "?": "u1", TEXT: "<u4", MOMENT: "<i8"}
_ARROW = {"d": pa.float64(), "q": pa.int64(), "?": pa.bool_(), TEXT: pa.large_string(), MOMENT: pa.int64()}


def pack(fields: Mapping[str, str], rows: pa.Table | pa.RecordBatch) -> pa.LargeBinaryArray:
    """Each row's features, packed; null and NaN are missing.

    Args:
        fields: feature → the field of Feast's `Value` that holds it.
        rows: have a column of each feature.
    """
    names = list(fields)
    if len({packed.named(name) for name in names}) < len(names):
        raise ValueError(f"two of the features {', '.join(names)} have the same CRC-32: rename one")
    codes = [CODES[fields[name]] for name in names]
    header = MARK + COUNT.pack(len(names))
    header += b"".join(FIELD.pack(code.encode(), packed.named(name)) for name, code in zip(names, codes, strict=True))
    values = [_plain(_whole(rows[name])).cast(_ARROW[code]) for name, code in zip(names, codes, strict=True)]
    missing = np.zeros((rows.num_rows, len(names)), bool)
    layout = [("header", f"V{len(header)}"), ("missing", f"V{-(-len(names) // 8)}")] if names else [("header", "V3")]
    fixed = np.zeros(rows.num_rows, [*layout, *((str(n), _DTYPES[code]) for n, code in enumerate(codes))])
    fixed["header"] = np.void(header)
    texts = []
    for number, (code, column) in enumerate(zip(codes, values, strict=True)):
        missing[:, number] = column.is_null(nan_is_null=True).to_numpy(zero_copy_only=False)
        if code == TEXT:
            text = pc.fill_null(column, "").cast(pa.large_binary())
            texts.append(text)
            fixed[str(number)] = pc.binary_length(text).to_numpy(zero_copy_only=False)
        else:
            plain = pc.fill_null(column, False if code == "?" else 0)
            fixed[str(number)] = plain.to_numpy(zero_copy_only=False)
            if code == "d":
                fixed[str(number)][missing[:, number]] = 0.0
    if names:
        fixed["missing"] = _rows_of(np.packbits(missing, axis=1, bitorder="little"))
    return joined([binary(fixed), *texts])


def keys(columns: Mapping[str, pa.ChunkedArray | pa.Array], version: int) -> pa.LargeBinaryArray:
    """Feast's serialized entity keys, as `feast.infra.key_encoding_utils` makes them one by one.

    What a value begins with says its type and its length, so no two keys share their bytes.

    Args:
        columns: join key → its values, text or int64, none of them null.
        version: `entity_key_serialization_version` of the repository.
    """
    whole = {key: _whole(columns[key]) for key in sorted(columns)}  # in the order in which Feast has them
    for key, column in whole.items():
        if column.null_count:
            raise ValueError(f"{column.null_count} rows without a {key}")
    start, pieces = serialize_entity_key_prefix([*whole], version), []
    for column in whole.values():
        pieces += _serialized(start, column)
        start = b""
    return joined(pieces)


def _serialized(start: bytes, column: pa.Array) -> list[pa.LargeBinaryArray]:
    """Values as Feast serializes them, each after the same bytes: in pieces that follow one another."""
    if pa.types.is_integer(column.type):
        start += _TYPED.pack(ValueType.INT64, 8)
        fixed = np.zeros(len(column), [("start", f"V{len(start)}"), ("value", "<i8")])
        fixed["start"] = np.void(start)
        fixed["value"] = column.cast(pa.int64()).to_numpy(zero_copy_only=False)
        return [binary(fixed)]
    text, start = column.cast(pa.large_binary()), start + _TYPE.pack(ValueType.STRING)
    fixed = np.zeros(len(column), [("start", f"V{len(start)}"), ("length", "<u4")])
    fixed["start"] = np.void(start)
    fixed["length"] = pc.binary_length(text).to_numpy(zero_copy_only=False)
    return [binary(fixed), text]


def entity(values: Mapping[str, str | int]) -> EntityKey:
    """An entity as Feast names it: by join key → value."""
    stored = [Value(int64_val=each) if isinstance(each, int) else Value(string_val=each) for each in values.values()]
    return EntityKey(join_keys=[*values], entity_values=stored)


def named(key: EntityKey) -> dict[str, str | int]:
    """What `entity` was made of."""
    return {name: feast_values.python(value) for name, value in zip(key.join_keys, key.entity_values, strict=True)}


def binary(records: np.ndarray) -> pa.LargeBinaryArray:
    """The records of a numpy array, each as its bytes."""
    width = records.dtype.itemsize
    offsets = np.arange(len(records) + 1, dtype="i8") * width
    content = pa.py_buffer(np.ascontiguousarray(records))
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(records), [None, pa.py_buffer(offsets), content])


def joined(pieces: Sequence[pa.LargeBinaryArray]) -> pa.LargeBinaryArray:
    """Of each row its pieces, one after the other."""
    if len(pieces) == 1:
        return pieces[0]
    return pc.binary_join_element_wise(*pieces, pa.scalar(b"", pa.large_binary()))


def _whole(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """A column in one piece; texts with offsets that hold any amount of them."""
    if pa.types.is_string(column.type) or pa.types.is_dictionary(column.type):
        column = column.cast(pa.large_string())
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _plain(column: pa.Array) -> pa.Array:
    """A column of numbers or texts; of timestamps and dates their seconds since 1970, the fractions left out."""
    if pa.types.is_date32(column.type):
        return pc.multiply(column.cast(pa.int32()).cast(pa.int64()), 86_400)
    if pa.types.is_timestamp(column.type):
        moments = column.cast(pa.timestamp("us")).cast(pa.int64())
        seconds = pc.fill_null(moments, 0).to_numpy(zero_copy_only=False) // 1_000_000
        return pa.array(seconds, mask=moments.is_null().to_numpy(zero_copy_only=False))
    return column


def _rows_of(matrix: np.ndarray) -> np.ndarray:
    """The rows of a matrix of bytes, each as one value."""
    return np.ascontiguousarray(matrix).view(f"V{matrix.shape[1]}").reshape(-1)
