"""Families, metrics, classes and gates."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from evergreen.families import FamilyUnusable, Parameter, family, names
from evergreen.spec.families import usable
from evergreen.spec.measures import MEASURES
from evergreen.spec.mistakes import one_of
from evergreen.spec.problem import CLASS_BOUNDS, LEAST_CLASSES
from evergreen.spec.rules.wording import Mistakes, mistake, repeated, unknown
from evergreen.spec.schema import ModelSpec


def _metrics(spec: ModelSpec) -> Mistakes:
    kind, known, choosing = spec.problem.kind, spec.problem.metrics, spec.problem.choosing
    if spec.search.metric not in choosing:
        why = ", by which no model is chosen" if spec.search.metric in known else f", of a {kind} label"
        yield mistake("search.metric", f"{spec.search.metric}{why}", one_of(choosing), f"write metric: {choosing[0]}")
    for metric in spec.gates.floor:
        if metric not in known and not (
            metric == "business_value" and kind == "binary"
        ):  # of which there is more to say
            yield mistake(
                f"gates.floor.{metric}", f"{metric}, of a {kind} label", one_of(known), f"write {known[0]}, for one"
            )
    for declared in spec.families:
        with suppress(FamilyUnusable):  # which `_family` tells
            if kind not in family(declared).labels:
                fitting = [name for name, usable_family in usable() if kind in usable_family.labels]
                unfit = f"{declared}, of a {kind} label"
                yield mistake(f"families.{declared}", unfit, one_of(fitting), f"use {fitting[0]}")
            if spec.label.weight is not None and not family(declared).weights:
                taking = [name for name, usable_family in usable() if usable_family.weights]
                unfit = f"{declared}, which takes no weights, beside label.weight"
                yield mistake(f"families.{declared}", unfit, one_of(taking), f"use {taking[0]}, or no label.weight")


def _classes(spec: ModelSpec) -> Mistakes:
    label = spec.label
    if label.type != "multiclass":
        if label.classes:
            allowed = f"nothing: a {label.type} label declares no classes"
            yield mistake("label.classes", ", ".join(label.classes), allowed, "remove it, or write type: multiclass")
    elif len(label.classes) < LEAST_CLASSES:
        classes = ", ".join(label.classes) or "nothing"
        allowed = f"at least {LEAST_CLASSES} classes, every value that the label may have"
        yield mistake("label.classes", classes, allowed, "name them all; a label of two classes is binary")
    else:
        yield from repeated("label.classes", label.classes)
    if label.type != "binary" and label.threshold is not None:
        allowed = f"nothing: a {label.type} label has no threshold"
        yield mistake("label.threshold", label.threshold, allowed, "remove it")
    if label.type != "binary" and spec.calibrate is not None:
        allowed = f"nothing: the probabilities of a binary label are calibrated, this one is {label.type}"
        yield mistake("calibrate", spec.calibrate, allowed, "remove it")


def _business_value(spec: ModelSpec) -> Mistakes:
    """What is right must be worth more than what is wrong, or no threshold is better than another."""
    label = spec.label
    value = label.business_value
    if value is None:
        if "business_value" in spec.gates.floor and label.type == "binary":
            bound = spec.gates.floor["business_value"]
            allowed = "a label that says what its predictions are worth (label.business_value)"
            yield mistake("gates.floor.business_value", bound, allowed, "state it, or remove this bound")
        return
    if label.type != "binary":
        allowed = f"nothing: it is of a binary label, this one is {label.type}"
        yield mistake("label.business_value", value.currency, allowed, "remove it")
        return
    for right, wrong in (("true_positive", "false_negative"), ("true_negative", "false_positive")):
        if getattr(value, right) <= getattr(value, wrong):
            allowed = f"more than {wrong} ({getattr(value, wrong):g}): else no model is of use"
            key = f"label.business_value.{right}"
            yield mistake(key, getattr(value, right), allowed, f"correct {right} or {wrong}")
    if label.chooses_threshold and spec.search.measure.of_decisions:
        found = f"{spec.search.metric}, whose threshold is chosen by label.business_value after the search"
        allowed = one_of(name for name in spec.problem.choosing if not MEASURES[name].of_decisions)
        yield mistake("search.metric", found, allowed, "write one of these, or state label.threshold")


def _rows_of_class(spec: ModelSpec) -> Mistakes:
    """A bound for each class belongs to a label with classes, and must leave room for them all."""
    gates, problem = spec.gates, spec.problem
    for key in sorted(CLASS_BOUNDS & gates.model_fields_set - {problem.class_bound}):
        allowed = f"nothing: a {problem.kind} label has no {'classes' if problem.class_bound is None else 'such bound'}"
        yield mistake(f"gates.{key}", getattr(gates, key), allowed, "remove it")
    bound, classes = gates.fewest_of_class(problem), problem.fewest_labels
    if classes * bound > gates.minimum_rows:
        part = "half" if classes == 2 else f"1/{classes}"
        allowed = f"at most {part} of gates.minimum_rows ({gates.minimum_rows}): it holds for each class"
        yield mistake(f"gates.{problem.class_bound}", bound, allowed, "lower it, or raise gates.minimum_rows")


def _family(spec: ModelSpec, name: str) -> Mistakes:
    if name not in names():
        otherwise = f"use {one_of(names())}, or install the package that brings it"
        yield unknown(f"families.{name}", name, names(), otherwise)
        return
    try:
        known = family(name).parameters
    except FamilyUnusable as error:
        whole = "a family that its package brings whole"
        yield mistake(f"families.{name}", f"{name}: {error}", whole, "mend or remove that package")
        return
    for parameter, override in spec.families[name].items():
        key = f"families.{name}.{parameter}"
        if parameter not in known:
            yield unknown(key, parameter, known, f"remove {parameter}")
        elif (allowed := _disallowed(known[parameter], override)) is not None:
            yield mistake(
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


def _floors(spec: ModelSpec) -> Mistakes:
    for metric, bound in spec.gates.floor.items():
        measure = MEASURES[metric]
        if (allowed := measure.allowed(bound)) is not None:
            yield mistake(f"gates.floor.{metric}", bound, allowed, f"write {measure.example:g}, for one")


def _selection(spec: ModelSpec) -> Mistakes:
    """What is selected from, and what is always kept."""
    selection = spec.selection
    if selection is None:
        return
    known = spec.feature_types
    if not spec.features:
        allowed = "nothing: the model has no feature, and inputs of the request are always taken"
        yield mistake("selection", "a selection", allowed, "remove it")
        return
    for name in selection.keep:
        if name not in known:
            yield unknown("selection.keep", name, known, f"remove {name}")
    yield from repeated("selection.keep", selection.keep)
    if selection.fewest > len(known):
        allowed = f"at most {len(known)}, the model's inputs"
        yield mistake("selection.fewest", selection.fewest, allowed, "lower it")


OF_SPEC: tuple[Callable[[ModelSpec], Mistakes], ...] = (
    _metrics,
    _classes,
    _business_value,
    _floors,
    _rows_of_class,
    _selection,
)
OF_ENTRIES: tuple[Callable[[ModelSpec, str], Mistakes], ...] = (_family,)
