"""What the shape of `model.yaml` cannot say: its keys against each other. Pure.

A rule takes the spec, or one of its sources, views or families by name, and yields mistakes. So that all mistakes are told
at once, rules also look at a spec with misshapen keys; a rule that reads one of those (NotStated) has nothing to add.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import islice
from pathlib import PurePosixPath
from string import ascii_letters, digits
from typing import Any

from croniter import CroniterBadDateError, croniter

from evergreen.families import FamilyUnusable, Parameter, family, names
from evergreen.interval import CALENDAR, DAY, FIRST_DAY, LAST_DAY
from evergreen.spec.columns import ADDED, RESERVED
from evergreen.spec.families import usable
from evergreen.spec.mistakes import MOST_FOUND, Mistake, nearest, one_of
from evergreen.spec.partial import NotStated, stated_or
from evergreen.spec.problem import CLASS_BOUNDS, LEAST_CLASSES, MEASURES
from evergreen.spec.schema import ModelSpec, duration_text

FILE = "model.yaml"
BUDGET_PERIOD = timedelta(days=30)
_CRON = re.compile(
    r"(?!.*\b[rh]\b)[0-9A-Za-z*/,#? -]{9,100}", re.IGNORECASE
)  # no r: at random; h: by a hash of the name
_DAILY = [[0], [0], ["*"], ["*"], ["*"]]
_OF_FILES = {"format", "compression", "encoding", "delimiter", "history"}
_OF_FORMATS = {"compression": ("csv", "jsonl"), "encoding": ("csv", "jsonl"), "delimiter": ("csv",)}
_NO_DELIMITER = "\"'\r\n\0.+-" + ascii_letters + digits
_ENCODINGS = ("utf-8", "utf-16", "cp1252", "latin-1", "iso8859-15", "cp1251", "shift_jis", "gb18030")  # to choose from
# that a query of features, label or requests may read beside its sources
TABLE_FUNCTIONS = frozenset({"generate_series", "json_each", "json_tree", "range", "regexp_split_to_table", "unnest"})
Found = Iterator[Mistake]


def mistakes(spec: ModelSpec) -> list[Mistake]:
    """Every mistake that the rules find; the spec may be partial."""
    return collected(rule(spec, *names) for rule, names in _applications(spec))


def collected(findings: Iterable[Found]) -> list[Mistake]:
    """What the findings yield, up to a bound; a finding ends where it reads a key that is not stated."""
    found: list[Mistake] = []
    for finding in findings:
        with suppress(NotStated):
            found.extend(islice(finding, MOST_FOUND - len(found)))
    return found


def _applications(spec: ModelSpec) -> Iterator[tuple[Callable[..., Found], tuple[str, ...]]]:
    for rule in _OF_SPEC:
        yield rule, ()
    for section, rules in _OF_ENTRIES.items():
        for name in stated_or(spec, section, ()):
            yield from ((rule, (name,)) for rule in rules)


def _mistake(key: str, found: object, allowed: str, fix: str) -> Mistake:
    text = duration_text(found) if isinstance(found, timedelta) else str(found)
    return Mistake(FILE, key, text, allowed, fix)


# time


def _calendar(spec: ModelSpec) -> Found:
    for name in ("first_day", "last_day"):
        day = stated_or(spec, name, None)
        if day is not None and not FIRST_DAY <= day <= LAST_DAY:
            yield _mistake(name, day, CALENDAR, "correct the year")


def _days(spec: ModelSpec) -> Found:
    if spec.last_day is not None and spec.last_day < spec.first_day:
        yield _mistake(
            "last_day", spec.last_day, f"{spec.first_day} (first_day) or later", "exchange first_day and last_day"
        )


def _history(spec: ModelSpec) -> Found:
    """Only a model whose last day is known has a history of known length."""
    if spec.last_day is None or spec.last_day < spec.first_day:
        return
    history, horizon = spec.last_day - spec.first_day + DAY, spec.label.horizon
    needed = spec.split.evaluation + 2 * horizon
    if horizon >= history:
        allowed = f"shorter than the history, {duration_text(history)} from first_day to last_day"
        yield _mistake("label.horizon", horizon, allowed, "shorten the horizon, or move last_day")
    elif needed >= history and horizon < spec.split.window:
        allowed = f"shorter than {duration_text(max(history - 2 * horizon, DAY))}: the history of {duration_text(history)} less two horizons"
        yield _mistake("split.evaluation", spec.split.evaluation, allowed, "shorten the evaluation, or move last_day")


def _schedules(spec: ModelSpec) -> Found:
    schedule = spec.schedule
    for name in ("ingest", "train", "monitor"):
        cron = stated_or(schedule, name, None)  # each alone: one misshapen cron hides no other
        if cron is None:
            continue
        key, daily = f"schedule.{name}", "0 0 * * *"
        if not _fires(cron):
            yield _mistake(
                key,
                cron,
                "a cron of five fields, in UTC: minute hour day month weekday",
                f'write "{daily}" for once a day',
            )
        elif name != "train" and croniter.expand(cron)[0] != _DAILY:
            # Partitions are keyed by date, so any other interval would share one with its neighbour or straddle two.
            yield _mistake(
                key, cron, f'"{daily}": an interval is one day in UTC, named by its date', f'write "{daily}"'
            )


def _fires(cron: str) -> bool:
    """Whether a cron names moments, the same ones whenever it is read."""
    if not _CRON.fullmatch(cron) or len(cron.split()) != 5 or not croniter.is_valid(cron):
        return False
    try:
        croniter(cron, datetime(2024, 1, 1)).get_next()
    except CroniterBadDateError:  # 30 February
        return False
    return True


def _windows(spec: ModelSpec) -> Found:
    for key, value in (
        ("label.horizon", spec.label.horizon),
        ("split.evaluation", spec.split.evaluation),
        ("monitoring.window", spec.monitoring.window),
    ):
        if value % DAY:
            yield _mistake(
                key, value, "whole days: a partition is one day", f"write {duration_text(-(-value // DAY) * DAY)}"
            )


def _learning(spec: ModelSpec) -> Found:
    horizon, evaluation, window = spec.label.horizon, spec.split.evaluation, spec.split.window
    if horizon >= window:
        yield _mistake(
            "label.horizon",
            horizon,
            f"shorter than split.window ({duration_text(window)})",
            "shorten the horizon, or widen split.window",
        )
    elif evaluation + 2 * horizon >= window:
        # A horizon before as_of no label is mature; a horizon before the evaluation is purged; learning needs what is left.
        needed = evaluation + 2 * horizon
        yield _mistake(
            "split.window", window, f"longer than {duration_text(needed)}: split.evaluation and two horizons",
            f"write {duration_text(needed + evaluation)} or more, or shorten split.evaluation",
        )  # fmt: skip


# sources and views


def _kind(spec: ModelSpec, name: str) -> Found:
    """A source is of files or of a database, and has the keys of one of them."""
    source, key = spec.sources[name], f"sources.{name}"
    if source.path is None and source.connection is None:
        yield _mistake(
            key, "nothing to read", "path (files of the landing zone) or connection (a database)", "add one of them"
        )
    elif source.path is not None and source.connection is not None:
        yield _mistake(f"{key}.connection", "path and connection", "one of them", "remove one of them")
    elif source.path is None:
        for option in sorted(_OF_FILES & source.model_fields_set):
            yield _mistake(f"{key}.{option}", option, "connection and sql: a query has no file", f"remove {option}")
    elif source.sql is not None:
        yield _mistake(
            f"{key}.sql", source.sql, "sql only beside connection", "remove sql, or name a connection in place of path"
        )


def _path(spec: ModelSpec, name: str) -> Found:
    source, key = spec.sources[name], f"sources.{name}.path"
    if source.path is None:
        return
    stated, placeholders = source.path, re.findall(r"{[^}]*}?", source.path)
    found = f"{stated} with {one_of(sorted(set(placeholders)))}" if placeholders else stated
    if source.history:
        if placeholders or "*" in stated:
            yield _mistake(
                key,
                stated,
                "a path without { and *: a history is one file for all days",
                "name that file, or remove history: true",
            )
    elif set(placeholders) != {"{partition}"}:
        yield _mistake(
            key,
            found,
            "a path with {partition}, and nothing else in braces",
            "put {partition} where the date stands in the file's name; for one file with all days, declare history: true",
        )
    elif "*" in stated.rpartition("/")[0]:
        yield _mistake(key, stated, "* in the last part of the path only", "write the folders out")
    if not _stays_below(stated):
        yield _mistake(
            key,
            stated,
            "a path below the landing zone, with / between its parts",
            "leave out the leading / and every ..",
        )


def _format(spec: ModelSpec, name: str) -> Found:
    """Options of the format, and only of a format that has them."""
    source, key = spec.sources[name], f"sources.{name}"
    for option, formats in _OF_FORMATS.items():
        if option in source.model_fields_set and source.path is not None and source.format not in formats:
            yield _mistake(
                f"{key}.{option}",
                f"{option}, with format: {source.format}",
                f"{option} for {one_of(formats)}",
                f"remove {option}",
            )


def _delimiter(spec: ModelSpec, name: str) -> Found:
    delimiter = spec.sources[name].delimiter
    if len(delimiter) != 1 or not delimiter.isascii() or delimiter in _NO_DELIMITER:
        yield _mistake(
            f"sources.{name}.delimiter",
            repr(delimiter),
            "one character of ASCII: no quote, letter, digit, line break, or any of . + -",
            'write ",", ";", "|" or "\\t"',
        )


def _encoding(spec: ModelSpec, name: str) -> Found:
    encoding = spec.sources[name].encoding
    try:
        codecs.lookup(encoding)
        "a".encode(encoding)  # some codecs are not of text
    except (LookupError, ValueError):
        fix = nearest(encoding.lower(), _ENCODINGS, "write utf-8, for one")
        yield _mistake(
            f"sources.{name}.encoding", encoding, f"an encoding that Python knows: {one_of(_ENCODINGS)}, …", fix
        )


def _columns(spec: ModelSpec, name: str) -> Found:
    for column in spec.sources[name].columns:
        if column in ADDED:
            yield _mistake(
                f"sources.{name}.columns.{column}",
                column,
                f"a name other than {one_of(ADDED)}, which Evergreen adds",
                "rename it upstream",
            )


def _event_time(spec: ModelSpec, name: str) -> Found:
    source, key = spec.sources[name], f"sources.{name}.event_time"
    yield from _undeclared(key, [source.event_time], source.columns, "columns")
    if (kind := source.columns.get(source.event_time, "timestamp")) != "timestamp":
        yield _mistake(
            key,
            f"{source.event_time}, a {kind}",
            "a column of type timestamp",
            f"declare {source.event_time}: timestamp",
        )


def _keys(spec: ModelSpec, name: str) -> Found:
    source, key = spec.sources[name], f"sources.{name}.keys"
    yield from _undeclared(key, source.keys, source.columns, "columns")
    yield from _repeated(key, source.keys)
    for column, declared in spec.keys.items():
        if (kind := source.columns.get(column, declared)) != declared:
            yield _mistake(
                f"sources.{name}.columns.{column}",
                kind,
                f"{declared}, the entity's type",
                "declare the same type in both",
            )


def _outcome(spec: ModelSpec, name: str) -> Found:
    source, key = spec.sources[name], f"sources.{name}.outcome"
    yield from _undeclared(key, source.outcome, source.columns, "columns")
    for column in (each for each in source.outcome if each in source.columns):
        if column == source.event_time or column in source.keys:
            allowed = "columns other than event_time and keys, which identify the row from the start"
            yield _mistake(key, column, allowed, f"leave {column} out")


def _view_sources(spec: ModelSpec, name: str) -> Found:
    yield from _read(spec, f"features.{name}.sources", spec.features[name].sources)


def _label_sources(spec: ModelSpec) -> Found:
    yield from _read(spec, "label.sources", spec.label.sources)


def _read(spec: ModelSpec, key: str, names: Sequence[str]) -> Found:
    yield from _undeclared(key, names, spec.sources, "sources")
    yield from _repeated(key, names)
    known = [name for name in names if name in spec.sources]
    if spec.asking.named_by_request:
        return  # what a request is about may be made of several columns; whether a query returns it, the deep check tells
    if known and len(known) == len(names) and not any(spec.entity.key in spec.sources[name].columns for name in known):
        yield _mistake(
            key,
            one_of(known),
            f"at least one source with the entity's key {spec.entity.key}",
            "read a source that has it",
        )


def _outcome_matures(spec: ModelSpec) -> Found:
    """A label is of what is known when it matures."""
    for name in spec.label.sources:
        source = spec.sources.get(name)
        for column, delay in source.outcome.items() if source else ():
            if delay > spec.label.horizon:
                allowed = f"at most label.horizon ({duration_text(spec.label.horizon)}): the label is said to be known by then"
                yield _mistake(f"sources.{name}.outcome.{column}", delay, allowed, "lengthen label.horizon")


def _view_entity(spec: ModelSpec, name: str) -> Found:
    stated, known = spec.features[name].entity, [spec.entity.name, *spec.references]
    if stated is not None and stated not in known:
        yield _unknown(f"features.{name}.entity", stated, known, f"declare {stated} under references")


def _references(spec: ModelSpec) -> Found:
    taken = {spec.entity.key: "entity"}
    for name, other in spec.references.items():
        key = f"references.{name}"
        if name == spec.entity.name:
            yield _mistake(key, name, "another name than the entity's", "rename it")
        if other.key in taken or other.key in RESERVED:
            allowed = f"a column that is not the key of {taken.get(other.key, 'Evergreen')}"
            yield _mistake(f"{key}.key", other.key, allowed, "name another column")
        taken[other.key] = name
        if not any(spec.features[view].entity == name for view in spec.features):
            yield _mistake(
                key, name, "an entity that a feature view is about", f"write entity: {name} in a view, or leave it out"
            )
    if spec.references and not spec.asking.named_by_request:
        yield _mistake(
            "references", one_of(spec.references), "none without request: nobody says which of them a prediction is about",
            "declare request, with a request.sql that returns their keys",
        )  # fmt: skip


def _request(spec: ModelSpec) -> Found:
    if spec.request is None:
        return
    yield from _read(spec, "request.sources", spec.request.sources)
    first = spec.request.sources[0]
    if first in spec.sources and (told := [name for name, delay in spec.sources[first].outcome.items() if not delay]):
        yield _mistake(
            "request.sources", f"{first} first, whose rows come with their outcome ({one_of(told)})",
            "first a source whose rows are there when a prediction is asked for", "name another source first",
        )  # fmt: skip
    taken = (*spec.keys, spec.label.name, *RESERVED)
    for name in spec.request.inputs:
        key = f"request.inputs.{name}"
        if name in taken:
            yield _mistake(key, name, f"a name other than {one_of(taken)}", "rename the input")
        views = [view for view, declared in spec.features.items() if name in declared.features]
        if views:
            yield _mistake(key, f"{name}, also a feature of {one_of(views)}", "a name of its own", "rename one of them")
    if spec.request.sql is not None:
        yield from _inside("request.sql", spec.request.sql)


def _metrics(spec: ModelSpec) -> Found:
    kind, known = spec.problem.kind, spec.problem.metrics
    if spec.search.metric not in known:
        found = f"{spec.search.metric}, of a {kind} label"
        yield _mistake("search.metric", found, one_of(known), f"write metric: {known[0]}")
    for metric in spec.gates.floor:
        if metric not in known:
            yield _mistake(
                f"gates.floor.{metric}", f"{metric}, of a {kind} label", one_of(known), f"write {known[0]}, for one"
            )
    for declared in spec.families:
        with suppress(FamilyUnusable):  # which `_family` tells
            if kind not in family(declared).labels:
                fitting = [name for name, usable_family in usable() if kind in usable_family.labels]
                unfit = f"{declared}, of a {kind} label"
                yield _mistake(f"families.{declared}", unfit, one_of(fitting), f"use {fitting[0]}")
    if spec.search.measure.in_unit_of_label and "performance_drop" not in spec.monitoring.model_fields_set:
        allowed = f"a loss of {spec.search.metric} that matters, in the label's own unit"
        yield _mistake("monitoring.performance_drop", "the default", allowed, "state it")


def _classes(spec: ModelSpec) -> Found:
    label = spec.label
    if label.type != "multiclass":
        if label.classes:
            allowed = f"nothing: a {label.type} label declares no classes"
            yield _mistake("label.classes", ", ".join(label.classes), allowed, "remove it, or write type: multiclass")
    elif len(label.classes) < LEAST_CLASSES:
        found = ", ".join(label.classes) or "nothing"
        allowed = f"at least {LEAST_CLASSES} classes, every value that the label may have"
        yield _mistake("label.classes", found, allowed, "name them all; a label of two classes is binary")
    else:
        yield from _repeated("label.classes", label.classes)


def _rows_of_class(spec: ModelSpec) -> Found:
    """A bound for each class belongs to a label with classes, and must leave room for them all."""
    gates, problem = spec.gates, spec.problem
    for key in sorted(CLASS_BOUNDS & gates.model_fields_set - {problem.class_bound}):
        allowed = f"nothing: a {problem.kind} label has no {'classes' if problem.class_bound is None else 'such bound'}"
        yield _mistake(f"gates.{key}", getattr(gates, key), allowed, "remove it")
    bound, classes = gates.fewest_of_class(problem), problem.fewest_labels
    if classes * bound > gates.minimum_rows:
        part = "half" if classes == 2 else f"1/{classes}"
        allowed = f"at most {part} of gates.minimum_rows ({gates.minimum_rows}): it holds for each class"
        yield _mistake(f"gates.{problem.class_bound}", bound, allowed, "lower it, or raise gates.minimum_rows")


def _look_back(spec: ModelSpec, name: str) -> Found:
    if spec.features[name].look_back < DAY:
        yield _mistake(
            f"features.{name}.look_back", spec.features[name].look_back, "at least the interval, 1d", "write 1d"
        )


def _view_name(spec: ModelSpec, name: str) -> Found:
    if name in spec.sources:
        yield _mistake(
            f"features.{name}",
            name,
            "a name that no source has: contracts are named by table",
            f"rename the view: {name}_features",
        )


def _feature_names(spec: ModelSpec, name: str) -> Found:
    for feature in spec.features[name].features:
        key = f"features.{name}.features.{feature}"
        others = [
            view
            for view, declared in spec.features.items()
            if view != name and feature in stated_or(declared, "features", ())
        ]
        if others:
            yield _mistake(
                key,
                f"{feature}, also in the view {one_of(others)}",
                "a name of one view only",
                "rename the feature in one of them",
            )
        if feature in (taken := (*spec.keys, spec.label.name, *RESERVED)):
            yield _mistake(key, feature, f"a name other than {one_of(taken)}", "rename the feature")


def _label_name(spec: ModelSpec) -> Found:
    if spec.label.name in (taken := (*spec.keys, *RESERVED)):
        yield _mistake("label.name", spec.label.name, f"a name other than {one_of(taken)}", "rename the label")


def _view_files(spec: ModelSpec, name: str) -> Found:
    yield from _inside(f"features.{name}.sql", spec.features[name].sql)
    yield from _inside(f"features.{name}.contract", spec.features[name].contract)


def _source_files(spec: ModelSpec, name: str) -> Found:
    yield from _inside(f"sources.{name}.sql", spec.sources[name].sql)
    yield from _inside(f"sources.{name}.contract", spec.sources[name].contract)


def _label_files(spec: ModelSpec) -> Found:
    yield from _inside("label.sql", spec.label.sql)


def _inside(key: str, stated: str | None) -> Found:
    if stated is not None and not _stays_below(stated):
        yield _mistake(key, stated, "a file of the model's folder", "name it by its path from the model's folder")


# families, gates, monitoring


def _family(spec: ModelSpec, name: str) -> Found:
    if name not in names():
        otherwise = f"use {one_of(names())}, or install the package that brings it"
        yield _unknown(f"families.{name}", name, names(), otherwise)
        return
    try:
        known = family(name).parameters
    except FamilyUnusable as error:
        whole = "a family that its package brings whole"
        yield _mistake(f"families.{name}", f"{name}: {error}", whole, "mend or remove that package")
        return
    for parameter, override in spec.families[name].items():
        key = f"families.{name}.{parameter}"
        if parameter not in known:
            yield _unknown(key, parameter, known, f"remove {parameter}")
        elif (allowed := _disallowed(known[parameter], override)) is not None:
            yield _mistake(
                key, override, allowed, f"write [{known[parameter].low:g}, {known[parameter].high:g}], the default"
            )


def _disallowed(parameter: Parameter, override: Any) -> str | None:
    """What is allowed instead of an override; None when it is allowed."""
    kind = "whole numbers" if parameter.whole else "numbers"
    allowed = f"one value or [low, high], {kind} from {parameter.least:g} to {parameter.most:g}"
    ends = override if isinstance(override, list) else [override, override]
    if len(ends) != 2 or not all(type(end) is int or (type(end) is float and not parameter.whole) for end in ends):
        return allowed
    if not parameter.least <= ends[0] <= ends[1] <= parameter.most:
        return allowed
    if parameter.log and ends[0] <= 0 and ends[0] != ends[1]:
        return f"{allowed}; a range from above 0, since it is searched by its logarithm"
    return None


def _floors(spec: ModelSpec) -> Found:
    for metric, bound in spec.gates.floor.items():
        measure = MEASURES[metric]
        if (allowed := measure.allowed(bound)) is not None:
            yield _mistake(f"gates.floor.{metric}", bound, allowed, f"write {measure.example:g}, for one")


def _cooldown(spec: ModelSpec) -> Found:
    if spec.monitoring.cooldown < spec.label.horizon < spec.split.window:
        allowed = f"at least label.horizon ({duration_text(spec.label.horizon)}): sooner no outcome tells whether the retraining helped"
        yield _mistake(
            "monitoring.cooldown",
            spec.monitoring.cooldown,
            allowed,
            f"write {duration_text(spec.label.horizon)} or more",
        )


def _persistence(spec: ModelSpec) -> Found:
    """Windows that overlap are drifted by the same days: only as many in a row as a window has days are more than one window."""
    days = spec.monitoring.window // DAY
    if spec.monitoring.persistence < days:
        allowed = f"at least {days}: windows of {duration_text(spec.monitoring.window)} that share days are not drift that persists"
        yield _mistake(
            "monitoring.persistence",
            spec.monitoring.persistence,
            allowed,
            f"write {days} or more, or shorten monitoring.window",
        )


def _budget(spec: ModelSpec) -> Found:
    most = BUDGET_PERIOD // spec.monitoring.cooldown + 1
    # The default is an upper bound for any cooldown; a budget that was chosen ought to bind.
    if "budget" in spec.monitoring.model_fields_set and spec.monitoring.budget > most:
        allowed = (
            f"at most {most}: monitoring.cooldown ({duration_text(spec.monitoring.cooldown)}) allows no more in 30 days"
        )
        yield _mistake(
            "monitoring.budget", spec.monitoring.budget, allowed, f"write {most} or less, or shorten the cooldown"
        )


# shared wording


def _unknown(key: str, name: str, known: Iterable[str], otherwise: str) -> Mistake:
    known = list(known)
    return _mistake(key, name, one_of(known), nearest(name, known, otherwise))


def _undeclared(key: str, names: Iterable[str], known: Collection[str], section: str) -> Found:
    for name in names:
        if name not in known:
            yield _unknown(key, name, known, f"declare {name} under {section}")


def _repeated(key: str, names: Sequence[str]) -> Found:
    for name, times in Counter(names).items():
        if times > 1:
            yield _mistake(key, f"{name}, {times} times", "each name once", f"remove one {name}")


def _stays_below(stated: str) -> bool:
    path = PurePosixPath(stated)
    return (
        stated != "" and not path.is_absolute() and ".." not in path.parts and "\\" not in stated and ":" not in stated
    )


_OF_SPEC: tuple[Callable[[ModelSpec], Found], ...] = (
    _calendar, _days, _history, _schedules, _windows, _learning, _references, _request, _label_sources, _outcome_matures, _label_name, _label_files, _metrics, _classes, _floors,
    _rows_of_class, _persistence, _cooldown, _budget,
)  # fmt: skip
_OF_ENTRIES: dict[str, tuple[Callable[[ModelSpec, str], Found], ...]] = {
    "sources": (_kind, _path, _format, _delimiter, _encoding, _columns, _event_time, _keys, _outcome, _source_files),
    "features": (_view_entity, _view_sources, _look_back, _view_name, _feature_names, _view_files),
    "families": (_family,),
}
