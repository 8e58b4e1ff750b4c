"""What identifies an entity: one column, or several together."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from evergreen.spec.kinds import KINDS, KeyType
from evergreen.spec.partial import Declared, NotStated

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

NAME = r"^[a-z][a-z0-9_]{0,39}$"
Name = Annotated[str, Field(pattern=NAME)]

_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

Key = str | int | tuple[str | int, ...]  # of an entity: of several columns their values, in their order


def keys_of(columns: Sequence[str], rows: pa.Table) -> Iterator[Key]:
    """The key of each row of a table that has its columns."""
    values = [rows[name].to_pylist() for name in columns]
    return iter(values[0]) if len(values) == 1 else zip(*values, strict=True)


class Keyed(Declared):
    """What has a key of one column (`key` and `type`), or of several (`keys`)."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["key"]}, {"required": ["keys"]}]})

    key: Name | None = None
    type: KeyType = Field(default="string", description="type of the key")
    keys: dict[Name, KeyType] = Field(
        default={},
        description=(
            "in place of key and type, the columns that identify it together, with their types: "
            "`{store: string, product: int}`; every one of them is sent and none is null"
        ),
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.key is None) == (not self.keys):
            raise ValueError("either `key`, or `keys` with several columns")
        if len(self.keys) == 1:
            raise ValueError("several columns below `keys`; of one column write `key` and `type`")
        if self.keys and "type" in self.model_fields_set:
            raise ValueError("no `type` beside `keys`, which have types of their own")
        return self

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without the way that is not used: a spec that says no `keys` has the words, and the hash, that it had before
        there were any."""
        stated: dict[str, Any] = handler(self)
        unused = ("key", "type") if self.__dict__.get("keys") else ("keys",)
        return {name: value for name, value in stated.items() if name not in unused}

    @property
    def columns(self) -> dict[str, KeyType]:
        """The columns that identify it, in order, with their types."""
        if several := self.__dict__.get("keys"):
            return dict(several)
        if self.key is None:
            raise NotStated(f"{type(self).__name__} without key")
        return {self.key: self.type}

    @property
    def described(self) -> str:
        """As messages say it: `store (string), product (int)`."""
        return ", ".join(f"{name} ({kind})" for name, kind in self.columns.items())

    @property
    def named(self) -> str:
        """The columns, as messages and headings name them: `store, product`."""
        return ", ".join(self.columns)

    def values(self, key: Key) -> dict[str, str | int]:
        """Column → value of a key."""
        return dict(zip(self.columns, key if isinstance(key, tuple) else (key,), strict=True))

    def key_in(self, row: Mapping[str, Any]) -> Key:
        """The key out of a row that has its columns."""
        values = tuple(row[name] for name in self.columns)
        return values if len(values) > 1 else values[0]

    def text(self, row: Mapping[str, Any]) -> str:
        """The key of a row as one text: of one column its value, of several a JSON list, which no two keys share."""
        return self.texts([row])[0]

    def texts(self, rows: Iterable[Mapping[str, Any]]) -> list[str]:
        """The same of many rows."""
        columns = [*self.columns]
        if len(columns) == 1:
            return [str(row[columns[0]]) for row in rows]
        return [_JSON([row[name] for name in columns]) for row in rows]

    def of_text(self, text: str) -> dict[str, str | int]:
        """What `text` was made of."""
        if len(self.columns) > 1:
            return dict(zip(self.columns, json.loads(text), strict=True))
        ((name, kind),) = self.columns.items()
        return {name: KINDS[kind].key(text)}

    def names(self, rows: pd.DataFrame) -> pd.Series[Any]:
        """What tells the entities of rows apart: of one column its values, of several a number each."""
        columns = [*self.columns]
        return rows[columns[0]] if len(columns) == 1 else rows.groupby(columns, dropna=False).ngroup()
