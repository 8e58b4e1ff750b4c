"""Request and label: what their queries read, and the names of what they return."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

from evergreen.spec.columns import LABEL, RESERVED
from evergreen.spec.durations import duration_text
from evergreen.spec.mistakes import one_of
from evergreen.spec.rules.wording import Mistakes, inside, mistake, places, repeated, reserved, undeclared
from evergreen.spec.schema import ModelSpec

# that a query of features, label or requests may read beside its sources
TABLE_FUNCTIONS = frozenset({"generate_series", "json_each", "json_tree", "range", "regexp_split_to_table", "unnest"})


def _read(spec: ModelSpec, key: str, names: Sequence[str]) -> Mistakes:
    yield from undeclared(key, names, spec.sources, "sources")
    yield from repeated(key, names)
    yield from _has_key(spec, key, names)


def _has_key(spec: ModelSpec, key: str, names: Sequence[str]) -> Mistakes:
    known = [name for name in names if name in spec.sources]
    if spec.asking.named_by_request:
        # what a request is about may be made of several columns; whether a query returns it, the deep check tells
        return
    for column in spec.entity.columns:
        if known and len(known) == len(names) and not any(column in spec.sources[name].columns for name in known):
            allowed = f"at least one source with the entity's key {column}"
            yield mistake(key, one_of(known), allowed, "read a source that has it")


def _learns(spec: ModelSpec) -> Mistakes:
    if not spec.features and not (spec.request is not None and spec.request.inputs):
        allowed = "at least one view, or request.inputs: a model learns from features or from what a request says"
        found, fix = ("no view of any dataset", "name one") if spec.data else ("no view", "declare one")
        yield mistake("data" if spec.data else "features", found, allowed, f"{fix}, or declare request with inputs")


def _view_has_key(spec: ModelSpec, name: str) -> Mistakes:
    if not spec.data:  # of a dataset, the deep check tells what its queries return
        yield from _has_key(spec, f"features.{name}.sources", spec.features[name].sources)


def _feature_names(spec: ModelSpec, name: str) -> Mistakes:
    for feature in spec.features[name].features:
        if feature == spec.label.name:
            key = f"data.{spec.dataset_of(name)}" if spec.data else f"features.{name}.features.{feature}"
            yield mistake(
                key, feature, f"a name other than the label's, {spec.label.name}", "rename the feature, or the label"
            )


def _keys(spec: ModelSpec) -> Mistakes:
    """A key stands beside Evergreen's columns in tables, and beside an answer's fields."""
    declared = {"entity": spec.entity, **{f"references.{name}": other for name, other in spec.references.items()}}
    for place, entity in declared.items():
        yield from reserved(place, entity)


def _references(spec: ModelSpec) -> Mistakes:
    several = len(spec.entity.columns) > 1
    taken = {} if several else dict.fromkeys(spec.entity.columns, "entity")
    for name, other in spec.references.items():
        key = f"references.{name}"
        if name == spec.entity.name:
            yield mistake(key, name, "another name than the entity's", "rename it")
        for place, column in places(key, other):
            if column in taken:
                yield mistake(place, column, f"a column that is not the key of {taken[column]}", "name another column")
            if (kind := spec.entity.columns.get(column, other.columns[column])) != other.columns[column]:
                yield mistake(place, other.columns[column], f"{kind}, as for the entity", "declare the same type")
            taken[column] = name
        if not any(spec.features[view].entity == name for view in spec.features):
            yield mistake(
                key, name, "an entity that a feature view is about", f"write entity: {name} in a view, or leave it out"
            )
    unnamed = [
        name for name, other in spec.references.items() if not other.columns.keys() <= spec.entity.columns.keys()
    ]
    if unnamed and not spec.asking.named_by_request:
        yield mistake(
            "references",
            one_of(unnamed),
            "none without request but by columns of the entity's keys: nobody says which a prediction is about",
            "declare request, with a request.sql that returns their keys",
        )


def _request(spec: ModelSpec) -> Mistakes:
    if spec.request is None:
        return
    yield from _read(spec, "request.sources", spec.request.sources)
    first = spec.request.sources[0]
    if first in spec.sources and spec.sources[first].whole:
        yield mistake(
            "request.sources",
            f"{first} first, one table for all intervals",
            "first a source whose rows are the requests, each at its moment",
            f"name another source before {first}",
        )
    if first in spec.sources and (
        known_at_once := [name for name, delay in spec.sources[first].outcome.items() if not delay]
    ):
        yield mistake(
            "request.sources",
            f"{first} first, whose rows come with their outcome ({one_of(known_at_once)})",
            "first a source whose rows are there when a prediction is asked for",
            "name another source first",
        )
    taken = (*spec.keys, spec.label.name, *RESERVED)
    for name in spec.request.inputs:
        key = f"request.inputs.{name}"
        if name in taken:
            yield mistake(key, name, f"a name other than {one_of(taken)}", "rename the input")
        views = [view for view, declared in spec.features.items() if name in declared.features]
        if views:
            yield mistake(key, f"{name}, also a feature of {one_of(views)}", "a name of its own", "rename one of them")
    if spec.request.sql is not None:
        yield from inside("request.sql", spec.request.sql)


def _label_sources(spec: ModelSpec) -> Mistakes:
    yield from _read(spec, "label.sources", spec.label.sources)
    read = (*spec.label.sources, *spec.asking.sources)
    if all(name in spec.sources and spec.sources[name].whole for name in read):
        yield mistake(
            "label.sources",
            f"{one_of(spec.label.sources)}, tables for all intervals",
            "at least one source with a batch per interval: by it an outcome is known to be there",
            "read a source of events too",
        )


def _outcome_matures(spec: ModelSpec) -> Mistakes:
    """A label is of what is known when it matures: of a row at the start of the interval, at the latest."""
    if spec.label.known is not None:
        return
    most = spec.label.horizon + spec.calendar.longest
    for name in (each for each in spec.label.sources if each in spec.sources):
        source = spec.sources[name]
        for column, delay in source.outcome.items():
            if isinstance(delay, timedelta) and delay > most:
                horizon, needed = duration_text(spec.label.horizon), duration_text(delay - spec.calendar.longest)
                allowed = (
                    f"at least {needed}: {column} of {name} is known {duration_text(delay)} after {source.event_time}, "
                    f"which is one {spec.calendar.every} before $cutoff at the earliest"
                )
                yield mistake("label.horizon", horizon, allowed, f"write {needed} or more; leave the delay as it is")


def _own_moments(spec: ModelSpec) -> Mistakes:
    """Who says when each outcome became known says so of the source too, or its views see it from the start."""
    known = spec.label.known
    if known is None:
        return
    column, within, horizon = known.column, known.within, spec.label.horizon
    taken = (*spec.keys, spec.label.name, *RESERVED)
    if column in taken:
        yield mistake("label.known.column", column, f"a name other than {one_of(taken)}", "rename it in the query")
    if within < horizon:
        yield mistake(
            "label.known.within",
            within,
            f"at least label.horizon ({duration_text(horizon)}), by when most outcomes are known",
            f"write {duration_text(horizon)} or more",
        )
    asked = spec.request.sources[0] if spec.request is not None else None
    for name in (each for each in spec.label.sources if each in spec.sources):
        source = spec.sources[name]
        if column == source.event_time and name == asked:
            yield mistake(
                "label.known.column",
                f"{column}, when a prediction is asked for",
                "the moment at which its outcome became known",
                f"name the column of {name} that has it",
            )
        elif column in source.columns and column != source.event_time and column not in source.moments:
            yield mistake(
                "label.known.column",
                f"{column} of {name}, of which no outcome is declared",
                f"under sources.{name}.outcome each column that is known from {column} on; else views and requests "
                "see it from the start",
                f"write outcome: {{COLUMN: {column}}} there",
            )
        for outcome, delay in source.outcome.items():
            if isinstance(delay, timedelta) and delay > within + spec.calendar.longest:
                needed = duration_text(delay)
                allowed = f"at least {needed}: {outcome} of {name} is known {needed} after {source.event_time}"
                yield mistake("label.known.within", within, allowed, f"write {needed} or more")


def _label_name(spec: ModelSpec) -> Mistakes:
    taken = (*spec.keys, *(name for name in RESERVED if name != LABEL))
    if (weight := spec.label.weight) is not None:
        others = (*taken, LABEL, spec.label.name, *spec.feature_types)
        if weight in others:
            allowed = "a column of its own: a weight is no key, no input and no label"
            yield mistake("label.weight", weight, allowed, "return it by another name")
    if spec.label.name in taken:
        yield mistake("label.name", spec.label.name, f"a name other than {one_of(taken)}", "rename the label")


def _label_files(spec: ModelSpec) -> Mistakes:
    yield from inside("label.sql", spec.label.sql)


OF_SPEC: tuple[Callable[[ModelSpec], Mistakes], ...] = (
    _learns,
    _keys,
    _references,
    _request,
    _label_sources,
    _outcome_matures,
    _own_moments,
    _label_name,
    _label_files,
)
OF_ENTRIES: tuple[Callable[[ModelSpec, str], Mistakes], ...] = (_view_has_key, _feature_names)
