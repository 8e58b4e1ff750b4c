"""Values in Postgres' binary form, of the parameters of `Table.inserting` (arrays) and of the rows that `Table.copying`
takes: psycopg makes the same of them, and looks at each value for how to do it, which takes several times as long."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain, repeat
from typing import Any

import msgspec
from psycopg import adapt, pq

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)  # Postgres'
_HEAD = struct.Struct("!iiIii")  # dimensions, whether there are nulls, type, length, number of the first
_LENGTH = struct.Struct("!i")
_NULL = _LENGTH.pack(-1)
_INTEGER, _BIGINT, _DOUBLE = struct.Struct("!ii"), struct.Struct("!iq"), struct.Struct("!id")
_FIELDS = struct.Struct("!h")
COPY_HEAD, COPY_TAIL = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"  # before and after the rows
_ENCODER = msgspec.json.Encoder()
_JSON, _OTHER = _ENCODER.encode, json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def _bytes(value: bytes) -> bytes:
    return _LENGTH.pack(len(value)) + value


def _text(value: str) -> bytes:
    return _bytes(value.encode())


def _moment(value: datetime) -> bytes:
    since = value - _EPOCH
    return _BIGINT.pack(8, (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds)


def _json(value: Any) -> bytes:
    content = _JSON(value)
    if b"null" in content:  # NaN and infinities too: those Postgres is to refuse, and nobody to lose
        nulls = [*value.values()].count(None) if isinstance(value, dict) else -1
        if content.count(b"null") != nulls:
            content = _OTHER(value).encode()
    return _bytes(b"\x01" + content)


def _jsons(values: Sequence[Any]) -> list[bytes]:
    """As `_json` of each, which looks at each for what is null: most have nothing that is."""
    lines = _ENCODER.encode_lines(values)
    if b"null" in lines:
        return [_NULL if value is None else _json(value) for value in values]
    return [_LENGTH.pack(len(line) + 1) + b"\x01" + line for line in lines.split(b"\n")[:-1]]


# Postgres' type → its number, and a value with its length before it
_KINDS: Mapping[str, tuple[int, Callable[[Any], bytes]]] = {
    "bigint": (20, lambda value: _BIGINT.pack(8, value)),
    "bytea": (17, _bytes),
    "double precision": (701, lambda value: _DOUBLE.pack(8, value)),
    "integer": (23, lambda value: _INTEGER.pack(4, value)),
    "jsonb": (3802, _json),
    "text": (25, _text),
    "timestamptz": (1184, _moment),
}
# Of which equal values are written alike: 0.0 and -0.0 are equal, and so are 1 and True within JSON.
_EQUAL_ALIKE = frozenset({"bigint", "bytea", "integer", "text", "timestamptz"})


def binary(kind: str, values: Sequence[Any]) -> bytes:
    """An array of values of one of Postgres' types, None where they are null.

    Raises:
        KeyError: a type of which no column that is written so has been.
        struct.error, ValueError: a value that the type has no room for, or that is no valid text.
    """
    number, _ = _KINDS[kind]
    return _HEAD.pack(1, None in values, number, len(values), 1) + b"".join(_each(kind, values))


def rows(kinds: Sequence[str], columns: Sequence[Sequence[Any]]) -> bytes:
    """Rows as `copy … from stdin (format binary)` takes them between `COPY_HEAD` and `COPY_TAIL`.

    Args:
        kinds: Postgres' type of each column.
        columns: of each the values of all rows.

    Raises:
        as `binary` does.
    """
    fields = [_each(kind, values) for kind, values in zip(kinds, columns, strict=True)]
    return b"".join(chain.from_iterable(zip(repeat(_FIELDS.pack(len(kinds))), *fields)))


def _each(kind: str, values: Sequence[Any]) -> list[bytes]:
    """Each value, its length before it."""
    of = _KINDS[kind][1]
    first = values[0] if values else None
    if (kind in _EQUAL_ALIKE or first is None) and values.count(first) == len(values):  # as of all rows of a request
        return [_NULL if first is None else of(first)] * len(values)
    if kind == "jsonb":
        return _jsons(values)
    return [_NULL if value is None else of(value) for value in values]


class Array(bytes):
    """An array that `binary` made, as a parameter of psycopg's on connections that know `ArrayDumper`."""


class ArrayDumper(adapt.Dumper):
    """Sends it as it is; the statement says its type."""

    format = pq.Format.BINARY

    def dump(self, obj: Array) -> bytes:
        return obj
