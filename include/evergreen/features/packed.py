"""How an entity's features stand in one value of the online store, and how its key does: what a reader needs, which is
neither Feast nor Arrow. `packing` writes it, column by column.

A packed value begins with a header that says which features follow, so a row can be read whatever the view declares
by now. All rows of one writing share theirs, and a reader makes of each header a plan, once:

    \\x01 · how many features (uint16) · of each: code of its type, CRC-32 of its name
    bits: which are null · the values as the codes say, of a text its length · the texts one after the other, in UTF-8

Numbers are little-endian. What Feast's own ways write (`feast materialize`), and what releases up to 0.1 wrote, is a
serialized `Map` of Feast's; its first byte is never \\x01, and a reader takes both, the latter by Feast's own classes.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from feast.protos.feast.types.Value_pb2 import Value

MARK = b"\x01"
COUNT, FIELD = struct.Struct("<H"), struct.Struct("<cI")
TEXT = "I"  # the code of a text; the value at its place is its length
MOMENT = "t"  # the code of a timestamp or date: seconds since 1970, as Feast has them
CODES = {"double_val": "d", "int64_val": "q", "bool_val": "?", "string_val": TEXT, "unix_timestamp_val": MOMENT}
KEY_VERSION = 3  # of Feast's serialized keys (`entity_key_serialization_version`): the one that it still writes
_STRUCT = {MOMENT: "q"}  # of a code that is none of struct's own
_FIELDS = {code: field for field, code in CODES.items()}
_LENGTH, _NUMBER = struct.Struct("<I"), struct.Struct("<IIq")
_STRING, _INT64 = 2, 4  # Feast's numbers of a value's type

Plan = Callable[[bytes], tuple[Any, ...]]  # from a packed value to those wanted, in their order


class Keys:
    """The keys of entities with the same join keys, as `feast.infra.key_encoding_utils` serializes them."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = sorted(names)  # in the order in which Feast has them
        self._prefix = _LENGTH.pack(len(self._names)) + b"".join(_text(name.encode()) for name in self._names)

    def of(self, values: Mapping[str, Any]) -> bytes | None:
        """The key of an entity whose join keys, texts or whole numbers, are among the values; None: one of them is."""
        pieces = [values[name] for name in self._names]
        return None if None in pieces else self._prefix + b"".join(map(_value, pieces))

    def of_all(self, rows: Iterable[Mapping[str, Any]]) -> list[bytes | None]:
        """The key of each entity."""
        if len(self._names) > 1:
            return [self.of(row) for row in rows]
        (name,), prefix = self._names, self._prefix
        return [None if (value := row[name]) is None else prefix + _value(value) for row in rows]


def _value(value: str | int) -> bytes:
    return _NUMBER.pack(_INT64, 8, value) if isinstance(value, int) else _text(value.encode())


def _text(value: bytes) -> bytes:
    return _LENGTH.pack(_STRING) + _LENGTH.pack(len(value)) + value


class Reader:
    """Reads the features of a view that somebody wants, out of packed values of any age; safe to share."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = {named(name): name for name in names}
        self._wanted = tuple(names)
        self._plans: dict[bytes, Plan] = {}
        # Mostly the next row was written with the same header.
        self._latest: tuple[bytes, Plan] = (b"no header", lambda packed: ())

    def rows(self, packed: Iterable[bytes]) -> list[tuple[Any, ...]]:
        """The values of those wanted in each row, in their order; None: null, or a row that lacks it."""
        header, plan = self._latest
        found = []
        for row in packed:
            if not row.startswith(header):
                header, plan = self._planned(row)
            found.append(plan(row))
        return found

    def values(self, packed: bytes) -> dict[str, Any]:
        """Feature → value of those wanted that the row has; None: null."""
        if packed[:1] != MARK:
            stored = _foreign(packed)
            return {name: stored[name] for name in self._wanted if name in stored}
        (row,), has = self.rows([packed]), {crc for _, crc in _described(packed)}
        return {name: value for (crc, name), value in zip(self._names.items(), row, strict=True) if crc in has}

    def protos(self, packed: bytes) -> dict[str, Value]:
        """The same as Feast's values; null is one without a kind."""
        from feast.protos.feast.types.Value_pb2 import Value

        from evergreen.features import feast_values

        if packed[:1] != MARK:
            return {name: value for name, value in feast_values.stored(packed).items() if name in {*self._wanted}}
        fields = {self._names.get(crc): _FIELDS[code.decode()] for code, crc in _described(packed)}
        return {
            name: Value() if value is None else Value(**{fields[name]: value})
            for name, value in self.values(packed).items()
        }

    def _planned(self, packed: bytes) -> tuple[bytes, Plan]:
        """The header of a row, and how those like it are read."""
        if packed[:1] != MARK:
            wanted = self._wanted
            return b"no header", lambda row: tuple(map(_foreign(row).get, wanted))
        header = packed[: 3 + 5 * (packed[1] | packed[2] << 8)]
        if header not in self._plans:
            self._plans[header] = self._plan(header)
        self._latest = header, self._plans[header]
        return self._latest

    def _plan(self, header: bytes) -> Plan:
        described = [(code.decode(), self._names.get(crc)) for code, crc in _described(header)]
        bits = -(-len(described) // 8)
        fixed = struct.Struct(f"<{len(header)}x{bits}s{''.join(_STRUCT.get(code, code) for code, _ in described)}")
        places = {name: number for number, (_, name) in enumerate(described, 1) if name is not None}
        texts = [number for number, (code, _) in enumerate(described, 1) if code == TEXT]
        unpack, end, whole = fixed.unpack_from, fixed.size, bytes(bits)
        order, aligned = [places.get(name, 0) for name in self._wanted], len(places) == len(described)
        aligned = aligned and order == [*range(1, 1 + len(described))]

        def plan(packed: bytes) -> tuple[Any, ...]:
            values = unpack(packed)  # which are null, then the values
            if texts or values[0] != whole:
                values = amended(packed, values)
            return values[1:] if aligned else tuple([values[at] if at else None for at in order])

        def amended(packed: bytes, found: tuple[Any, ...]) -> tuple[Any, ...]:
            values, start = [*found], end
            for number in texts:
                after = start + values[number]
                values[number] = packed[start:after].decode()
                start = after
            if values[0] != whole:
                absent = int.from_bytes(values[0], "little")
                for number in range(1, len(values)):
                    if absent >> number - 1 & 1:
                        values[number] = None
            return tuple(values)

        return plan


def _foreign(packed: bytes) -> dict[str, Any]:
    """Feature → value of a row in Feast's own form: Feast takes seconds to import, and few rows are."""
    from evergreen.features import feast_values

    return {name: feast_values.python(value) for name, value in feast_values.stored(packed).items()}


def _described(header: bytes) -> Iterator[tuple[bytes, int]]:
    return FIELD.iter_unpack(header[3 : 3 + 5 * (header[1] | header[2] << 8)])


def named(name: str) -> int:
    """What a header calls a feature."""
    return zlib.crc32(name.encode())
