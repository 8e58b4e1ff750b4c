"""A model of datasets, put together with what it uses of them. Pure.

What it names of them becomes its `sources`, `features`, `entity` and days, as if its own folder declared them; what is
ambiguous or not there is a mistake.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from evergreen.calendar import Calendar
from evergreen.errors import SpecError
from evergreen.spec.dataset import DatasetSpec, Entity, FeatureView
from evergreen.spec.mistakes import FILE, Mistake, nearest, one_of
from evergreen.spec.partial import stated_or
from evergreen.spec.retention import ModelRetention, Retention
from evergreen.spec.schedule import Late, Schedule
from evergreen.spec.schema import ModelSpec, Tables, UsingModel

ALL = "*"
_OF_DATA = ("calendar", "first_day", "last_day", "sources", "features", "data", "references")  # said by all datasets
_OWN = (
    "model",
    "description",
    "owner",
    "request",
    "label",
    "split",
    "families",
    "search",
    "selection",
    "gates",
    "risk",
    "card",
    "refit",
    "calibrate",
    "rollout",
)


def resolved(
    model: UsingModel, datasets: Mapping[str, DatasetSpec | SpecError], known: Callable[[], list[str]]
) -> tuple[ModelSpec, list[Mistake]]:
    """The model with all that its datasets have for it, and the mistakes in what it names; it may be partial.

    `sources` are all that its label and request may name; `used` leaves those that they do.

    Args:
        datasets: each that its key `data` names and that is there.
        known: the names of all that are there, which a message needs; to find them, every folder is read.
    """
    mistakes = list(_unknown(model, datasets, known))
    whole = {name: each for name, each in datasets.items() if isinstance(each, DatasetSpec)}
    complete = bool(whole) and len(whole) == len(stated_or(model, "data", ()))
    lacking = len(mistakes)
    features, data = _features(model, whole, mistakes)
    lacking = len(mistakes) - lacking  # of what it names of the valid ones
    values = {name: model.__dict__[name] for name in (*_OWN, "monitoring") if name in model.__dict__}
    kept = Retention.model_construct(**model.__dict__.get("retention", ModelRetention()).__dict__)
    values |= {"schedule": _schedule(model), "retention": kept, "features": features, "data": data}
    values["sources"] = {
        source: whole[name].sources[source] for name, tables in data.items() for source in tables.sources
    }
    if whole:
        values["calendar"] = _calendar(whole, mistakes)
        last = [each.last_day for each in whole.values() if each.last_day is not None]
        values["first_day"] = max(each.first_day for each in whole.values())
        values["last_day"] = min(last, default=None)
        values |= _entities(model, whole, mistakes, complete=complete)
    # What a dataset that is wrong or not there would say, nobody knows; a default would state what a partial model
    # does not.
    unknown = {*UsingModel.model_fields} - values.keys() | ({*_OF_DATA} if not complete else set())
    merged = ModelSpec.model_construct(**values)
    for name in unknown | ({"features"} if lacking else set()):
        merged.__dict__.pop(name, None)
    return merged.with_datasets(whole).at(model.folder), mistakes


def _schedule(model: UsingModel) -> Schedule:
    """The model's, in the form of one that has data of its own."""
    stated = dict(model.schedule.__dict__) if "schedule" in model.__dict__ else {}
    if "late" in stated:
        stated["late"] = Late.model_construct(**stated["late"].__dict__)
    return Schedule.model_construct(**stated)


def used(spec: ModelSpec) -> ModelSpec:
    """The model without the sources that neither its label nor its request reads."""
    wanted = {*spec.label.sources, *spec.asking.sources}
    data = {
        name: tables.model_copy(update={"sources": tuple(each for each in tables.sources if each in wanted)})
        for name, tables in spec.data.items()
    }
    sources = {name: source for name, source in spec.sources.items() if name in wanted}
    return spec.model_copy(update={"sources": sources, "data": data})


def refused(dataset: str) -> Mistake:
    """A model's mistake: it uses a dataset that is not valid."""
    invalid = f"{dataset}, which has mistakes of its own"
    return Mistake(FILE, f"data.{dataset}", invalid, "a valid dataset", f"correct it: `evergreen check {dataset}`")


def _unknown(model: UsingModel, datasets: Mapping[str, object], known: Callable[[], list[str]]) -> Iterator[Mistake]:
    for name in stated_or(model, "data", ()):
        dataset = datasets.get(name)
        if dataset is None:
            there = known()
            fix = nearest(name, there, f"add the dataset {name}, or use one of those")
            yield Mistake(FILE, f"data.{name}", f"no dataset {name}", one_of(there), fix)
        elif isinstance(dataset, SpecError):
            yield refused(name)


def _features(
    model: UsingModel, whole: Mapping[str, DatasetSpec], mistakes: list[Mistake]
) -> tuple[dict[str, FeatureView], dict[str, Tables]]:
    """The views that a model uses, each with those of its features that it uses; and which dataset has which tables."""
    views: dict[str, FeatureView] = {}
    data: dict[str, Tables] = {}
    at: dict[str, str] = {}  # view or feature → the dataset that it is taken from
    sources = [source for each in whole.values() for source in each.sources]
    for name, dataset in whole.items():
        chosen = _chosen(name, model.data[name], dataset, mistakes)
        for view, features in chosen.items():
            for clashing in (view, *features):
                if at.setdefault(clashing, name) != name:
                    mistakes.append(_clash(name, clashing, at[clashing]))
            declared = dataset.features[view]
            entity = dataset.entity_of(view).name
            about = declared.entity if entity == stated_or(model, "entity", "") else entity
            kinds = {feature: kind for feature, kind in declared.features.items() if feature in features}
            views.setdefault(view, declared.model_copy(update={"entity": about, "features": kinds}))
        own = tuple(source for source in dataset.sources if sources.count(source) == 1)
        data[name] = Tables(sources=own, views=tuple(chosen))
    read = [*stated_or(model.label, "sources", ())] if "label" in model.__dict__ else []
    for source in dict.fromkeys(read + _read_by_request(model)):
        if sources.count(source) > 1:
            having = [name for name, each in whole.items() if source in each.sources]
            fix = f"rename {source} in one of the datasets, or leave one of them out"
            mistakes.append(
                Mistake(FILE, "data", f"{source}, of {' and of '.join(having)}", "one source of a name", fix)
            )
    return views, data


def _calendar(whole: Mapping[str, DatasetSpec], mistakes: list[Mistake]) -> Calendar:
    """How the time of all the datasets is divided: a model's loops follow its data's."""
    (first, calendar), *others = [(name, each.calendar) for name, each in whole.items()]
    for name, other in others:
        if other != calendar:
            allowed = f"datasets of one calendar: {first} has {calendar.name}"
            fix = f"use {first} or {name} alone, or give both the same calendar"
            mistakes.append(Mistake(FILE, f"data.{name}", f"{name}, whose interval is {other.name}", allowed, fix))
    return calendar


def _read_by_request(model: UsingModel) -> list[str]:
    request = stated_or(model, "request", None)
    return [] if request is None else [*stated_or(request, "sources", ())]


def _chosen(
    name: str, uses: tuple[str, ...], dataset: DatasetSpec, mistakes: list[Mistake]
) -> dict[str, tuple[str, ...]]:
    """View → the features of it that are used, in the dataset's order."""
    chosen: dict[str, set[str]] = {}
    for use in uses:
        view, _, feature = use.partition(".")
        if use == ALL:
            for each, declared in dataset.features.items():
                chosen.setdefault(each, set()).update(declared.features)
        elif view not in dataset.features:
            mistakes.append(_gone(name, f"no view {view}", dataset.features, view))
        elif feature and feature not in dataset.features[view].features:
            mistakes.append(_gone(name, f"no feature {feature} in {view}", dataset.features[view].features, feature))
        else:
            wanted = [feature] if feature else dataset.features[view].features
            chosen.setdefault(view, set()).update(wanted)
    return {
        view: tuple(each for each in declared.features if each in chosen[view])
        for view, declared in dataset.features.items()
        if view in chosen
    }


def _gone(dataset: str, missing: str, known: Mapping[str, object], name: str) -> Mistake:
    fix = nearest(name, known, f"use one of them, or declare {name} in {dataset}")
    return Mistake(FILE, f"data.{dataset}", f"{missing} of {dataset}", one_of(known), fix)


def _clash(dataset: str, name: str, other: str) -> Mistake:
    allowed = f"names that no other dataset of the model has: {other} has {name} too"
    fix = f"rename {name} in one of the two, or use single features of one: view.feature"
    return Mistake(FILE, f"data.{dataset}", name, allowed, fix)


def _entities(
    model: UsingModel, whole: Mapping[str, DatasetSpec], mistakes: list[Mistake], *, complete: bool
) -> dict[str, Any]:
    """The model's entity and references, as the datasets declare them; of those that are not `complete` another one may
    have what these lack."""
    known = {name: entity for each in reversed([*whole.values()]) for name, entity in each.entities.items()}
    for dataset in whole.values():
        for name, entity in dataset.entities.items():
            if entity != known[name]:
                declared = f"{name} by {entity.described} in {dataset.name}"
                allowed = f"{name} by {known[name].described}, as in the other datasets"
                fix = "use the same key and type, or name the entity differently"
                mistakes.append(Mistake(FILE, f"data.{dataset.name}", declared, allowed, fix))
    values: dict[str, Any] = {}
    entity = stated_or(model, "entity", None)
    if entity in known:
        values["entity"] = Entity.of(entity, known[entity])
    elif entity is not None and complete:
        fix = nearest(entity, known, "name one of them")
        mistakes.append(Mistake(FILE, "entity", entity, f"an entity of the datasets: {one_of(known)}", fix))
    references = stated_or(model, "references", ())
    for name in references:
        if name not in known and complete:
            fix = nearest(name, known, "name one of them")
            mistakes.append(Mistake(FILE, "references", name, f"entities of the datasets: {one_of(known)}", fix))
    values["references"] = {name: known[name] for name in references if name in known}
    return values
