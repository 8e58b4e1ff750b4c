"""Values in Feast's own form, as its ways of writing leave them in the online store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from feast.protos.feast.types.Value_pb2 import Map, Value


def stored(row: bytes) -> Mapping[str, Value]:
    """Feature → value of a row in Feast's own form."""
    values: Mapping[str, Value] = Map.FromString(row).val
    return values


def python(value: Value) -> Any:
    """A stored value as a Python object; Feast stores a null as a value without a kind."""
    kind = value.WhichOneof("val")
    return getattr(value, kind) if kind else None
