"""A table of Evergreen's own: its columns are the fields of a frozen dataclass, so each stands once.

`ddl` says how the table is now. How the tables of an earlier release become so is a migration's affair (`migrations`);
a test compares the two.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from operator import attrgetter
from typing import Annotated, Any, Generic, Literal, TypeVar

from psycopg import Connection
from psycopg.types.json import Jsonb
from pydantic import TypeAdapter

T = TypeVar("T")
_KINDS: Mapping[Any, str] = {
    bool: "boolean",
    bytes: "bytea",
    date: "date",
    datetime: "timestamptz",
    float: "double precision",
    int: "bigint",
    str: "text",
}
_SHAPELESS = (Any, dict, list, dict[str, Any], Mapping[str, Any], list[Any])  # JSON as it comes


@dataclass(frozen=True)
class Stored:
    """In a field's `Annotated[…]`: what its column is beyond what the field's type says."""

    kind: str = ""  # Postgres' type, where it is not the usual one
    # the clause by which Postgres fills it ("default now()"): None in a row to insert, a value in one that is read
    filled: str = ""
    # whether Postgres notes the most common values and the bounds of the others, to plan queries: it forgets none of
    # them when its row is deleted, so it may not where the values are a person's
    noted: bool = True


@dataclass(frozen=True)
class Column:
    """One column."""

    name: str
    kind: str  # Postgres' type
    nullable: bool
    filled: str  # the clause by which Postgres fills it; empty: it is inserted
    adapter: TypeAdapter[Any] | None  # of JSON with a shape
    noted: bool = True  # in Postgres' statistics

    @property
    def ddl(self) -> str:
        """As `create table` takes it."""
        return " ".join(
            part for part in (self.name, self.kind, self.filled, "" if self.nullable else "not null") if part
        )

    def array(self, rows: Iterable[Any]) -> list[Any]:
        """The field's values of rows, as psycopg takes them."""
        values = list(map(attrgetter(self.name), rows))
        return values if self.kind != "jsonb" else [None if value is None else self._json(value) for value in values]

    def _json(self, value: Any) -> Jsonb:
        return Jsonb(value if self.adapter is None else self.adapter.dump_python(value, mode="json"))

    def read(self, value: Any) -> Any:
        """What psycopg reads, as the field's value."""
        return value if self.adapter is None or value is None else self.adapter.validate_python(value)


@dataclass(frozen=True)
class Table(Generic[T]):
    """A table whose rows are a dataclass.

    Fields of type `str`, `int`, `float`, `bool`, `bytes`, `datetime`, `date` and literals of text have the column's
    type of that name; one that may be None is nullable; all others are JSON, of which those with a shape are checked
    when they are read.
    """

    name: str
    row: type[T]
    key: tuple[str, ...]
    indexes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # name → columns
    unique: tuple[str, ...] = ()  # columns whose values differ in all rows
    divided: str = ""  # how it is divided into tables, as Postgres says it ("list (model)"); empty: it is not

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """In the order of the fields."""
        hints = typing.get_type_hints(self.row, include_extras=True)
        return tuple(_column(one.name, hints[one.name]) for one in dataclasses.fields(self.row))  # type: ignore[arg-type]  # a row is a dataclass, which no type can ask for

    @cached_property
    def inserted(self) -> tuple[Column, ...]:
        """Those that a writer fills."""
        return tuple(one for one in self.columns if not one.filled)

    @cached_property
    def names(self) -> str:
        """All columns, with commas between, for `select`."""
        return ", ".join(one.name for one in self.columns)

    def names_of(self, alias: str) -> str:
        """The same of the table under another name, for a query that joins it."""
        return ", ".join(f"{alias}.{one.name}" for one in self.columns)

    @property
    def ddl(self) -> str:
        """The statements that make the table as it is now."""
        lines = [
            *(one.ddl for one in self.columns),
            f"primary key ({', '.join(self.key)})",
            *(f"unique ({name})" for name in self.unique),
        ]
        indexes = (
            f";\ncreate index if not exists {index} on {self.name} ({', '.join(columns)})"
            for index, columns in self.indexes.items()
        )
        divided = f" partition by {self.divided}" if self.divided else ""
        return (
            f"create table if not exists {self.name} (\n    "
            + ",\n    ".join(lines)
            + f"\n){divided}"
            + "".join(indexes)
            + "".join(f";\n{unnoted(self.name, one.name)}" for one in self.columns if not one.noted)
        )

    @cached_property
    def inserting(self) -> str:
        """`insert … select`, of one array for each column (`arrays`); what happens on a conflict may follow.

        In binary: half the work.
        """
        names, arrays = (
            ", ".join(form.format(one) for one in self.inserted) for form in ("{0.name}", "%b::{0.kind}[]")
        )
        return f"insert into {self.name} as stored ({names}) select * from unnest({arrays})"

    @cached_property
    def copying(self) -> str:
        """`copy … from stdin` of rows in binary form (`arrays.rows`), with no rule for those that are there."""
        return f"copy {self.name} ({', '.join(one.name for one in self.inserted)}) from stdin (format binary)"

    def arrays(self, rows: Iterable[T]) -> list[list[Any]]:
        """The parameters of `inserting`."""
        listed = list(rows)
        return [one.array(listed) for one in self.inserted]

    def insert(self, connection: Connection, rows: Iterable[T], *, replace: bool = False) -> None:
        """Insert rows, all or none, in one statement.

        Args:
            replace: a row takes the place of one with the same key; False: that one stays as it is.
        """
        arrays = self.arrays(rows)
        if not arrays[0]:
            return
        changes = ", ".join(f"{one.name} = excluded.{one.name}" for one in self.inserted if one.name not in self.key)
        action = f"update set {changes}" if replace else "nothing"
        connection.execute(f"{self.inserting} on conflict ({', '.join(self.key)}) do {action}", arrays)

    def select(
        self, connection: Connection, rest: str, parameters: Sequence[Any] = (), *, binary: bool = False
    ) -> list[T]:
        """The rows of `select … from <table>` and the rest of that query ("where model = %s order by at")."""
        rows = connection.execute(f"select {self.names} from {self.name} {rest}", parameters, binary=binary)
        return [self.of(row) for row in rows.fetchall()]

    def of(self, values: Sequence[Any]) -> T:
        """The row of a query's values, in the order of `names`."""
        return self.row(*(one.read(value) for one, value in zip(self.columns, values, strict=True)))


def unnoted(table: str, column: str) -> str:
    """The statement that lets Postgres note no values of a column from now on."""
    return f"alter table {table} alter column {column} set statistics 0"


def _column(name: str, hint: Any) -> Column:
    stated = Stored()
    if typing.get_origin(hint) is Annotated:
        hint, *extras = typing.get_args(hint)
        stated = next((extra for extra in extras if isinstance(extra, Stored)), stated)
    options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    given = [option for option in options if option is not type(None)]
    kind = stated.kind or _kind(given)
    shaped = kind == "jsonb" and not all(option in _SHAPELESS for option in given)
    return Column(
        name,
        kind,
        nullable=len(given) < len(options) and not stated.filled,
        filled=stated.filled,
        adapter=TypeAdapter(hint) if shaped else None,
        noted=stated.noted,
    )


def _kind(options: Sequence[Any]) -> str:
    if len(options) != 1:
        return "jsonb"
    (option,) = options
    return "text" if typing.get_origin(option) is Literal else _KINDS.get(option, "jsonb")
