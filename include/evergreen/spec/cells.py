"""How a column arrives, and how its cells are written: what a source declares of text that is not ours."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from evergreen.calendar import known_zone
from evergreen.spec.kinds import ColumnType
from evergreen.spec.partial import Declared

EPOCHS: Mapping[str, int] = {"epoch_s": 1_000_000, "epoch_ms": 1_000, "epoch_us": 1}  # microseconds of one
MOST_FORMATS = 10  # of a column, and null markers of a source: each is tried on every cell
_LONGEST = 200  # characters of a name, a format or a marker
_DIRECTIVE = re.compile(r"%(-?[dmyHIMSj]|[aAbBfpYzZ%])")  # of DuckDB's strptime, as of Python's
# One of each: a time of no day, or a day of no year, would be one of 1900.
_DAY = ({"Y", "y", "-y"}, {"m", "-m", "b", "B"}, {"d", "-d"})
_DAY_OF_YEAR = ({"Y", "y", "-y"}, {"j", "-j"})
_OFFSETS = {"z", "Z"}
_NUMBER = re.compile(r"\d{1,20}(\.0*)?", re.ASCII)  # as pandas writes a whole number beside nulls, too
_DATED = range(315_532_800_000_000, 4_102_444_800_000_000)  # microseconds from 1980 to 2100
_SAMPLE = datetime(2026, 1, 31, 12, 30, tzinfo=UTC)

Form = Literal["blanks", "unicode", "whole"]
Marker = Annotated[str, Field(min_length=1, max_length=_LONGEST)]
Markers = Annotated[tuple[Marker, ...], Field(max_length=MOST_FORMATS)]


def _no_number(text: str) -> str:
    if text != text.strip() or text[0].isdigit() or text[0] in "+-.,":
        raise ValueError("a sign or word without blanks around it that begins no number, such as $, € or kg")
    return text


def _known_format(text: str) -> str:
    if text in EPOCHS:
        return text
    used = set(_DIRECTIVE.findall(text))
    whole = any(all(part & used for part in day) for day in (_DAY, _DAY_OF_YEAR))
    if "%" in _DIRECTIVE.sub("", text) or not whole:
        raise ValueError(f"a format with day, month and year, such as %d.%m.%Y %H:%M, or {', '.join(EPOCHS)}")
    return text


def states_offset(text: str) -> bool:
    """Whether times of a format say how far from UTC they are."""
    return bool(_OFFSETS & set(_DIRECTIVE.findall(text)))


Format = Annotated[str, Field(max_length=_LONGEST), AfterValidator(_known_format)]
Unit = Annotated[str, Field(min_length=1, max_length=20), AfterValidator(_no_number)]
Zone = Annotated[str, AfterValidator(known_zone)]


class Column(Declared):
    """A column of a source. A type alone, `amount: float`, stands for `amount: {type: float}`."""

    model_config = ConfigDict(validate_by_name=True, serialize_by_alias=True)

    type: ColumnType = Field(description="its type")
    from_: Annotated[str, Field(max_length=_LONGEST)] | None = Field(
        default=None,
        alias="from",
        description='its name in the file or query, "" where the header leaves it empty; default: its name here',
    )
    format: Annotated[tuple[Format, ...], Field(max_length=MOST_FORMATS)] = Field(
        default=(),
        description=(
            "how a timestamp or date is written, one or several of which the first that fits counts: %d.%m.%Y %H:%M, "
            "or epoch_s, epoch_ms, epoch_us; default: ISO 8601"
        ),
    )
    zone: Zone = Field(default="UTC", description="zone of timestamps that state none, such as Europe/Berlin")
    unit: Unit | None = Field(
        default=None,
        description=(
            "of an int or float, the text that may stand before or after the number and is no part of it: $, €, kg, %; "
            "12 % is 12"
        ),
    )
    nulls: Markers | None = Field(default=None, description="in place of the source's `nulls`")
    normalise: tuple[Form, ...] | None = Field(
        default=None,
        description=(
            "of a string, so that one key has one form: blanks (none at either end), unicode (NFC), whole (1001.0 is "
            "1001, and 1001.5 is none); default: whole of a column that names rows or entities, nothing of others; []: "
            "as it is"
        ),
    )

    @classmethod
    def written_out(cls, given: Any) -> Any:
        """A column as a mapping, where its type alone stands for it; a format as the list of it alone."""
        if isinstance(given, cls):
            return given
        if not isinstance(given, dict):
            return {"type": given}
        formats = given.get("format")
        more = {"format": [formats]} if isinstance(formats, str) else {}
        # What a validator has seen is no JSON any more, where a list would do for a tuple.
        return {name: tuple(each) if isinstance(each, list) else each for name, each in (given | more).items()}

    @model_validator(mode="before")
    @classmethod
    def _read(cls, given: Any) -> Any:
        return cls.written_out(given)

    @model_serializer(mode="wrap")
    def _short(self, handler: SerializerFunctionWrapHandler) -> Any:
        """As short as it can be written: a recorded spec keeps its words when columns learn to say more."""
        stated = handler(self)
        for name, field in type(self).model_fields.items():
            if getattr(self, name) == field.default:
                del stated[field.alias or name]
        return self.type if stated.keys() == {"type"} else stated

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler.resolve_ref_schema(handler(core_schema))
        schema.pop("type", None)
        formats = schema["properties"]["format"]
        several = {key: formats.pop(key) for key in ("type", "items", "maxItems")}
        formats["anyOf"] = [several["items"], several]
        return schema | {"anyOf": [{"enum": [*get_args(ColumnType)]}, {"type": "object"}]}

    def arrives_as(self, name: str) -> str:
        """The name of the column in what arrives."""
        return name if self.from_ is None else self.from_


def readable(column: Column, decimal: str, thousands: str | None, cell: str = "") -> str:
    """What a cell of a column might be, as a message says it: `a float, such as 1.299,5`.

    Args:
        cell: one that could not be read; of a moment as a number, what would have to be declared for it is said.
    """
    match column.type:
        case "float":
            sample = f"1{thousands or ''}299{decimal}5"
        case "int":
            sample = f"1{thousands or ''}299"
        case "bool":
            sample = "true"
        case "timestamp" | "date":
            sample = " or ".join(_samples(column))
        case _ if column.normalise and "whole" in column.normalise:
            return "text, or a whole number such as 1001 or 1001.0; as it is with `normalise: []`"
        case _:
            return "text"
    also = "" if column.unit is None else f", also with {column.unit}"
    if column.type == "timestamp" and (epoch := epoch_of(cell)) and epoch not in column.format:
        also += f"; {cell} is one with `format: {epoch}`"
    return f"{'an' if column.type == 'int' else 'a'} {column.type}, such as {sample}{also}"


def epoch_of(cell: str) -> str | None:
    """The format by which a whole number is a moment from 1980 to 2100; None: no such number."""
    if not _NUMBER.fullmatch(cell):
        return None
    number = int(cell.partition(".")[0])
    return next((name for name, micro in EPOCHS.items() if number * micro in _DATED), None)


def _samples(column: Column) -> Iterator[str]:
    if not column.format:
        yield "2026-01-31T12:30:00Z" if column.type == "timestamp" else "2026-01-31"
    for each in column.format:
        moment = int(_SAMPLE.timestamp()) * 1_000_000
        # A number shows nothing of what it counts, as a date does of how it is written.
        yield f"{moment // EPOCHS[each]} ({each})" if each in EPOCHS else _SAMPLE.strftime(each)
