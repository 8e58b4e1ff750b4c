"""From what was measured of a file to all that the folder of its model declares: inputs, and features of the past.

Pure, as the rules are that it asks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Literal

from evergreen.calendar import Calendar, Length
from evergreen.interval import DAY
from evergreen.onboarding import rules
from evergreen.onboarding.naming import named_as_key
from evergreen.onboarding.rules import LOOK_BACKS, Column, Draft, Feature, Label, Profile, Style, View
from evergreen.spec.durations import duration_text
from evergreen.spec.kinds import FeatureType

CATEGORIES = 500  # different texts; a column with more is an id or prose
MOST_REFERENCES, MOST_NUMBERS, MOST_TEXTS = 2, 6, 4  # columns whose past makes features


def draft(model: str, profile: Profile, every: Length | None = None, *, look_back: bool = True) -> Draft:
    """All that the folder of a model says.

    Args:
        look_back: whether features of the past are proposed to a model that is asked on request; one that is predicted
            every interval has no other inputs.
    """
    length = rules.rhythm_of(profile, every)
    label = profile.label
    if label.aggregate:
        assert length is not None and profile.key is not None
        style: Style = "interval"
    else:
        style = "batch" if length is None else "request"
    calendar = Calendar(every=length or "day")
    unit = rules.AHEAD[calendar.every]
    horizon, window, evaluation = rules.stretches(profile, calendar, unit, style)
    left_out = dict(profile.known_later)
    left_out |= {each.name: "no row has a value" for each in profile.columns if each.is_empty}
    inputs = {} if style == "interval" else dict(_inputs(profile, left_out))
    references: dict[str, tuple[str, Literal["string", "int"]]] = {}
    if style == "interval":
        views: tuple[View, ...] = (_past(profile, calendar),)
    elif style == "request":
        views = tuple(_by_reference(profile, calendar, references)) if look_back else ()
        inputs |= _moments(profile, calendar)
    else:
        views = ()
    key, key_sql, key_type = rules.key(profile, style)
    return Draft(
        model=model,
        profile=profile,
        style=style,
        calendar=calendar,
        horizon=horizon,
        window=window,
        evaluation=evaluation,
        first_day=date(2026, 1, 1) if profile.first is None or style == "batch" else profile.first.date(),
        last_day=date(2026, 1, 1) + rules.PARTS * DAY
        if profile.last is None or style == "batch"
        else profile.last.date(),
        per_interval=rules.per_interval(profile, calendar, style),
        key=key,
        key_sql=key_sql,
        key_type=key_type,
        inputs=inputs,
        references=references,
        views=views,
        left_out=left_out,
        metric=rules.metric(label),
        floor=rules.floor(label),
    )


def _inputs(profile: Profile, left_out: dict[str, str]) -> Iterator[tuple[str, tuple[FeatureType, str]]]:
    """What a request says, or a row without time; what it does not is added to `left_out`, with the reason."""
    label, time = profile.label, profile.time
    for column in profile.columns:
        name = column.name
        if name in left_out or name in (time, profile.key, label.name) or name in label.columns:
            continue
        if column.distinct <= 1:
            left_out[name] = "it has one value"
        elif column.kind == "string":
            if column.distinct > CATEGORIES or column.distinct * 4 > column.rows:
                left_out[name] = f"an id or prose: {column.distinct:,} different texts"
            else:
                yield name, ("category", name)
        elif column.is_time:
            yield _ago(column, time)
        elif _names_rows(column):
            left_out[name] = "a number of its own in every row: an id"
        elif column.kind == "bool":
            yield name, ("bool", name)
        else:
            yield name, ("int" if column.kind == "int" else "float", name)


def _ago(column: Column, time: str | None) -> tuple[str, tuple[FeatureType, str]]:
    """A date as an input: as it is it would be a clock, and no later row like those that were learned from."""
    name = f"{column.name}_ago"[:40]
    if time is not None:
        return name, ("float", f"date_diff('hour', {column.name}, {time}) / 24.0")
    newest = column.newest
    assert newest is not None, "a column without any time is none of times"
    if column.kind == "date":
        return name, ("int", f"date_diff('day', {column.name}, DATE '{newest:%Y-%m-%d}')")
    return name, ("float", f"date_diff('hour', {column.name}, TIMESTAMP '{newest:%Y-%m-%d %H:%M:%S}') / 24.0")


def _names_rows(column: Column) -> bool:
    """Whether a column of whole numbers, each in one row, names the rows: they run on from 0 or 1, or are many, and of
    so few possible ones that some of as many measured ones would be the same."""
    if column.kind != "int" or column.distinct != column.rows - column.nulls:
        return False
    if named_as_key(column.name):
        return True
    if column.low is None or column.high is None:
        return False
    if column.distinct > CATEGORIES and column.high - column.low < column.distinct**2 / 4:
        return True
    return column.low in (0, 1) and column.high == column.low + column.distinct - 1


def _moments(profile: Profile, calendar: Calendar) -> dict[str, tuple[FeatureType, str]]:
    """Parts of the moment of a request."""
    time = profile.time
    names = {column.name for column in profile.columns}
    parts: dict[str, tuple[FeatureType, str]] = {"asked_weekday": ("int", f"isodow({time})")}
    if profile.rhythms["hour"].intervals > profile.rhythms["day"].intervals and _has_hours(profile):
        parts["asked_hour"] = ("int", f"hour({time})")
    return {name: part for name, part in parts.items() if name not in names}


def _has_hours(profile: Profile) -> bool:
    """Whether times have an hour, and are no mere dates."""
    return profile.rhythms["hour"].filled > profile.rhythms["day"].filled


def _named(name: str, back: timedelta | None = None) -> str:
    """A feature's name, of at most 40 characters."""
    end = "" if back is None else f"_{duration_text(back)}"
    return name[: 40 - len(end)].rstrip("_") + end


def _past(profile: Profile, calendar: Calendar) -> View:
    """The features of an entity that is predicted every interval: what its own past was."""
    assert profile.key is not None and profile.time is not None
    time, label, backs = profile.time, profile.label, LOOK_BACKS[calendar.every]
    features: list[Feature] = []
    none = {"true": "1", "false": "0"}.get(label.nothing or "", label.nothing)
    for back in backs:
        features.append(
            Feature(
                _named(f"past_{label.name.removeprefix('next_')}", back),
                "float",
                _number(label),
                back,
                none,
            )
        )
        features.append(Feature(_named("past_rows", back), "int", "count(*)", back, "0"))
    active = f"count(DISTINCT date_trunc('{calendar.every}', {time}))"
    features.append(Feature(_named(f"active_{calendar.every}s", backs[2]), "int", active, backs[2], "0"))
    features.append(_hours_since_last("hours_since_last", time, backs[2]))
    numbers = [
        column
        for column in profile.columns
        if column.is_number and column.distinct > 1 and not named_as_key(column.name) and not _names_rows(column)
    ]
    for column in numbers[:MOST_NUMBERS]:
        features.append(Feature(_named(f"mean_{column.name}", backs[1]), "float", f"avg({column.name})", backs[1]))
    texts = [
        column
        for column in profile.columns
        if column.kind == "string" and column.name != profile.key and 2 <= column.distinct <= 100
    ]
    for column in texts[:MOST_TEXTS]:
        value = f"arg_max({column.name}, {time})"
        features.append(Feature(_named(f"last_{column.name}"), "category", value, backs[2]))
    if calendar.every in ("hour", "day"):
        features.append(Feature("coming_weekday", "int", "isodow(CAST($as_of AS TIMESTAMP))"))
    if calendar.every == "hour":
        features.append(Feature("coming_hour", "int", "hour(CAST($as_of AS TIMESTAMP))"))
    if calendar.every in ("week", "month"):
        features.append(Feature("coming_month", "int", "month(CAST($as_of AS TIMESTAMP))"))
    kept: dict[str, Feature] = {}
    for each in features:
        if each.name not in kept and _said(each) not in map(_said, kept.values()):
            kept[each.name] = each
    return View("past", profile.key, profile.key, profile.key, backs[2], tuple(kept.values()))


def _said(feature: Feature) -> tuple[str, timedelta | None]:
    """What a feature says, whatever its name: no two of a view say the same."""
    sql = re.sub(r"\s+", "", feature.sql.lower())
    sql = re.sub(r"^cast\((.*)asdouble\)$", r"\1", sql)
    return re.sub(r"\bcount\((?:\*|\d+)?\)", "count(*)", sql), feature.back


def _number(label: Label) -> str:
    return f"CAST({label.sql} AS DOUBLE)"


def _hours_since_last(name: str, time: str | None, back: timedelta) -> Feature:
    return Feature(name, "float", f"date_diff('minute', max({time}), CAST($as_of AS TIMESTAMP)) / 60.0", back)


def _by_reference(
    profile: Profile, calendar: Calendar, references: dict[str, tuple[str, Literal["string", "int"]]]
) -> Iterator[View]:
    """Features of what a request names beside itself: how its rows were labelled in the past.

    What they are about is added to `references`.
    """
    _, while_, long = LOOK_BACKS[calendar.every]
    label, time = profile.label, profile.time
    names = {column.name for column in profile.columns}
    about: list[tuple[str, str, str, Literal["string", "int"]]] = []  # entity, key, SQL, type
    if profile.key is not None and profile.key_repeats:
        kind = profile.column(profile.key).kind
        about.append((f"the_{profile.key}"[:40], profile.key, profile.key, "int" if kind == "int" else "string"))
    texts = [
        column
        for column in profile.columns
        if column.kind == "string"
        and column.name not in (profile.key, *label.columns, *profile.known_later)
        and 3 <= column.distinct <= CATEGORIES
        and column.rows >= 20 * column.distinct
    ]
    for column in sorted(texts, key=lambda each: -each.distinct)[:MOST_REFERENCES]:
        key = next(
            each for each in (f"{start}_{column.name}"[:40] for start in ("by", "of", "per")) if each not in names
        )
        about.append((f"of_{column.name}"[:40], key, column.name, "string"))
    if not about:
        key = next(each for each in ("overall", "of_all", "all_rows") if each not in names)
        about.append((key, key, "'all'", "string"))
    for entity, key, sql, kind in about:
        references[entity] = (key, kind)
        start = sql if sql in names else key
        features = [Feature(_named(f"{start}_rows", while_), "int", "count(*)", while_, "0")]
        if label.type != "multiclass":
            value = f"avg({_number(label)})"
            features += [
                Feature(_named(f"{start}_{label.name}", back), "float", value, back) for back in (while_, long)
            ]
        features.append(_hours_since_last(_named(f"{start}_hours_since_last"), time, long))
        kept = tuple(feature for feature in features if feature.name not in names)
        yield View(f"past_{entity}"[:40], entity, key, sql, long, kept)
