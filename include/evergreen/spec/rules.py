"""What the shape of `model.yaml` cannot say: references between keys, and bounds that depend on one another. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import PurePosixPath

from croniter import croniter

from evergreen.spec.families import FAMILIES
from evergreen.spec.mistakes import Mistake, nearest, one_of
from evergreen.spec.schema import LOWER_IS_BETTER, ModelSpec

FILE = "model.yaml"
DAY = timedelta(days=1)
DAILY = "0 0 * * *"


def mistakes(spec: ModelSpec) -> list[Mistake]:
    """Every mistake of a spec whose shape is right."""
    return [mistake for check in _CHECKS for mistake in check(spec)]


def _days(spec: ModelSpec) -> Iterator[Mistake]:
    if spec.last_day is not None and spec.last_day < spec.first_day:
        yield Mistake(
            FILE, "last_day", str(spec.last_day), f"{spec.first_day} or later", "exchange first_day and last_day"
        )


def _schedule(spec: ModelSpec) -> Iterator[Mistake]:
    for key in ("ingest", "train", "monitor"):
        cron = getattr(spec.schedule, key)
        if not croniter.is_valid(cron) or len(cron.split()) != 5:
            yield Mistake(
                FILE, f"schedule.{key}", repr(cron), "a cron of five fields, in UTC", f'write "{DAILY}" for once a day'
            )
        elif key != "train" and cron != DAILY:
            yield Mistake(
                FILE, f"schedule.{key}", repr(cron), f'"{DAILY}": a partition is one UTC day', f'write "{DAILY}"'
            )  # fmt: skip


def _sources(spec: ModelSpec) -> Iterator[Mistake]:
    for name, source in spec.sources.items():
        at = f"sources.{name}"
        path = PurePosixPath(source.path)
        if "{partition}" not in source.path:
            yield Mistake(
                FILE, f"{at}.path", source.path, "a path with {partition}", "put {partition} where the date stands"
            )
        if path.is_absolute() or ".." in path.parts:
            yield Mistake(
                FILE, f"{at}.path", source.path, "a path below the landing zone", "leave out the leading / and every .."
            )
        for key, columns in (("event_time", [source.event_time]), ("keys", source.keys)):
            for column in columns:
                if column not in source.columns:
                    allowed = one_of(source.columns)
                    yield Mistake(FILE, f"{at}.{key}", column, allowed, nearest(column, source.columns))
        if source.columns.get(source.event_time, "timestamp") not in ("timestamp", "date"):
            found = f"{source.event_time}: {source.columns[source.event_time]}"
            yield Mistake(
                FILE, f"{at}.event_time", found, "a column of type timestamp", "declare the column as timestamp"
            )


def _references(spec: ModelSpec) -> Iterator[Mistake]:
    readers = {f"features.{name}.sources": view.sources for name, view in spec.features.items()}
    for at, sources in (readers | {"label.sources": spec.label.sources}).items():
        for source in sources:
            if source not in spec.sources:
                yield Mistake(FILE, at, source, one_of(spec.sources), nearest(source, spec.sources))
        known = [source for source in sources if source in spec.sources]
        if known and not any(spec.entity.key in spec.sources[source].columns for source in known):
            yield Mistake(
                FILE, at, ", ".join(known), f"at least one source with the entity's key {spec.entity.key}",
                f"add a source that has {spec.entity.key}, or declare the column",
            )  # fmt: skip


def _names(spec: ModelSpec) -> Iterator[Mistake]:
    counted = Counter(name for view in spec.features.values() for name in view.features)
    reserved = {spec.entity.key, spec.label.name, "event_timestamp", "known_at", "partition", "prediction"}
    for view, declared in spec.features.items():
        if view in spec.sources:
            yield Mistake(
                FILE, f"features.{view}", view, "a name that no source has", f"rename the view, {view}_features for one"
            )
        for name in declared.features:
            at = f"features.{view}.features.{name}"
            if counted[name] > 1:
                yield Mistake(FILE, at, name, "a name of one view only", "rename the feature in one of the views")
            if name in reserved:
                yield Mistake(FILE, at, name, f"none of {one_of(sorted(reserved))}", "rename the feature")


def _times(spec: ModelSpec) -> Iterator[Mistake]:
    horizon, split = spec.label.horizon, spec.split
    for view, declared in spec.features.items():
        if declared.look_back < DAY:
            yield Mistake(FILE, f"features.{view}.look_back", _text(declared.look_back), "1d or longer", "write 1d")
    for key, value in (
        ("label.horizon", horizon),
        ("split.evaluation", split.evaluation),
        ("monitoring.window", spec.monitoring.window),
    ):
        if value % DAY:
            yield Mistake(FILE, key, _text(value), "whole days: a partition is one day", "write 1d")
    needed = split.evaluation + horizon + DAY
    if split.window < needed:
        yield Mistake(
            FILE, "split.window", _text(split.window),
            f"{_text(needed)} or longer: the evaluation, the label's horizon before it, and a day to learn from",
            f"write {_text(needed + 2 * horizon)} or more",
        )  # fmt: skip
    if spec.last_day is not None and spec.first_day <= spec.last_day:
        history = spec.last_day - spec.first_day + DAY
        if horizon >= history:
            yield Mistake(
                FILE, "label.horizon", _text(horizon), f"shorter than the history of {history.days}d",
                "shorten the horizon, or move last_day",
            )  # fmt: skip
    if spec.monitoring.budget * spec.monitoring.cooldown > timedelta(days=30) + spec.monitoring.cooldown:
        allowed = timedelta(days=30) // spec.monitoring.cooldown + 1
        yield Mistake(
            FILE, "monitoring.budget", str(spec.monitoring.budget), f"at most {allowed}: the cooldown allows no more in 30 days",
            f"write {allowed}, or shorten the cooldown",
        )  # fmt: skip


def _families(spec: ModelSpec) -> Iterator[Mistake]:
    for family, overrides in spec.families.items():
        if family not in FAMILIES:
            yield Mistake(FILE, f"families.{family}", family, one_of(FAMILIES), nearest(family, FAMILIES))
            continue
        for name, value in overrides.items():
            at = f"families.{family}.{name}"
            if name not in FAMILIES[family]:
                yield Mistake(FILE, at, name, one_of(FAMILIES[family]), nearest(name, FAMILIES[family]))
                continue
            ends = value if isinstance(value, list) else [value, value]
            if (
                len(ends) != 2
                or not all(isinstance(end, int | float) and not isinstance(end, bool) for end in ends)
                or ends[0] > ends[1]
            ):
                yield Mistake(
                    FILE,
                    at,
                    repr(value),
                    "[low, high] or one number",
                    f"write [{FAMILIES[family][name].low:g}, {FAMILIES[family][name].high:g}]",
                )
            elif FAMILIES[family][name].log and ends[0] <= 0:
                yield Mistake(
                    FILE, at, repr(value), "more than 0: it is searched by its logarithm", "raise the lower end"
                )


def _gates(spec: ModelSpec) -> Iterator[Mistake]:
    for metric, bound in spec.gates.floor.items():
        if metric not in LOWER_IS_BETTER and not 0 < bound < 1:
            yield Mistake(FILE, f"gates.floor.{metric}", str(bound), "between 0 and 1", "write 0.7, for one")
        if metric in LOWER_IS_BETTER and bound <= 0:
            yield Mistake(
                FILE, f"gates.floor.{metric}", str(bound), "more than 0 (lower is better)", "write 0.5, for one"
            )
    if 2 * spec.gates.minimum_positives > spec.gates.minimum_rows:
        yield Mistake(
            FILE, "gates.minimum_positives", str(spec.gates.minimum_positives), f"at most half of minimum_rows ({spec.gates.minimum_rows})",
            "lower minimum_positives or raise minimum_rows",
        )  # fmt: skip


def _text(duration: timedelta) -> str:
    hours = int(duration.total_seconds() // 3600)
    return f"{hours // 24}d" if hours % 24 == 0 else f"{hours}h"


_CHECKS: tuple[Callable[[ModelSpec], Iterator[Mistake]], ...] = (
    _days, _schedule, _sources, _references, _names, _times, _families, _gates,
)  # fmt: skip
