"""How an entity's features stand in one value of the online store: written column by column, read at once.

A packed value begins with a header that says which features follow, so a row can be read whatever the view declares
by now. All rows of one writing share theirs, and a reader makes of each header a plan, once:

    \\x01 · how many features (uint16) · of each: code of its type, CRC-32 of its name
    bits: which are null · the values as the codes say, of a text its length · the texts one after the other, in UTF-8

Numbers are little-endian. What Feast's own ways write (`feast materialize`), and what releases up to 0.1 wrote, is a
serialized `Map` of Feast's; its first byte is never \\x01, and a reader takes both.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from feast.infra.key_encoding_utils import serialize_entity_key_prefix
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Map, Value, ValueType

_MARK = b"\x01"
_COUNT, _FIELD = struct.Struct("<H"), struct.Struct("<cI")
_TYPE, _TYPED = struct.Struct("<I"), struct.Struct("<II")  # of a key's value: its type; with its length
_TEXT = "I"  # the code of a text; the value at its place is its length
_MOMENT = "t"  # the code of a timestamp or date: seconds since 1970, as Feast has them
_CODES = {"double_val": "d", "int64_val": "q", "bool_val": "?", "string_val": _TEXT, "unix_timestamp_val": _MOMENT}
_STRUCT = {_MOMENT: "q"}  # of a code that is none of struct's own
_FIELDS = {code: field for field, code in _CODES.items()}
_DTYPES = {"d": "<f8", "q": "<i8", "?": "u1", _TEXT: "<u4", _MOMENT: "<i8"}
_ARROW = {"d": pa.float64(), "q": pa.int64(), "?": pa.bool_(), _TEXT: pa.large_string(), _MOMENT: pa.int64()}

Plan = Callable[[bytes], dict[str, Any]]


def pack(fields: Mapping[str, str], rows: pa.Table | pa.RecordBatch) -> pa.LargeBinaryArray:
    """Each row's features, packed; null and NaN are missing.

    Args:
        fields: feature → the field of Feast's `Value` that holds it.
        rows: have a column of each feature.
    """
    names = list(fields)
    if len({_named(name) for name in names}) < len(names):
        raise ValueError(f"two of the features {', '.join(names)} have the same CRC-32: rename one")
    codes = [_CODES[fields[name]] for name in names]
    header = _MARK + _COUNT.pack(len(names))
    header += b"".join(_FIELD.pack(code.encode(), _named(name)) for name, code in zip(names, codes, strict=True))
    values = [_plain(_whole(rows[name])).cast(_ARROW[code]) for name, code in zip(names, codes, strict=True)]
    missing = np.zeros((rows.num_rows, len(names)), bool)
    layout = [("header", f"V{len(header)}"), ("missing", f"V{-(-len(names) // 8)}")] if names else [("header", "V3")]
    fixed = np.zeros(rows.num_rows, [*layout, *((str(n), _DTYPES[code]) for n, code in enumerate(codes))])
    fixed["header"] = np.void(header)
    texts = []
    for number, (code, column) in enumerate(zip(codes, values, strict=True)):
        missing[:, number] = column.is_null(nan_is_null=True).to_numpy(zero_copy_only=False)
        if code == _TEXT:
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
    return {name: python(value) for name, value in zip(key.join_keys, key.entity_values, strict=True)}


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


class Reader:
    """Reads the features of a view that somebody wants, out of packed values of any age; safe to share."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = {_named(name): name for name in names}
        self._wanted = frozenset(names)
        self._plans: dict[bytes, Plan] = {}

    def values(self, packed: bytes) -> dict[str, Any]:
        """Feature → value of those wanted that the row has; None: null."""
        if packed[:1] != _MARK:
            stored = Map.FromString(packed).val
            return {name: python(value) for name, value in stored.items() if name in self._wanted}
        header = packed[: 3 + 5 * (packed[1] | packed[2] << 8)]
        plan = self._plans.get(header)
        if plan is None:
            plan = self._plans[header] = self._plan(header)
        return plan(packed)

    def protos(self, packed: bytes) -> dict[str, Value]:
        """The same as Feast's values; null is one without a kind."""
        if packed[:1] != _MARK:
            stored = Map.FromString(packed).val
            return {name: value for name, value in stored.items() if name in self._wanted}
        fields = {self._names.get(crc): _FIELDS[code.decode()] for code, crc in _described(packed)}
        return {
            name: Value() if value is None else Value(**{fields[name]: value})
            for name, value in self.values(packed).items()
        }

    def _plan(self, header: bytes) -> Plan:
        described = [(code.decode(), self._names.get(crc)) for code, crc in _described(header)]
        bits = -(-len(described) // 8)
        fixed = struct.Struct(f"<{len(header)}x{bits}s{''.join(_STRUCT.get(code, code) for code, _ in described)}")
        wanted = [(number, name) for number, (_, name) in enumerate(described) if name is not None]
        texts = [number for number, (code, _) in enumerate(described) if code == _TEXT]
        whole, places = bytes(bits), [(name, number, 1 << number) for number, name in wanted]
        names, everything = [name for _, name in wanted], len(wanted) == len(described)

        def plan(packed: bytes) -> dict[str, Any]:
            missing, *values = fixed.unpack_from(packed)
            end = fixed.size
            for number in texts:
                start, end = end, end + values[number]
                values[number] = packed[start:end].decode()
            if missing == whole and everything:
                return dict(zip(names, values, strict=True))
            absent = int.from_bytes(missing, "little")
            return {name: None if absent & bit else values[number] for name, number, bit in places}

        return plan


def python(value: Value) -> Any:
    """A stored value as a Python object; Feast stores a null as a value without a kind."""
    kind = value.WhichOneof("val")
    return getattr(value, kind) if kind else None


def _described(header: bytes) -> Iterator[tuple[bytes, int]]:
    return _FIELD.iter_unpack(header[3 : 3 + 5 * (header[1] | header[2] << 8)])


def _named(name: str) -> int:
    return zlib.crc32(name.encode())


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
