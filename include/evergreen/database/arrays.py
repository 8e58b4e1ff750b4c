"""Values as Postgres' binary arrays, the parameters of `Table.inserting`: psycopg makes the same of them, and looks at
each value for how to do it, which takes several times as long."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)  # Postgres'
_HEAD = struct.Struct("!iiIii")  # dimensions, whether there are nulls, type, length, number of the first
_LENGTH = struct.Struct("!i")
_NULL = _LENGTH.pack(-1)
_INTEGER, _BIGINT, _DOUBLE = struct.Struct("!ii"), struct.Struct("!iq"), struct.Struct("!id")
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def _bytes(value: bytes) -> bytes:
    return _LENGTH.pack(len(value)) + value


def _text(value: str) -> bytes:
    return _bytes(value.encode())


def _moment(value: datetime) -> bytes:
    since = value - _EPOCH
    return _BIGINT.pack(8, (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds)


def _json(value: Any) -> bytes:
    return _bytes(b"\x01" + _JSON(value).encode())


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


def value(kind: str, value: Any) -> bytes:
    """A value that is not null, in binary, its length before it; raises as `binary` does."""
    return _KINDS[kind][1](value)


def binary(kind: str, values: Sequence[Any]) -> bytes:
    """An array of values of one of Postgres' types, None where they are null.

    Raises:
        KeyError: a type of which no column that is written so has been.
        struct.error, ValueError: a value that the type has no room for, or that is no valid text.
    """
    number, of = _KINDS[kind]
    head = _HEAD.pack(1, None in values, number, len(values), 1)
    return head + b"".join([_NULL if value is None else of(value) for value in values])
