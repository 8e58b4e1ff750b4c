"""What a declared type is: to the cells of a batch, to queries, the lake, Feast, requests, MLflow and the model.

One `Kind` per name that a spec may write; whoever holds or moves a value asks its kind, and decides nothing by the name
of the type. The libraries are known by name until a method needs one: the spec loads none of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import AwareDatetime, BeforeValidator, Field

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from feast.types import FeastType
    from feast.value_type import ValueType

ColumnType = Literal["string", "int", "float", "bool", "timestamp", "date"]  # of a source's column
# of a feature, and of what a request says; the model takes a timestamp or date as the days since then (`spec.ago`)
FeatureType = Literal["int", "float", "bool", "category", "timestamp", "date"]
KeyType = Literal["string", "int"]  # of what names an entity
KindName = Literal[ColumnType, FeatureType, KeyType]

_INT64 = 2**63
_EXACT = 2.0**53  # from here on a JSON number with a point may have lost the digits that tell two keys apart
_TEXT_LENGTH = 200  # characters of a text in a request, at most
_TEXT = "^[^\\x00]*$"  # Postgres holds no NUL

# What no calendar of four digits has (infinity, 10000-01-01, a year before Christ), which a database may hold and
# Python cannot, is no moment and no day. A time without a zone is UTC, by the connection's setting.
_MOMENT = (
    "case when try_cast({0} as timestamptz)"
    " between timestamptz '0001-01-01 00:00:00+00' and timestamptz '9999-12-31 23:59:59.999999+00'"
    " then try_cast({0} as timestamptz) end"
)
_DAY = "case when try_cast({0} as date) between date '0001-01-01' and date '9999-12-31' then try_cast({0} as date) end"
_WHOLE = "case when try_cast({0} as double) % 1 = 0 then try_cast({0} as bigint) end"  # a plain cast rounds 1.7 to 2
_FINITE = "case when not isinf(try_cast({0} as double)) then try_cast({0} as double) end"


def whole(value: Any) -> Any:
    """`2.0` is an integer, as JSON Schema says; `2.5` is none."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT else value


_SentInteger = Annotated[int, Field(ge=-_INT64, lt=_INT64), BeforeValidator(whole)]
_SentName = Annotated[str, Field(min_length=1, max_length=_TEXT_LENGTH, pattern=_TEXT)]
_SentText = Annotated[str, Field(max_length=_TEXT_LENGTH, pattern=_TEXT)]

_NUMBERS = ("integer", "decimal", "floating")
_TEXTS = ("string", "large_string", "dictionary")


@dataclass(frozen=True)
class Kind:
    """One declared type. Values are null where they are missing; NaN and infinity are missing too."""

    name: KindName
    arrow: str  # alias of its Arrow type in queries, whose times are UTC without a zone
    results: tuple[str, ...]  # families of Arrow types, as `pyarrow.types` names them, that a query may return for it
    cell: str  # DuckDB: of the cell {0} of any type, the value; null where the cell holds none
    sent: Any  # pydantic's type of the value in a request
    feast: str  # Feast's name of the value type
    numeric: bool = False  # a number, which the model takes as float64; else it takes text
    missing: str | None = None  # DuckDB: the value that stands for a missing one

    def value(self, cell: str) -> str:
        """DuckDB: the value of a cell, given as SQL; null where the cell is missing or holds none of this kind."""
        return self.present(self.cell.format(cell))

    def present(self, read: str) -> str:
        """DuckDB: what was read of a cell, given as SQL; null where it is this kind's missing value."""
        return read if self.missing is None else f"nullif({read}, {self.missing})"

    def fits(self, cell: str) -> str:
        """DuckDB: whether a cell that is not null holds a value of this kind without loss."""
        return f"({self.cell.format(cell)}) is not null"

    def queried(self) -> pa.DataType:
        """The Arrow type of a column that queries see: times are UTC, without a zone."""
        import pyarrow as pa

        return pa.type_for_alias(self.arrow)

    def stored(self) -> pa.DataType:
        """The Arrow type of a column of the lake: times are in UTC."""
        import pyarrow as pa

        queried = self.queried()
        return pa.timestamp(queried.unit, tz="UTC") if pa.types.is_timestamp(queried) else queried

    def returned(self, column_type: pa.DataType) -> bool:
        """Whether a query's column of that Arrow type may become this kind; one that is all null may."""
        import pyarrow.types as types

        return types.is_null(column_type) or any(getattr(types, f"is_{family}")(column_type) for family in self.results)

    def of_result(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        """A column that `returned` allows, as it is stored; NaN and infinity (of x/0, say) are null.

        Raises:
            pyarrow.ArrowInvalid: a value would not be the same.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        if pa.types.is_floating(column.type):
            column = pc.if_else(pc.is_finite(column), column, pa.scalar(None, column.type))
        return column.cast(self.stored())

    def value_type(self) -> ValueType:
        """Feast's type of a value."""
        from feast.value_type import ValueType

        return ValueType[self.feast]

    def feast_type(self) -> FeastType:
        """Feast's type of a field."""
        from feast.types import from_value_type

        return from_value_type(self.value_type())

    @property
    def feast_field(self) -> str:
        """The field of Feast's `Value` that holds it."""
        return f"{self.feast.lower()}_val"

    @property
    def tracked(self) -> str:
        """MLflow's name of the type in a model's signature."""
        return "double" if self.numeric else "string"

    def modelled(self, column: pd.Series[Any]) -> pd.Series[Any]:
        """A column as the model takes it: float64, or text and None."""
        return column.astype("float64") if self.numeric else column.astype(object).where(column.notna(), None)

    def modelled_arrow(self) -> pa.DataType:
        """The Arrow type of values as the model takes them."""
        import pyarrow as pa

        return pa.float64() if self.numeric else pa.string()

    def logged(self, value: object) -> float | str | None:
        """A value of the prediction log (JSON) as the model took it; one of another
        type than is declared now is missing."""
        if self.numeric:
            return float(value) if isinstance(value, int | float) else None
        return value if isinstance(value, str) else None

    def key(self, text: str) -> str | int:
        """The key of an entity out of its text in the prediction log."""
        return int(text) if self.numeric else text


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("string", "string", _TEXTS, "try_cast({0} as varchar)", _SentName, "STRING"),
        Kind("int", "int64", _NUMBERS, _WHOLE, _SentInteger, "INT64", numeric=True),
        # In Arrow and Delta NaN would pass for a value, and one of them would make every mean NaN.
        Kind("float", "float64", _NUMBERS, _FINITE, float, "DOUBLE", numeric=True, missing="'nan'::double"),
        Kind("bool", "bool", ("boolean",), "try_cast({0} as boolean)", bool, "BOOL", numeric=True),
        Kind("timestamp", "timestamp[us]", ("timestamp",), _MOMENT, AwareDatetime, "UNIX_TIMESTAMP"),
        Kind("date", "date32", ("date",), _DAY, date, "UNIX_TIMESTAMP"),
        Kind("category", "string", _TEXTS, "try_cast({0} as varchar)", _SentText, "STRING"),
    )
}
assert KINDS.keys() == set(get_args(KindName))


def numbers(types: Mapping[str, FeatureType]) -> list[str]:
    """The names of the features that a model takes as numbers, in order."""
    return [name for name, kind in types.items() if KINDS[kind].numeric]


def categories(types: Mapping[str, FeatureType]) -> list[str]:
    """The names of the features that a model takes as text, in order."""
    return [name for name, kind in types.items() if not KINDS[kind].numeric]
