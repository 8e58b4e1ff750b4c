"""The label that a user asks for: a column, an expression of a row, or one of the rows that a key has next."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import duckdb

from evergreen.calendar import Length
from evergreen.errors import PermanentError
from evergreen.onboarding import naming, rules
from evergreen.onboarding.rules import Label, Profile
from evergreen.quoting import listed, shown
from evergreen.spec.mistakes import nearest
from evergreen.spec.problem import MOST_CLASSES

_OF_NONE = {"sum": "0", "bool_or": "false"}  # aggregate → what it comes to where there is no row, which SQL calls null
_YES = {
    "yes",
    "true",
    "1",
    "y",
    "t",
    "positive",
    "churned",
    "won",
    "fraud",
    "late",
    "default",
    "bad",
    "up",
    "ja",
    "oui",
}


class LabelUnclear(PermanentError):
    """The label, or a column that was named, cannot be made of the file."""


@dataclass(frozen=True)
class Choices:
    """What only the user knows; columns by the file's names."""

    label: str
    time: str | None = None
    key: str | None = None
    label_time: str | None = None
    every: Length | None = None
    look_back: bool = True  # whether features of the past are proposed
    timeless: bool = False  # no column says when a row happened, or none that matters
    day_first: bool | None = None  # in dates of numbers alone; None: as the sample tells


def unclear(sample: str, found: str, names: Mapping[str, str], next_step: str) -> LabelUnclear:
    """The error that says what of the command does not fit the file or table of that name."""
    return LabelUnclear(
        f"making a model of {shown(sample)}",
        found=found,
        expected=f"columns that it has: {listed(list(names), 30)}",
        next_step=next_step,
    )


def label(
    connection: duckdb.DuckDBPyConnection, measured: Profile, choices: Choices, names: Mapping[str, str]
) -> Label:
    """What is to be predicted, as it was asked for; the connection has the sample's `rows`."""
    stated = choices.label
    column = naming.stated_column(stated, names)
    sql = names[column] if column else naming.renamed(stated, names)
    reads = tuple(dict.fromkeys(word for word in naming.words(sql) if word in names.values()))
    aggregate = column is None and _aggregates(connection, sql)
    called = naming.name_of(f"next {stated}" if aggregate else stated, "outcome")
    if not reads and not aggregate:
        raise unclear(
            measured.file, f"no column {shown(stated)}", names, f"--label: {nearest(stated, names, 'name one')}"
        )
    name = called if column or called not in names.values() else f"the_{called}"[:40]
    base = Label(name, stated, sql, reads, aggregate, "numeric")
    if aggregate:
        return _of_future(connection, measured, choices, base, names)
    try:
        connection.execute(f"create temp table labels as select ({sql}) as v from rows")
    except duckdb.Error as error:
        raise unclear(
            measured.file, f"--label {shown(stated)}: {str(error).splitlines()[0]}", names, "correct it"
        ) from error
    kind = str(connection.table("labels").types[0])
    different = [
        value for (value,) in connection.execute("select distinct v from labels where v is not null").fetchmany(300)
    ]
    missing = int(connection.execute("select count(*) - count(v) from labels").fetchall()[0][0])
    text = kind == "VARCHAR"
    if len(different) < 2:
        raise unclear(
            measured.file, f"--label {shown(stated)} has one value: {listed(different)}", names, "name another"
        )
    if kind == "BOOLEAN":
        base = replace(base, type="binary")
    elif len(different) == 2:
        base = replace(base, type="binary", sql=_is_positive(connection, sql, different))
    elif text and len(different) > MOST_CLASSES:
        problem = f"--label {shown(stated)} has more than {MOST_CLASSES} different texts: {listed(different)}"
        raise unclear(
            measured.file, problem, names, "name one with fewer, or an expression: --label \"column = 'value'\""
        )
    elif text:
        base = _of_classes(base, sorted(different))
    elif kind in ("DATE", "TIMESTAMP"):
        raise unclear(measured.file, f"--label {shown(stated)} is a time", names, "say what of it is the outcome")
    base = replace(base, missing=missing, different=len(different), is_column=column is not None)
    return _distributed(connection, base, f"select {base.sql} as v from rows")


def _aggregates(connection: duckdb.DuckDBPyConnection, sql: str) -> bool:
    """Whether an expression is of many rows."""
    known = connection.execute(
        "select distinct function_name from duckdb_functions() where function_type = 'aggregate'"
    )
    names = {name for (name,) in known.fetchall()}
    compact = sql.lower().replace(" ", "")
    return any(f"{word}(" in compact for word in naming.words(sql) if word in names)


def _of_nothing(connection: duckdb.DuckDBPyConnection, sql: str) -> str | None:
    """What an expression of many rows comes to where there is none, as SQL; None: it has no value, as an average."""
    for name, none in _OF_NONE.items():
        connection.execute(f"create or replace temp macro {name}_of_none(each) as coalesce({name}(each), {none})")
    added = re.sub(rf'(?<![\w".])({"|".join(_OF_NONE)})\s*\(', r"\1_of_none(", sql, flags=re.IGNORECASE)
    for each in (added, sql):  # a macro takes no DISTINCT and no FILTER
        try:
            ((value,),) = connection.execute(f"select {each} from rows where false").fetchall()
        except duckdb.Error:
            continue
        if value is not None and value == value:
            return str(value).lower()
    return None


def _is_positive(connection: duckdb.DuckDBPyConnection, sql: str, different: Sequence[object]) -> str:
    """Which of two values is what is predicted: one that says yes, the greater number, or the rarer text."""
    ordered = sorted(different, key=str)
    said = [value for value in ordered if str(value).strip().lower() in _YES]
    if isinstance(different[0], int | float):
        return f"{sql} = {max(float(value) for value in different):g}"  # type: ignore[arg-type]  # numbers, as looked at
    if len(said) == 1:
        value = said[0]
    else:
        rarer = connection.execute("select v from labels where v is not null group by v order by count(*), v limit 1")
        value = rarer.fetchall()[0][0]
    text = str(value).replace("'", "''")
    return f"{sql} = '{text}'"


def _of_classes(base: Label, texts: Sequence[str]) -> Label:
    names: dict[str, str] = {}
    for text in texts:
        plain = "".join(one if one.isalnum() or one in "_ .+/-" else "_" for one in text)[:36].strip(" .+/-") or "class"
        while plain in names.values():
            plain += "_"
        names[text] = plain
    sql = base.sql
    if any(text != name for text, name in names.items()):
        cases = " ".join("WHEN '{}' THEN '{}'".format(text.replace("'", "''"), name) for text, name in names.items())
        sql = f"CASE {sql} {cases} END"
    return replace(base, type="multiclass", sql=sql, classes=tuple(names.values()))


def _of_future(
    connection: duckdb.DuckDBPyConnection,
    measured: Profile,
    choices: Choices,
    base: Label,
    names: Mapping[str, str],
) -> Label:
    """A label of the rows that a key has in the next interval."""
    if measured.key is None or measured.time is None:
        lacks = "--key COLUMN" if measured.key is None else "--time COLUMN"
        missing = "whose" if measured.key is None else "when"
        problem = f"--label {shown(base.stated)} is of many rows, and nothing says {missing}"
        raise unclear(measured.file, problem, names, f"name whose rows they are, and when they happened: {lacks}")
    every = rules.rhythm_of(measured, choices.every)
    if every is None:
        raise unclear(measured.file, "rows of too few hours", names, "name a file that spans twelve intervals or more")
    key, time = measured.key, measured.time
    try:
        connection.execute(
            f"create temp table of_each as select {key} as key, date_trunc('{every}', {time}) as starts,"
            f" {base.sql} as v from rows where {key} is not null and {time} is not null group by 1, 2"
        )
    except duckdb.Error as error:
        raise unclear(
            measured.file, f"--label {shown(base.stated)}: {str(error).splitlines()[0]}", names, "correct it"
        ) from error
    kind = str(connection.table("of_each").types[2])
    base = replace(base, type="binary" if kind == "BOOLEAN" else "numeric", nothing=_of_nothing(connection, base.sql))
    following = (
        f"select coalesce(later.v, {base.nothing or 'null'}) as v from of_each left join of_each as later"
        f" on later.key = of_each.key and later.starts = of_each.starts + interval 1 {every}"
    )
    return _distributed(connection, base, following)


def _distributed(connection: duckdb.DuckDBPyConnection, base: Label, values: str) -> Label:
    """The label with what bounds are made of."""
    if base.type == "numeric":
        mean, deviation = connection.execute(f"select avg(v), stddev_pop(v) from ({values})").fetchall()[0]
        distance = connection.execute(f"select avg(abs(v - {float(mean)})) from ({values})").fetchall()[0][0]
        return replace(base, deviation=float(deviation), distance=float(distance))
    counted = f"select v, count(*) from ({values}) where v is not null group by v order by 2, 1"
    rows = [(str(value), count) for value, count in connection.execute(counted).fetchall()]
    shares = [count / sum(count for _, count in rows) for _, count in rows]
    entropy = -sum(share * math.log(share) for share in shares)
    return replace(
        base, rarest=shares[0] if len(shares) > 1 else 0.0, rarest_class=rows[0][0] if rows else "", entropy=entropy
    )
