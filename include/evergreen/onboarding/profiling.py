"""What a sample holds, measured with DuckDB: types, times, what names a row, the label, what tells it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import get_args

import duckdb
import pandas as pd

from evergreen.calendar import Length
from evergreen.ingest.reading import FRACTION
from evergreen.onboarding import columns as cells_of
from evergreen.onboarding import leaks, moments, naming, outcome, rules
from evergreen.onboarding.columns import NOTHING, Typed
from evergreen.onboarding.outcome import Choices, unclear
from evergreen.onboarding.reading import Cells
from evergreen.onboarding.rules import Column, Label, Profile, Rhythm
from evergreen.quoting import shown
from evergreen.spec.mistakes import nearest
from evergreen.sql import literal

_FEW = 200  # different texts that are kept
_EVERY_ROW = 0.95  # share of the rows that have a time, for it to be theirs
_NESTED = r"(?s)\s*[{\[].*[}\]]\s*"
_QUANTILES = (0.5, 0.9, 0.99, 1.0)


def profile(cells: Cells, choices: Choices) -> Profile:
    """Measure a sample.

    Raises:
        LabelUnclear: the label, or a column that was named, is not in it.
    """
    names = naming.names_of(cells.table.column_names)
    time, key, label_time = (
        _chosen(cells.name, option, stated, names)
        for option, stated in (
            ("--time", choices.time),
            ("--key", choices.key),
            ("--label-time", choices.label_time),
        )
    )
    with duckdb.connect(config={"threads": 2, "enable_external_access": False}) as connection:
        connection.execute("set timezone = 'UTC'")
        table = cells.table.rename_columns(list(names.values()))
        connection.register("arrived", table)
        connection.execute("create temp table cells as select * from arrived")  # of many columns each look is quick
        typed = {
            raw: cells_of.typed(
                connection,
                table,
                name,
                moment=name in (time, label_time),
                whole=name == key,
                day_first=choices.day_first,
            )
            for raw, name in names.items()
        }
        typed = _decided(connection, cells.name, typed, names)
        if not choices.timeless:
            time = time or _time(connection, typed, names, but=label_time)
        _moments(connection, cells.name, typed, names, {"--time": time, "--label-time": label_time})
        values = ", ".join(f"{each.value} as {names[raw]}" for raw, each in typed.items())
        connection.execute(f"create temp table rows as select {values} from cells")
        if time is not None:
            connection.execute(f"alter table rows alter {time} type timestamp")
        columns = {names[raw]: _column(connection, names[raw], raw, each) for raw, each in typed.items()}
        declared = _declared(cells.declared, typed)
        return _measured(connection, cells, choices, columns, declared, time, key, label_time)


def _measured(
    connection: duckdb.DuckDBPyConnection,
    cells: Cells,
    choices: Choices,
    columns: Mapping[str, Column],
    declared: Mapping[str, object],
    time: str | None,
    key: str | None,
    label_time: str | None,
) -> Profile:
    rows = next(iter(columns.values())).rows
    first, last = _one(connection, f"min({time}), max({time})") if time else (None, None)
    key = key or _key(columns, rows, time, choices)
    identity, distinct = _identity(connection, columns, rows, [each for each in (key, time) if each])
    measured = Profile(
        table=_table(cells.name),
        file=cells.name,
        declared=declared,
        rows=rows,
        columns=tuple(columns.values()),
        label=Label("label", choices.label, "", (), False, "numeric"),
        time=time,
        first=first,
        last=last,
        rhythms=_rhythms(connection, time, key) if time and first else {},
        key=key,
        key_repeats=key is not None and columns[key].distinct < rows - columns[key].nulls,
        identity=identity,
        repeated=rows - distinct,
        known_later={},
        relation=cells.relation,
    )
    label = outcome.label(connection, measured, choices, {each.raw: each.name for each in columns.values()})
    if label_time is not None and time is not None:
        hours = f"date_diff('minute', {time}, {label_time}) / 60.0"
        of_each = ", ".join(f"quantile_cont({hours}, {quantile})" for quantile in _QUANTILES)
        delays = _one(connection, of_each)
        hours_of = dict(zip(_QUANTILES, (max(0.0, each or 0.0) for each in delays), strict=True))
        label = replace(label, delays=hours_of, known_by=label_time)
    measured = replace(measured, label=label)
    if label.aggregate:
        return measured
    if rules.rhythm_of(measured, choices.every) is None:
        measured = replace(measured, time=None, undivided=time)
    told = list(_known_later(connection, measured, label_time))
    later = {name: why for name, why, sure in told if sure}
    return replace(measured, known_later=later, suspected={name: why for name, why, sure in told if not sure})


def _chosen(sample: str, option: str, stated: str | None, names: Mapping[str, str]) -> str | None:
    """Our name of a column that an option names as the sample does, or as we do."""
    if stated is None:
        return None
    raw = naming.stated_column(stated, names)
    if raw is None:
        raise unclear(
            sample, f"no column {shown(stated)}", names, f"{option} COLUMN: {nearest(stated, names, 'name one')}"
        )
    return names[raw]


def _time(
    connection: duckdb.DuckDBPyConnection, typed: Mapping[str, Typed], names: Mapping[str, str], but: str | None
) -> str | None:
    """The column that says when a row happened: the first of moments, or else of days, that nearly every row has."""
    for kind in ("timestamp", "date"):
        for raw, each in typed.items():
            if each.kind == kind and names[raw] != but and not naming.named_as_birth(names[raw]):
                (there,) = _of(connection, "cells", f"avg(cast(({each.value}) is not null as integer))")
                if there >= _EVERY_ROW:
                    return names[raw]
    return None


def _moments(
    connection: duckdb.DuckDBPyConnection,
    sample: str,
    typed: Mapping[str, Typed],
    names: Mapping[str, str],
    wanted: Mapping[str, str | None],
) -> None:
    by_name = {names[raw]: each for raw, each in typed.items()}
    for option, name in wanted.items():
        if name is not None and by_name[name].kind not in ("timestamp", "date"):
            (cell,) = _of(connection, "cells", f"max({name})")
            problem = f"{name} holds no times that are understood, such as {shown(str(cell))}"
            known = (
                "2026-01-31, 31.01.2026, 01/31/2026, Jan 31 2026, 20260131, each also with a time of day, or an epoch"
            )
            raise unclear(sample, problem, names, f"name a column of times ({known}): {option} COLUMN")


def _decided(
    connection: duckdb.DuckDBPyConnection, sample: str, typed: Mapping[str, Typed], names: Mapping[str, str]
) -> dict[str, Typed]:
    """The columns, where a day and a month that nothing in theirs tells apart stand as in the file's other columns.

    Raises:
        LabelUnclear: no other column tells it.
    """
    told = {first for each in typed.values() if not each.other and (first := moments.day_first(each.form)) is not None}
    decided = dict(typed)
    for raw, each in typed.items():
        if each.other is None:
            continue
        if len(told) != 1:
            (cell,) = _of(connection, "cells", f"any_value({names[raw]}) filter ({each.value} <> {each.other.value})")
            one, other = _of(
                connection, f"(select {literal(cell)} as {names[raw]})", f"{each.value}, {each.other.value}"
            )
            raise unclear(
                sample,
                f"{shown(raw)} has days and months that nothing tells apart: {shown(cell)} may be"
                f" {one:%Y-%m-%d} or {other:%Y-%m-%d}",
                names,
                "say which stands first: --dates day-first, or --dates month-first",
            )
        decided[raw] = each if moments.day_first(each.form) in told else each.other
    return decided


def _column(connection: duckdb.DuckDBPyConnection, name: str, raw: str, typed: Typed) -> Column:
    rows, there, distinct = _one(connection, f"count(*), count({name}), count(distinct {name})")
    low = high = newest = None
    if typed.kind in ("int", "float"):
        low, high = _one(connection, f"min({name})::double, max({name})::double")
    elif typed.kind in ("timestamp", "date"):
        (newest,) = _one(connection, f"max({name})::timestamp")
    values: tuple[str, ...] = ()
    fractions = nested = False
    if typed.kind == "string":
        looks = f"bool_or(regexp_full_match({name}, '{FRACTION}')), bool_and(regexp_full_match({name}, '{_NESTED}'))"
        fractions, nested = map(bool, _one(connection, looks))
    if typed.kind == "string" and distinct <= _FEW:
        counted = connection.execute(
            f"select {name} from rows where {name} is not null group by 1 order by count(*) desc, 1"
        )
        values = tuple(value for (value,) in counted.fetchall())
    return Column(
        name,
        raw,
        typed.kind,
        rows,
        rows - there,
        distinct,
        values,
        low,
        high,
        newest,
        typed.form,
        typed.nulls,
        typed.unit,
        fractions,
        nested,
    )


def _declared(declared: Mapping[str, object], typed: Mapping[str, Typed]) -> dict[str, object]:
    """The keys of the source, with those that its cells ask for."""
    keys = dict(declared)
    if nulls := sorted({text for each in typed.values() for text in each.nulls if text in NOTHING}):
        keys["nulls"] = nulls
    if signs := next((each.signs for each in typed.values() if each.signs), None):
        keys |= {} if signs[0] == "." else {"decimal": signs[0]}
        keys |= {} if signs[1] is None else {"thousands": signs[1]}
    return keys


def _key(columns: Mapping[str, Column], rows: int, time: str | None, choices: Choices) -> str | None:
    """A column that names the rows: it has a value of its own in each, and the name or the form of one that does."""
    for column in columns.values():
        if column.distinct != rows or column.name == time or column.raw == choices.label:
            continue
        named = naming.named_as_key(column.name)
        if column.kind == "string" or (column.kind == "int" and named):
            return column.name
    return None


def _identity(
    connection: duckdb.DuckDBPyConnection, columns: Mapping[str, Column], rows: int, first: Sequence[str]
) -> tuple[tuple[str, ...], int]:
    """Columns that together tell the rows apart as well as all do, and how many different rows there are."""
    for name in first:
        if columns[name].distinct == rows:
            return (name,), rows

    def different(names: Sequence[str]) -> int:
        return int(
            connection.execute(f"select count(*) from (select distinct {', '.join(names)} from rows)").fetchall()[0][0]
        )

    most = different(list(columns))
    stated = list(dict.fromkeys(first))
    ordered = [*stated, *sorted((name for name in columns if name not in stated), key=lambda n: -columns[n].distinct)]
    least = width = max(1, len(stated))
    while different(ordered[:width]) < most:  # of many columns few are asked
        width = min(2 * width, len(ordered))
    widths = range(least, width)
    chosen = ordered[: least + bisect_left(widths, most, key=lambda count: different(ordered[:count]))]
    return tuple(chosen), most


def _rhythms(connection: duckdb.DuckDBPyConnection, time: str, key: str | None) -> dict[Length, Rhythm]:
    rhythms: dict[Length, Rhythm] = {}
    keys = "0" if key is None else f"count(distinct {key})"
    for every in get_args(Length):
        spanned, filled, middle, most, of_keys = connection.execute(
            f"select date_diff('{every}', min(starts), max(starts)) + 1, count(*), median(n), max(n), median(k) from"
            f" (select date_trunc('{every}', {time}) as starts, count(*) as n, {keys} as k from rows"
            f" where {time} is not null group by 1)"
        ).fetchall()[0]
        rhythms[every] = Rhythm(int(spanned), int(filled), float(middle), int(most), float(of_keys))
    return rhythms


def _table(sample: str) -> str:
    stem = sample.split(".")[0]
    name = naming.name_of(stem, "rows")
    return f"{name}_rows" if len(name) < 3 else name


def _known_later(
    connection: duckdb.DuckDBPyConnection, measured: Profile, label_time: str | None
) -> Iterator[tuple[str, str, bool]]:
    """Columns that tell the outcome, each with the reason, and whether it is sure."""
    label, time, key = measured.label, measured.time, measured.key
    others = {
        column.name: column
        for column in measured.columns
        if column.name not in (time, key, label_time, *label.columns) and not column.is_empty
    }
    for name in label.columns:
        if name != time:
            yield name, "the label is made of it", True
    if label_time is not None and label_time not in label.columns:
        yield label_time, "it says when the outcome was known", True
    seen = set()
    for name, why in leaks.by_name(label, others):
        seen.add(name)
        yield name, why, True
    for name, column in others.items():
        if time is not None and column.is_time and name not in seen:
            later = _one(connection, f"avg(cast({name} > {time} as integer)) filter ({name} is not null)")[0]
            if later is not None and later > 0.5:
                seen.add(name)
                yield name, "it lies after the row's own time", True
    open_to_doubt = [name for name in others if name not in seen]
    if not open_to_doubt:
        return
    frame = connection.execute(f'select {", ".join(open_to_doubt)}, {label.sql} as "the label" from rows').df()
    value = frame.pop("the label")  # no column has such a name
    for name, why in leaks.by_absence(value, frame):
        seen.add(name)
        yield name, why, True
    there = value.notna()
    frame, value = frame[there].reset_index(drop=True), value[there].reset_index(drop=True)
    coded = pd.Series(pd.factorize(value)[0]) if label.type == "multiclass" else value.astype("float64")
    told = [name for name in frame if name not in seen and (time is None or not others[name].is_time)]
    frame = frame[told]
    for name in told:
        if others[name].is_time:  # an input of a file without time, as the number that it then is
            frame[name] = (frame[name] - pd.Timestamp(0)) / pd.Timedelta(days=1)
    yield from leaks.by_value(frame, coded, label.type)


def _one(connection: duckdb.DuckDBPyConnection, values: str) -> tuple:
    return _of(connection, "rows", values)


def _of(connection: duckdb.DuckDBPyConnection, table: str, values: str) -> tuple:
    row = connection.execute(f"select {values} from {table}").fetchone()
    assert row is not None
    return tuple(row)
