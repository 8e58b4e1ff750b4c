"""Views and what they are about: what their queries read, and the names of what they return."""

from __future__ import annotations

from collections.abc import Callable

from evergreen.spec.columns import RESERVED
from evergreen.spec.dataset import DatasetSpec
from evergreen.spec.durations import duration_text
from evergreen.spec.mistakes import one_of
from evergreen.spec.partial import stated_or
from evergreen.spec.rules.wording import Mistakes, inside, mistake, places, repeated, reserved, undeclared, unknown


def _view_entity(spec: DatasetSpec, name: str) -> Mistakes:
    stated, key = spec.features[name].entity, f"features.{name}.entity"
    if stated is not None and stated not in spec.entities:
        section = "references" if spec.of_a_model else "entities"
        yield unknown(key, stated, spec.entities, f"declare {stated} under {section}")
    elif stated is None and len(spec.entities) > 1 and not spec.of_a_model:
        yield mistake(key, "nothing", one_of(spec.entities), "say whose features they are")


def _view_sources(spec: DatasetSpec, name: str) -> Mistakes:
    key, names = f"features.{name}.sources", spec.features[name].sources
    yield from undeclared(key, names, spec.sources, "sources")
    yield from repeated(key, names)


def _look_back(spec: DatasetSpec, name: str) -> Mistakes:
    least, look_back = spec.calendar.longest, spec.features[name].look_back
    if look_back < least:
        text = duration_text(least)
        yield mistake(f"features.{name}.look_back", look_back, f"at least the interval, {text}", f"write {text}")


def _view_name(spec: DatasetSpec, name: str) -> Mistakes:
    if name in spec.sources:
        yield mistake(
            f"features.{name}",
            name,
            "a name that no source has: contracts are named by table",
            f"rename the view: {name}_features",
        )


def _feature_names(spec: DatasetSpec, name: str) -> Mistakes:
    for feature in spec.features[name].features:
        key = f"features.{name}.features.{feature}"
        others = [
            view
            for view, declared in spec.features.items()
            if view != name and feature in stated_or(declared, "features", ())
        ]
        if others:
            yield mistake(
                key,
                f"{feature}, also in the view {one_of(others)}",
                "a name of one view only",
                "rename the feature in one of them",
            )
        if feature in (taken := (*spec.keys, *RESERVED)):
            yield mistake(key, feature, f"a name other than {one_of(taken)}", "rename the feature")


def _view_files(spec: DatasetSpec, name: str) -> Mistakes:
    yield from inside(f"features.{name}.sql", spec.features[name].sql)
    yield from inside(f"features.{name}.contract", spec.features[name].contract)


def _entities(spec: DatasetSpec) -> Mistakes:
    if spec.of_a_model:
        return  # `entity` and `references`, which the model's own rules look at
    taken: dict[tuple[str, ...], str] = {}
    kinds: dict[str, str] = {}  # column → the first entity that has it
    for name, entity in spec.entities.items():
        yield from reserved(f"entities.{name}", entity)
        for place, column in places(f"entities.{name}", entity):
            kind = spec.entities[kinds[column]].columns[column] if column in kinds else entity.columns[column]
            if kind != entity.columns[column]:
                allowed = f"{kind}, as for {kinds[column]}"
                yield mistake(place, entity.columns[column], allowed, "declare the same type in both")
            kinds.setdefault(column, name)
        # one of several keys may be an entity of its own: the store of a shelf
        if (columns := tuple(sorted(entity.columns))) in taken:
            allowed = f"a column that is not the key of {taken[columns]}"
            yield mistake(
                f"entities.{name}.{'keys' if entity.keys else 'key'}", entity.named, allowed, "name another column"
            )
        taken[columns] = name


OF_DATASET: tuple[Callable[[DatasetSpec], Mistakes], ...] = (_entities,)
OF_ENTRIES: tuple[Callable[[DatasetSpec, str], Mistakes], ...] = (
    _view_entity,
    _view_sources,
    _look_back,
    _view_name,
    _feature_names,
    _view_files,
)
