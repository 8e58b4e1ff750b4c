"""What a dataclass says of its table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import pytest

from evergreen.database import Stored, Table


@dataclass(frozen=True)
class Size:
    width: int


@dataclass(frozen=True)
class Row:
    name: str
    number: Annotated[int, Stored("integer")]
    kind: Literal["a", "b"]
    share: float | None
    loose: dict[str, Any]
    sizes: Mapping[str, Size]
    at: Annotated[datetime | None, Stored(filled="default now()")] = None


TABLE = Table("rows_of_tests", Row, key=("name", "number"), indexes={"by_kind": ("kind", "at")})


def test_columns_are_the_fields() -> None:
    assert TABLE.ddl == (
        "create table if not exists rows_of_tests (\n"
        "    name text not null,\n"
        "    number integer not null,\n"
        "    kind text not null,\n"
        "    share double precision,\n"
        "    loose jsonb not null,\n"
        "    sizes jsonb not null,\n"
        "    at timestamptz default now() not null,\n"
        "    primary key (name, number)\n"
        ");\n"
        "create index if not exists by_kind on rows_of_tests (kind, at)"
    )
    assert TABLE.names == "name, number, kind, share, loose, sizes, at"


def test_what_postgres_fills_is_not_inserted() -> None:
    assert "at" not in [column.name for column in TABLE.inserted]
    assert TABLE.inserting.startswith(
        "insert into rows_of_tests as stored (name, number, kind, share, loose, sizes) select"
    )


def test_rows_become_arrays_and_come_back() -> None:
    rows = [Row("x", 1, "a", None, {"b": 2}, {"s": Size(3)}), Row("y", 2, "b", 0.5, {}, {})]
    names, numbers, kinds, shares, loose, sizes = TABLE.arrays(rows)
    assert (names, numbers, kinds, shares) == (["x", "y"], [1, 2], ["a", "b"], [None, 0.5])
    assert [json.obj for json in loose] == [{"b": 2}, {}]
    assert [json.obj for json in sizes] == [{"s": {"width": 3}}, {}]
    at = datetime(2026, 1, 1, tzinfo=UTC)
    read = TABLE.of(["x", 1, "a", None, {"b": 2}, {"s": {"width": 3}}, at])
    assert read == Row("x", 1, "a", None, {"b": 2}, {"s": Size(3)}, at)


def test_json_with_a_shape_is_checked_when_it_is_read() -> None:
    with pytest.raises(ValueError, match="width"):
        TABLE.of(["x", 1, "a", None, {}, {"s": {"width": "wide"}}, None])
