"""Which rows of a source a query sees, and what of them, as conditions and columns in SQL. Pure.

The bounds of what is seen are the parameters $start and $stop; columns have times without a zone, in UTC.
"""

from __future__ import annotations

from datetime import timedelta

from evergreen.spec.columns import KNOWN_AT
from evergreen.spec.dataset import VALID_TO, DatasetSpec, Source
from evergreen.spec.schema import ModelSpec
from evergreen.sql import quoted

_FIRST, _AT = "_first_", "at_"  # before a column's name: its value when it first was known, and when that was


def whole(source: Source, table: str) -> str:
    """The rows of a table for all intervals as a query sees them: whole; of one with validity, those that were true by
    $stop. One that was true then is open: when it will end, nobody knew. In an order of their own."""
    columns = [quoted(column) for column in source.types]
    if source.valid_from is None:
        return f"select {', '.join(columns)} from {table} order by all"
    begins, keys, ends = quoted(source.valid_from), ", ".join(map(quoted, source.keys)), _ends(source)
    if source.valid_to is None:
        table = f"(select *, lead({begins}) over (partition by {keys} order by {begins}) as {ends} from {table})"
    columns = [column for column in columns if column != ends]
    return f"select {', '.join(columns)}, {_open(ends, '$stop')} from {table} where {begins} <= $stop order by all"


def until(spec: ModelSpec | DatasetSpec, source: Source, moment: str) -> tuple[str, str]:
    """The columns and rows of what a query sees that were there at an earlier moment: what follows `select`, and a
    condition."""
    if source.valid_from is not None:
        return f"* replace ({_open(_ends(source), moment)})", f"{quoted(source.valid_from)} <= {moment}"
    return "*", "true" if source.whole else f"{_over(spec, source)} <= {moment}"


def within(spec: ModelSpec | DatasetSpec, source: Source) -> str:
    """The condition that a row lies in a span. A row that is stamped at the start of what it tells of is known when
    that is over: the span has those that end in it, also where they began before."""
    times = quoted(source.moment)
    if not source.covers:
        return f"{times} >= $start and {times} < $stop"
    over = _over(spec, source)
    return f"{over} > $start and {over} <= $stop"


def known(source: Source, column: str, as_decided: bool = False) -> str:
    """A column of the newest rows; an outcome is null as long as it is not known, and so is its moment."""
    own = column if column in source.moments else source.outcome.get(column)
    if own is None or (column == source.event_time and not as_decided):
        return quoted(column)
    if as_decided and isinstance(own, str):
        value = _FIRST + (_AT if column == own else "") + column
        return f"case when {quoted(_FIRST + _AT + own)} <= $stop then {quoted(value)} end as {quoted(column)}"
    return f"case when {is_known(source, column, '$stop')} then {quoted(column)} end as {quoted(column)}"


def decided(source: Source, of_row: str) -> str:
    """Columns for every version of a row: each outcome that has a moment of its own as it was when it first was known,
    and when that was. What a later batch says of it changes nothing, so a label stays what it was."""
    columns = []
    for own in source.moments:
        known = f"case when {quoted(own)} is not null then greatest({_moment(source, own)}, {KNOWN_AT}) end"
        columns.append(f"min({known}) over (partition by {of_row}) as {quoted(_FIRST + _AT + own)}")
        columns += [
            f"first_value({quoted(column)}) over (partition by {of_row} order by {known} nulls last, {KNOWN_AT})"
            f" as {quoted(_FIRST + column)}"
            for column, moment in source.outcome.items()
            if moment == own
        ]
    return "".join(f", {column}" for column in columns)


def is_known(source: Source, column: str, moment: str) -> str:
    """The condition that an outcome, or its moment, is known at a moment."""
    own = column if column in source.moments else source.outcome[column]
    if isinstance(own, str):
        return f"{_moment(source, own)} <= {moment}"
    hours = own // timedelta(hours=1)
    return f"{quoted(source.moment)} + interval {hours} hour <= {moment}"


def _moment(source: Source, column: str) -> str:
    """A column's moment; of a date the end of the day."""
    return f"{quoted(column)} + interval 1 day" if source.types[column] == "date" else quoted(column)


def _ends(source: Source) -> str:
    return quoted(source.valid_to or VALID_TO)


def _open(ends: str, moment: str) -> str:
    return f"case when {ends} <= {moment} then {ends} end as {ends}"


def _over(spec: ModelSpec | DatasetSpec, source: Source) -> str:
    """When what a row tells of is over: so much later than its stamp, as the calendar counts."""
    times = quoted(source.moment)
    if not source.covers:
        return times
    days, rest = divmod(source.covers, timedelta(days=1))
    hours = f"interval {rest // timedelta(hours=1)} hour"
    if spec.calendar.every == "hour" or spec.calendar.zone == "UTC":
        return f"({times} + interval {days * 24} hour + {hours})"
    zone = f"'{spec.calendar.zone}'"
    local = f"(timezone({zone}, timezone('UTC', {times})) + interval {days} day)"
    return f"(timezone('UTC', timezone({zone}, {local})) + {hours})"
