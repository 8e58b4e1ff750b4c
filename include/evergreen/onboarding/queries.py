"""The SQL of a drafted model, as its folder holds it. Pure."""

from __future__ import annotations

from datetime import timedelta
from itertools import groupby

from evergreen.onboarding.rules import HOUR, Draft, Feature, Relation, View
from evergreen.spec.durations import duration_text

AS_OF = "CAST($as_of AS TIMESTAMP)"


def source(draft: Draft, of: Relation) -> str:
    """The query that reads an interval of a database's rows."""
    names = of.names
    columns = ",\n    ".join(names.values())
    time = names[draft.profile.column(draft.time).raw]
    return (
        f"-- The rows of an interval, by {time}.\n"
        f"SELECT\n    {columns}\nFROM {of.sql}\nWHERE {time} >= %(start)s AND {time} < %(end)s\nORDER BY {time}\n"
    )


def view(draft: Draft, of: View) -> str:
    """The query of a view of the past: one step per length of time that it looks back."""
    table, time = draft.profile.table, draft.profile.time
    spans = [
        (back, list(features))
        for back, features in groupby(
            sorted((each for each in of.features if each.back), key=lambda each: each.back or HOUR),
            key=lambda each: each.back or HOUR,
        )
    ]
    steps, longest = [], spans[-1][0]
    for back, features in spans:
        columns = ",\n        ".join(f"{each.sql} AS {each.name}" for each in features)
        named = of.of if of.of == of.key else f"{of.of} AS {of.key}"
        whose = [] if of.of.startswith("'") else [f"{of.of} IS NOT NULL"]
        since = [] if back == longest else [f"{time} >= {AS_OF} - {_interval(back)}"]
        where = f"    WHERE {' AND '.join([*whose, *since])}\n" if [*whose, *since] else ""
        steps.append(
            f"{_step(back)} AS (\n    SELECT\n        {named},\n        {columns}\n    FROM {table}\n{where}"
            "    GROUP BY ALL\n)"
        )
    chosen = ",\n    ".join([f"{_step(longest)}.{of.key}", *map(_chosen, of.features)])
    joins = "".join(f"\nLEFT JOIN {_step(back)} USING ({of.key})" for back, _ in spans[:-1])
    return (
        f"-- What had happened about each {of.key} by the end of an interval. A feature is a line here and one in"
        f" model.yaml.\nWITH {', '.join(steps)}\nSELECT\n    {chosen}\nFROM {_step(longest)}{joins}\n"
    )


def _chosen(feature: Feature) -> str:
    if feature.back is None:
        return f"{feature.sql} AS {feature.name}"
    column = f"{_step(feature.back)}.{feature.name}"
    return column if feature.none is None else f"coalesce({column}, {feature.none}) AS {feature.name}"


def _step(back: timedelta) -> str:
    return f"last_{duration_text(back)}"


def _interval(back: timedelta) -> str:
    return f"INTERVAL {back // HOUR} HOUR"


def label(draft: Draft) -> str:
    """The query of the label."""
    profile, of = draft.profile, draft.profile.label
    value = f"CAST({of.sql} AS DOUBLE)" if of.type == "numeric" else of.sql
    if draft.style == "interval":
        time, key, table = draft.time, draft.key, profile.table
        if of.nothing is None:
            without, chosen = "is left out", f"later.outcome AS {of.name}\nFROM present\nJOIN later USING ({key})"
            chosen += "\nWHERE later.outcome IS NOT NULL"
        else:
            without = f"is {of.nothing}"
            chosen = f"coalesce(later.outcome, {of.nothing}) AS {of.name}\nFROM present\nLEFT JOIN later USING ({key})"
        return (
            f"-- {_about(draft)}\n"
            f"-- Of every {key} with a row in the interval before $cutoff: what the rows of the time until $horizon_end"
            f" come to; one without any {without}.\n"
            f"WITH present AS (SELECT DISTINCT {key} FROM {table} WHERE {key} IS NOT NULL AND {time} < $cutoff),\n"
            f"later AS (\n    SELECT {key}, {value} AS outcome\n    FROM {table}\n"
            f"    WHERE {time} >= $cutoff AND {time} < $horizon_end\n    GROUP BY {key}\n)\n"
            f"SELECT present.{key}, {chosen}\n"
        )
    moment, known = ("", "") if draft.moment is None else (f",\n    {draft.moment}", f" AND {draft.moment} IS NOT NULL")
    return (
        f"-- {_about(draft)}\n"
        f"SELECT\n    {_as(draft.key_sql, draft.key)},\n    {_as(value, of.name)}{moment}\nFROM {profile.table}\n"
        f"WHERE {draft.time} < $cutoff AND ({of.sql}) IS NOT NULL{known}{_once(draft)}\n"
    )


def requests(draft: Draft) -> str:
    """The query that replays requests: of every row, what was known when it happened."""
    profile = draft.profile
    columns = [_as(draft.key_sql, draft.key)]
    for entity, (key, _) in draft.references.items():
        columns.append(_as(next(each.of for each in draft.views if each.entity == entity), key))
    columns.append(f"{profile.time} AS event_timestamp")
    columns += [_as(sql, name) for name, (_, sql) in draft.inputs.items()]
    chosen = ",\n    ".join(columns)
    return (
        "-- Each row is a request at its own moment. What is left out, and why, stands in model.yaml.\n"
        f"SELECT\n    {chosen}\nFROM {profile.table}\n"
        f"WHERE {profile.time} >= $start AND {profile.time} < $end{_once(draft)}\n"
    )


def rows(draft: Draft) -> str:
    """The view of a file without time: its columns."""
    columns = [_as(draft.key_sql, draft.key), *(_as(sql, name) for name, (_, sql) in draft.inputs.items())]
    chosen = ",\n    ".join(columns)
    return (
        "-- The columns of the rows that were dealt out to the day; each row has one.\n"
        f"SELECT\n    {chosen}\nFROM {draft.profile.table}{_once(draft)}\n"
    )


def _once(draft: Draft) -> str:
    """Rows that only columns with missing values tell apart may repeat a key: the first counts."""
    profile = draft.profile
    if draft.key in (profile.key, *draft.identity) or not any(profile.column(name).nulls for name in profile.identity):
        return ""
    return f"\nQUALIFY row_number() OVER (PARTITION BY {draft.key}) = 1"


def _about(draft: Draft) -> str:
    return f"The outcome: {' '.join(draft.profile.label.stated.split())}."


def _as(sql: str, name: str) -> str:
    return sql if sql == name else f"{sql} AS {name}"
