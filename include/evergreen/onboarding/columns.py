"""Which type the cells of a column have, and what would have to be declared so that they are read as it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import duckdb
import pyarrow as pa

from evergreen.ingest.reading import SPACES, without_unit
from evergreen.onboarding import moments
from evergreen.spec.kinds import KINDS, ColumnType
from evergreen.sql import literal, quoted

# Texts that stand for no value: anywhere, and where all others are numbers or times.
NOTHING = ("NA", "N/A", "#N/A", "NULL", "null", "NaN", "nan", "?")
_NOTHING_BESIDE_NUMBERS = (*NOTHING, "n/a", "na", "None", "none", "-", "--", ".", "missing", "unknown", "nil", "*")
_MANY_NUMBERS = 20  # different ones, beside which a word is no category
_SIGN, _WORD = r"\p{Sc}|%|‰|°[CF]?", r"[a-zA-Zµ²³/]{1,8}"  # of units
_OF_POINTS = ("$", "£", "¥", "₹")  # beside which a comma stands between thousands
_SIGNS = ((",", "."), (",", None), (",", " "), (",", "'"), (".", ","), (".", "'"), (".", " "))  # decimal, thousands


@dataclass(frozen=True)
class Typed:
    """A column's type, and how its cells are written.

    Attributes:
        value: DuckDB: the value of the cell.
        nulls: texts among its cells that stand for no value.
        signs: the decimal sign and that between thousands, where these are not "." and none.
        form: how its times are written, where not as ISO 8601.
        other: how it would be read with day and month in the other order, where nothing in it tells which it is.
        unit: the text beside its numbers.
    """

    kind: ColumnType
    value: str
    nulls: tuple[str, ...] = ()
    signs: tuple[str, str | None] | None = None
    form: str | None = None
    unit: str | None = None
    other: Typed | None = None


def typed(
    connection: duckdb.DuckDBPyConnection,
    cells: pa.Table,
    column: str,
    *,
    moment: bool,
    whole: bool,
    day_first: bool | None = None,
) -> Typed:
    """The type of a column of `cells`, which the connection knows by that name.

    Args:
        moment: it is said to hold times, so numbers of an epoch are some.
        whole: it is said to name something, so `1001.0` is 1001.
        day_first: whether days stand before months, where a person said so.
    """
    stored, name = cells.schema.field(column).type, quoted(column)
    if not (pa.types.is_string(stored) or pa.types.is_large_string(stored) or pa.types.is_dictionary(stored)):
        return _of_arrow(connection, stored, name, moment=moment)
    cell = f"trim(cast({name} as varchar))"
    texts = ", ".join(map(literal, _NOTHING_BESIDE_NUMBERS))
    found = connection.execute(f"select distinct cell from (select {cell} as cell from cells) where cell in ({texts})")
    of_texts = {text for (text,) in found.fetchall()}
    there = [text for text in _NOTHING_BESIDE_NUMBERS if text in of_texts]
    cells_left = _without(cell, there)
    fits = {
        "all": "cell is not null",
        "int": KINDS["int"].fits("cell"),
        "zeros": r"regexp_matches(cell, '^[+-]?0\d')",
        "point": "contains(cell, '.') or contains(lower(cell), 'e')",
        "float": KINDS["float"].fits("cell"),
        "bool": "lower(cell) in ('true', 'false')",
        "iso": rf"regexp_matches(cell, '^\d{{4}}-\d\d-\d\d') and {KINDS['timestamp'].fits('cell')}",
        "days": "length(cell) = 10",
        "digits": r"regexp_matches(cell, '\d')",
    }
    counts = _counts(connection, cells_left, fits)
    some_words = counts["float"] < counts["all"] < 2 * counts["float"]
    if some_words and (words := _beside_numbers(connection, cells_left)):
        there += words
        cells_left = _without(cell, there)
        counts = _counts(connection, cells_left, fits)
    total = counts["all"]
    if total and counts["float"] == total and not counts["zeros"]:
        if moment and (epoch := moments.epoch(connection, cells_left)):
            return Typed("timestamp", moments.of_epoch(cells_left, epoch), tuple(there), form=epoch)
        if moment and (form := moments.form(connection, cells_left, total, day_first)):
            return _of_times(cells_left, form, there)
        kind: ColumnType = "int" if counts["int"] == total and (whole or not counts["point"]) else "float"
        return Typed(kind, KINDS[kind].value(cells_left), tuple(there))
    if total and counts["bool"] == total:
        return Typed("bool", KINDS["bool"].value(cells_left), tuple(there))
    if total and counts["iso"] == total:
        kind = "date" if counts["days"] == total else "timestamp"
        return Typed(kind, f"cast({KINDS[kind].value(cells_left)} as {_sql_type(kind)})", tuple(there))
    numbers = bool(total) and counts["digits"] == total  # else no cell need be looked at for forms of times and numbers
    if numbers and (form := moments.form(connection, cells_left, total, day_first)):
        return _of_times(cells_left, form, there)
    if numbers and not counts["zeros"] and (signs := _signs(connection, cells_left, total)):
        return Typed("float", KINDS["float"].value(_plain(cells_left, signs)), tuple(there), signs=signs)
    if (
        numbers
        and (unit := _unit(connection, cells_left, total))
        and (found := _measured(connection, cells_left, unit))
    ):
        return replace(found, nulls=tuple(there))
    nulls = tuple(text for text in there if text in NOTHING)
    return Typed("string", _without(f"cast({name} as varchar)", nulls), nulls)


def _of_times(cell: str, form: moments.Form, nulls: Sequence[str]) -> Typed:
    """Of a column of times that are written in some form."""
    other = None if form.other is None else _of_times(cell, moments.Form(form.other), nulls)
    kind: ColumnType = "timestamp" if moments.has_hours(form.text) else "date"
    return Typed(kind, moments.value(cell, form.text), tuple(nulls), form=form.text, other=other)


def _of_arrow(connection: duckdb.DuckDBPyConnection, stored: pa.DataType, name: str, *, moment: bool) -> Typed:
    """Of a column that has a type already, as in Parquet."""
    if pa.types.is_timestamp(stored):
        return Typed("timestamp", f"cast({KINDS['timestamp'].value(name)} as timestamp)")
    if pa.types.is_date(stored):
        return Typed("date", KINDS["date"].value(name))
    if pa.types.is_boolean(stored):
        return Typed("bool", name)
    if pa.types.is_integer(stored) or pa.types.is_floating(stored) or pa.types.is_decimal(stored):
        if moment and (epoch := moments.epoch(connection, name)):
            return Typed("timestamp", moments.of_epoch(name, epoch), form=epoch)
        numbers = _counts(connection, KINDS["float"].value(name), {"all": "cell is not null", "whole": "cell % 1 = 0"})
        kind: ColumnType = "int" if numbers["all"] == numbers["whole"] and numbers["all"] else "float"
        return Typed(kind, KINDS[kind].value(name))
    return Typed("string", f"cast({name} as varchar)")


def _counts(connection: duckdb.DuckDBPyConnection, cell: str, fits: Mapping[str, str]) -> dict[str, int]:
    """How many cells meet each condition."""
    counted = ", ".join(f"count(*) filter (where {condition})" for condition in fits.values())
    row = connection.execute(f"select {counted} from (select {cell} as cell from cells)").fetchone()
    assert row is not None
    return dict(zip(fits, row, strict=True))


def _beside_numbers(connection: duckdb.DuckDBPyConnection, cell: str) -> list[str]:
    """Words among many different numbers: whatever they are, they stand for none."""
    fits = KINDS["float"].fits("cell")
    numbers, different, others = connection.execute(
        f"select count(*) filter (where {fits}), count(distinct cell) filter (where {fits}), count(*) from"
        f" (select {cell} as cell from cells) where cell is not null"
    ).fetchall()[0]
    if different < _MANY_NUMBERS or not numbers < others < 2 * numbers:
        return []
    words = connection.execute(
        f"select distinct cell from (select {cell} as cell from cells) where cell is not null and not ({fits}) limit 4"
    ).fetchall()
    few = len(words) <= 3 and not any(any(one.isdigit() for one in word) for (word,) in words)
    return sorted(word for (word,) in words) if few else []


def _without(cell: str, nulls: Collection[str]) -> str:
    """A cell, null where it is empty or stands for no value."""
    texts = ", ".join(literal(text) for text in ("", *nulls))
    return f"case when trim({cell}) not in ({texts}) then {cell} end"


def _sql_type(kind: ColumnType) -> str:
    return "timestamp" if kind == "timestamp" else "date"


def _signs(
    connection: duckdb.DuckDBPyConnection, cell: str, total: int, unit: str | None = None
) -> tuple[str, str | None] | None:
    """The decimal sign and that between thousands by which all cells are numbers: the first that fits, but that $1,234
    is more than a thousand."""
    for decimal, thousands in sorted(_SIGNS, key=lambda signs: unit in _OF_POINTS and signs != (".", ",")):
        groups = rf"\d{{1,3}}([{_between(thousands)}]\d{{3}})+|\d+" if thousands else r"\d+"
        shape = rf"^[+-]?({groups})([{decimal}]\d+)?$".replace("'", "''")
        if _counts(connection, cell, {"fits": f"regexp_matches(cell, '{shape}')"})["fits"] == total:
            return decimal, thousands
    return None


def _unit(connection: duckdb.DuckDBPyConnection, cell: str, total: int) -> str | None:
    """The text that stands beside the number of every cell: a sign before or after it, or a short word after it and a
    blank. (`Gate 12` is no number, and `A12` a name.)"""
    blank = f"[{SPACES}]"
    number = rf"[+-]?\d[\d.,'{SPACES}]*"
    before, after, word = rf"^[+-]?({_SIGN}){blank}*{number}$", rf"^{number}({_SIGN})$", rf"^{number}{blank}({_WORD})$"
    each = (f"nullif(regexp_extract(cell, {literal(pattern)}, 1), '')" for pattern in (before, after, word))
    found = f"coalesce({', '.join(each)}, '')"
    units = connection.execute(
        f"select {found}, count(*) from (select {cell} as cell from cells) where cell is not null group by 1"
    ).fetchmany(3)
    bare = r"regexp_matches(cell, '^[+-]?[\d.,]+$')"  # of some the unit may be left out
    said = {str(unit): int(count) for unit, count in units if unit}
    if len(said) != 1:
        return None
    ((unit, count),) = said.items()
    return unit if count + _counts(connection, cell, {"bare": bare})["bare"] == total else None


def _measured(connection: duckdb.DuckDBPyConnection, cell: str, unit: str) -> Typed | None:
    """The type of numbers with a unit, which every cell that is not null has to be."""
    bare = f"trim({without_unit(cell, unit)})"
    fits = {"all": "cell is not null", "int": KINDS["int"].fits("cell"), "float": KINDS["float"].fits("cell")}
    counts = _counts(connection, bare, fits | {"point": "contains(cell, '.')"})
    if counts["float"] == counts["all"]:
        kind: ColumnType = "int" if counts["int"] == counts["all"] and not counts["point"] else "float"
        return Typed(kind, KINDS[kind].value(bare), unit=unit)
    if signs := _signs(connection, bare, counts["all"], unit):
        return Typed("float", KINDS["float"].value(_plain(bare, signs)), signs=signs, unit=unit)
    return None


def _between(thousands: str) -> str:
    """The signs that stand for the one between thousands."""
    return SPACES if thousands == " " else thousands


def _plain(cell: str, signs: tuple[str, str | None]) -> str:
    decimal, thousands = signs
    if thousands is not None:
        cell = f"regexp_replace({cell}, {literal(f'[{_between(thousands)}]')}, '', 'g')"
    return cell if decimal == "." else f"replace({cell}, '{decimal}', '.')"
