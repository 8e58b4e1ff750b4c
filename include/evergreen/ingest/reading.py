"""From the cell of a column, as it arrives, to its value: what a source declares of how cells are written, in DuckDB's
SQL. A column that declares nothing costs nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from evergreen.spec.cells import EPOCHS, Column, states_offset
from evergreen.spec.dataset import Source
from evergreen.spec.kinds import KINDS
from evergreen.sql import literal, quoted

# What looks like nothing at the end of a text: white space of any kind, and what has no width.
SPACES = "\u0020\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
BLANKS = SPACES + "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f\x85\u2028\u2029\u180e\u200b\u2060\ufeff"
_NUMBER = r"[+-]?(?:(?:\d+|{groups})(?:{decimal}\d*)?|{decimal}\d+)(?:[eE][+-]?\d+)?"
# A time that says how far it is from UTC, or where: what follows its minutes.
_STATED = r".*\d:\d.*?([zZ]|[+-]\d{2}(:?\d{2}){0,2}|[A-Za-z][A-Za-z/_+-]*\d*)\s*"
_EARLIEST, _LATEST = -62_135_596_800_000_000, 253_402_300_799_999_999  # microseconds: the years 1 to 9999
_COMMA = r"[+-]?\d{1,3}(?:\.\d{3})*,(?:\d{1,2}|\d{4,})"  # of decimals, and not of thousands
_EITHER = r"[+-]?\d{1,3}(?:\.\d{3})+"  # 1.299: little more than one, or more than a thousand
_POINT_NOUGHT = r"[+-]?\d+\.0"
FRACTION = r"[+-]?\d*\.\d*[1-9]\d*"  # no whole number, so no key that is one
_SAMPLE = 20  # cells that tell whether a look at all of them is worth it
_EXACT = 2**53  # to which a double tells whole numbers apart


@dataclass(frozen=True)
class Reading:
    """How the cells of a column are read, as SQL in three steps: of many columns a step that stood within the next one,
    as often as that names it, would be planned and run each time.

    Attributes:
        given: of the cell: it without its unit, null where it stands for no value; step two calls it `given`.
        read: of that: one of the declared type, null where it is none; step three calls it `read`.
        value: of these: the value.
        unfit: whether the cell holds something that is no value.
    """

    given: str
    read: str
    value: str
    unfit: str


def is_text(arrived: pa.DataType) -> bool:
    """Whether the cells of an Arrow type are text."""
    kind = arrived.value_type if pa.types.is_dictionary(arrived) else arrived
    return any(is_kind(kind) for is_kind in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


def of_column(name: str, source: Source, declared: Column, arrived: pa.DataType, *, doubtful: bool = False) -> Reading:
    """How the cells of a column are read.

    Args:
        name: of the column that has the cells.
        arrived: their type.
        doubtful: whether a number that has another value with a decimal comma counts as none.
    """
    kind, given, read = KINDS[declared.type], quoted(f"given {name}"), quoted(f"read {name}")
    value, unfit = kind.present(read), f"{given} is not null and {read} is null"
    if declared.type != "string" and is_text(arrived):
        unfit = f"{unfit} and {_trimmed(given)} <> ''"  # a number or a time of nothing but blanks is none
    if doubtful:
        either = f"coalesce(regexp_full_match({_trimmed(given)}, {literal(_EITHER)}), false)"
        value, unfit = f"case when not {either} then {value} end", f"({unfit} or {either})"
    return Reading(
        f"{_given(quoted(name), source, declared, arrived)} as {given}",
        f"{kind.cell.format(_plain(given, source, declared, arrived))} as {read}",
        value,
        unfit,
    )


def steps(of_columns: Iterable[Reading], table: str) -> str:
    """SQL: the rows of a table, with what the first two steps make of its columns."""
    readings = [*of_columns]
    given, read = (", ".join(parts) for parts in ([each.given for each in readings], [each.read for each in readings]))
    return f"(select *, {read} from (select *, {given} from {table}))"


def _given(cell: str, source: Source, declared: Column, arrived: pa.DataType) -> str:
    """The cell without its unit; null where it stands for no value."""
    if declared.type == "string" and pa.types.is_floating(arrived):
        return f"case when not isnan({cell}) then {cell} end"
    markers = source.nulls if declared.nulls is None else declared.nulls
    if "blanks" in (declared.normalise or ()):
        markers = ("", *markers)  # of nothing but blanks nothing is left
    if not is_text(arrived):
        return cell
    bare = cell if declared.unit is None else without_unit(cell, declared.unit)
    if not markers:
        return bare
    return f"case when {_trimmed(cell)} not in ({', '.join(map(literal, markers))}) then {bare} end"


def without_unit(cell: str, unit: str) -> str:
    """SQL: a text without the unit that stands before or after its number; any other text as it is."""
    blank = f"[{SPACES}\t]*"
    before = rf"^{blank}([+-]?){blank}{re.escape(unit)}{blank}(.*\d.*)$"
    after = rf"^(.*\d.*?){blank}{re.escape(unit)}{blank}$"
    return rf"regexp_replace({cell}, {literal(f'{before}|{after}')}, '\1\2\3')"


def _plain(given: str, source: Source, declared: Column, arrived: pa.DataType) -> str:
    """The cell as one of the declared type is written where nothing is declared of it; null where it is none."""
    match declared.type:
        case "int" | "float" if is_text(arrived) and (source.decimal != "." or source.thousands is not None):
            return _number(given, source)
        case "timestamp" | "date" if not pa.types.is_temporal(arrived):
            return _time(given, declared, arrived)
        case "timestamp" if pa.types.is_timestamp(arrived) and arrived.tz is None and declared.zone != "UTC":
            return f"timezone({literal(declared.zone)}, {given})"
        case "string":
            return _formed(given if is_text(arrived) else _text(given, arrived), declared)
    return given


def _trimmed(text: str) -> str:
    return f"trim({text}, {literal(BLANKS)})"


def _number(given: str, source: Source) -> str:
    decimal = "[.]" if source.decimal == "." else ","
    sign = {" ": f"[{SPACES}]", ".": "[.]"}.get(source.thousands or "", source.thousands)
    groups = r"\d+" if sign is None else rf"\d{{1,3}}(?:{sign}\d{{3}})+"
    text = _trimmed(given)
    written = text if sign is None else f"regexp_replace({text}, {literal(sign)}, '', 'g')"
    whole = _NUMBER.format(groups=groups, decimal=decimal)
    return (
        f"case when regexp_full_match({text}, {literal(whole)})"
        f" then replace({written}, {literal(source.decimal)}, '.') end"
    )


def _time(given: str, declared: Column, arrived: pa.DataType) -> str:
    text = _trimmed(given if is_text(arrived) else _text(given, arrived))
    if declared.format:
        return f"coalesce({', '.join(_by_format(given, text, each, declared) for each in declared.format)})"
    if declared.zone == "UTC" or declared.type == "date":
        return given
    local = f"timezone({literal(declared.zone)}, try_cast({text} as timestamp))"
    return (
        f"case when regexp_full_match({text}, {literal(_STATED)}) then try_cast({text} as timestamptz) else {local} end"
    )


def _by_format(given: str, text: str, each: str, declared: Column) -> str:
    if each in EPOCHS:
        moment = f"try_cast({given} as double) * {EPOCHS[each]}"
        return (
            f"case when {moment} between {_EARLIEST} and {_LATEST} then make_timestamptz(cast({moment} as bigint)) end"
        )
    time = f"try_strptime({text}, {literal(each)})"
    return time if states_offset(each) else f"timezone({literal(declared.zone)}, {time})"


def _text(given: str, arrived: pa.DataType) -> str:
    """A value that is no text, as one; a number that is whole without a point, as a table without a gap has it."""
    text = f"try_cast({given} as varchar)"
    if not pa.types.is_floating(arrived):
        return text
    whole = f"{given} = trunc({given}) and abs({given}) < {_EXACT}"
    return f"case when {whole} then cast(cast({given} as bigint) as varchar) else {text} end"


def _formed(text: str, declared: Column) -> str:
    forms = declared.normalise or ()
    if "blanks" in forms:
        text = _trimmed(text)
    if "unicode" in forms:
        text = f"nfc_normalize({text})"
    if "whole" in forms:
        whole = rf"regexp_replace({text}, '^([+-]?\d+)\.0+$', '\1')"
        text = f"case when not regexp_full_match({text}, {literal(FRACTION)}) then {whole} end"
    return text


def shows_commas(name: str, declared: Column) -> str:
    """SQL, over all cells of a column of text: whether one is a number with a decimal comma, and nothing else."""
    cell = quoted(name) if declared.unit is None else without_unit(quoted(name), declared.unit)
    return f"coalesce(bool_or(regexp_full_match({_trimmed(cell)}, {literal(_COMMA)})), false)"


def maybe_commas(cells: pa.Table, source: Source) -> list[str]:
    """The columns whose numbers may have decimal commas: those of text, where nothing is declared of numbers."""
    if source.decimal != "." or source.thousands is not None:
        return []
    return [
        name
        for name, kind in source.types.items()
        if kind in ("int", "float") and is_text(cells.schema.field(name).type)
    ]


def pointed(cells: pa.Table, source: Source) -> Iterator[str]:
    """The columns of text whose every cell is a whole number with `.0`: what pandas makes of integers where one is
    missing."""
    for name, declared in source.columns.items():
        if declared.type == "string" and declared.normalise is None and is_text(cells.schema.field(name).type):
            column = cells[name]
            if _all_pointed(column.slice(0, _SAMPLE)) and _all_pointed(column):
                yield name


def _all_pointed(column: pa.ChunkedArray) -> bool:
    texts = column.cast(pa.string()).drop_null()
    return len(texts) > 0 and bool(pc.all(pc.match_substring_regex(texts, f"^{_POINT_NOUGHT}$")).as_py())
