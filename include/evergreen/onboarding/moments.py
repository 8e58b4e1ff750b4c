"""How the times of a column are written: one form that fits each of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

import duckdb

# A day and a month of one file may be told apart by their numbers alone.
_DAY_FIRST = ("%d/%m/%Y", "%d-%m-%Y", "%d/%m/%y", "%d-%m-%y")
_MONTH_FIRST = ("%m/%d/%Y", "%m-%d-%Y", "%m/%d/%y", "%m-%d-%y")
_DAYS = (
    *("%d.%m.%Y", "%d.%m.%y", *_MONTH_FIRST, *_DAY_FIRST, "%Y/%m/%d", "%Y.%m.%d", "%Y-%m-%d"),
    *("%d-%b-%Y", "%d-%b-%y", "%d %b %Y", "%d %b %y", "%b %d, %Y", "%b %d %Y", "%d %B %Y", "%B %d, %Y", "%B %d %Y"),
    *("%a, %d %b %Y", "%a %b %d %Y", "%A, %B %d, %Y", "%d%b%Y", "%Y%m%d"),
)
_TIMES = (
    *("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", ", %H:%M", ", %H:%M:%S", "T%H:%M", "T%H:%M:%S"),
    *(" %I:%M %p", " %I:%M:%S %p", " %I:%M%p", " %I:%M:%S%p", ", %I:%M %p", ", %I:%M:%S %p"),
)
_FORMS = (*(f"{day}{time}" for day in _DAYS for time in _TIMES), "%d/%b/%Y:%H:%M:%S %z", "%Y%m%d%H%M", "%Y%m%d%H%M%S")
_DIRECTIVE = re.compile("%([a-zA-Z])")
_SHAPES = {
    **dict.fromkeys("dmHIMS", r"\d{1,2}"),
    "Y": r"[12]\d{3}",
    "y": r"\d{2}",
    "f": r"\d{1,9}",
    "p": "[AaPp][Mm]",
    "z": r"[+-]\d{2}:?\d{2}",
    **dict.fromkeys("ab", "[A-Za-z]{3}"),
    **dict.fromkeys("AB", "[A-Za-z]{3,9}"),
}
_EPOCHS = {"epoch_s": 1, "epoch_ms": 1_000, "epoch_us": 1_000_000}
_SINCE, _UNTIL = 315_532_800, 4_102_444_800  # 1980 to 2100: what an epoch is taken to mean


@dataclass(frozen=True)
class Form:
    """How times are written.

    Attributes:
        other: the same with day and month in the other order, where nothing in the column tells which it is.
    """

    text: str
    other: str | None = None


def has_hours(form: str) -> bool:
    """Whether a form has a time of day."""
    return "%H" in form or "%I" in form


def value(cell: str, form: str) -> str:
    """DuckDB: the time that a cell holds."""
    return f"cast(try_strptime({cell}, '{form}') as {'timestamp' if has_hours(form) else 'date'})"


def day_first(form: str | None) -> bool | None:
    """Whether a form has the day before the month; None: its words or signs tell."""
    if form is None:
        return None
    return True if form.startswith(_DAY_FIRST) else False if form.startswith(_MONTH_FIRST) else None


def form(connection: duckdb.DuckDBPyConnection, cell: str, total: int, stated: bool | None) -> Form | None:
    """How all times are written, if they are.

    Args:
        cell: SQL over `cells`, of which `total` are not null.
        stated: whether the day comes first, where a person said so.
    """
    some = connection.execute(f"select cell from (select {cell} as cell from cells) where cell is not null limit 50")
    likely = [(each, shape) for each, shape in zip(_FORMS, _shapes(), strict=True)]
    for (text,) in some.fetchall():  # of a query with all forms the planning alone would cost
        likely = [(each, shape) for each, shape in likely if shape.fullmatch(text)]
    whole = (each for each, _ in likely if _all(connection, cell, each, total))
    found = next(whole, None)
    if found is None or day_first(found) is None:
        return None if found is None else Form(found)
    other = next((each for each in whole if each == _swapped(found)), None)
    if other is None or _same(connection, cell, found, other):
        return Form(found)
    told = _told(connection, cell, found, other) if stated is None else day_first(found) == stated
    if told is None:
        return Form(found, other)
    return Form(found if told else other)


@cache
def _shapes() -> list[re.Pattern[str]]:
    """What a time of each form looks like: a year of four digits has four."""
    return [re.compile(_DIRECTIVE.sub(lambda found: _SHAPES[found[1]], re.escape(each))) for each in _FORMS]


def _all(connection: duckdb.DuckDBPyConnection, cell: str, form: str, total: int) -> bool:
    return _one(connection, f"count(try_strptime(cell, '{form}'))", cell) == total


def _swapped(form: str) -> str:
    return form.replace("%d", "%-").replace("%m", "%d").replace("%-", "%m")


def _same(connection: duckdb.DuckDBPyConnection, cell: str, one: str, other: str) -> bool:
    """Whether two forms read the same times, as of the first of January alone."""
    return not _one(connection, f"bool_or(try_strptime(cell, '{one}') <> try_strptime(cell, '{other}'))", cell)


def _told(connection: duckdb.DuckDBPyConnection, cell: str, one: str, other: str) -> bool | None:
    """Whether it is the first of two forms: by one of them the rows are in order, or all on the first of a month, and
    by the other they are not. None: nothing tells."""
    for looks in (_in_order, _on_the_first):
        first, second = looks(connection, cell, one), looks(connection, cell, other)
        if first != second:
            return first
    return None


def _in_order(connection: duckdb.DuckDBPyConnection, cell: str, form: str) -> bool:
    moment = f"try_strptime(cell, '{form}')"
    later, earlier = connection.execute(
        f"select bool_and(step >= 0), bool_and(step <= 0) from (select date_diff('second', lag({moment}) over"
        f" (order by place), {moment}) as step from"
        f" (select rowid as place, {cell} as cell from cells) where cell is not null)"
    ).fetchall()[0]
    return bool(later or earlier)


def _on_the_first(connection: duckdb.DuckDBPyConnection, cell: str, form: str) -> bool:
    return bool(_one(connection, f"bool_and(day(try_strptime(cell, '{form}')) = 1)", cell))


def _one(connection: duckdb.DuckDBPyConnection, what: str, cell: str) -> object:
    found = connection.execute(f"select {what} from (select {cell} as cell from cells) where cell is not null")
    return found.fetchall()[0][0]


def epoch(connection: duckdb.DuckDBPyConnection, cell: str) -> str | None:
    """Which epoch numbers count from, if they do."""
    for name, second in _EPOCHS.items():
        within = f"try_cast(cell as double) between {_SINCE * second} and {_UNTIL * second}"
        if _one(connection, f"count(*) > 0 and bool_and(coalesce({within}, false))", cell):
            return name
    return None


def of_epoch(cell: str, epoch: str) -> str:
    """DuckDB: the moment that a number of an epoch is."""
    micro = 1_000_000 // _EPOCHS[epoch]
    return f"make_timestamp(cast(round(try_cast({cell} as double) * {micro}) as bigint))"
