"""What a spec's `families` may say: the parameters of each family, and what a study searches of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from evergreen.families import Family, FamilyUnusable, Parameter, Parameters, family, names


def usable() -> Iterator[tuple[str, Family]]:
    """Every family that can be used, with its name; ours first."""
    for name in names():
        try:
            yield name, family(name)
        except FamilyUnusable:
            continue


def space(name: str, overrides: Mapping[str, Any]) -> dict[str, Parameter]:
    """What to search for a family: the declared ranges with those that the spec overrides.

    Args:
        name: of a family that can be used.
        overrides: parameter → `[low, high]`, or one value that fixes it; checked by `spec.rules`.
    """
    return {
        parameter: _overridden(declared, overrides.get(parameter))
        for parameter, declared in family(name).parameters.items()
    }


def defaults(ranges: Mapping[str, Parameter]) -> Parameters:
    """The library's own values, each brought within its range."""
    return {name: parameter.nearest(parameter.default) for name, parameter in ranges.items()}


def _overridden(declared: Parameter, override: Any) -> Parameter:
    if override is None:
        return declared
    low, high = override if isinstance(override, list | tuple) else (override, override)
    number = int if declared.whole else float
    return replace(declared, low=number(low), high=number(high), log=declared.log and low < high)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a spec's `families`."""
    return {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": False,
        "properties": {
            name: {
                "type": "object",
                "additionalProperties": False,
                "properties": {parameter: _json_schema(each) for parameter, each in usable_family.parameters.items()},
            }
            for name, usable_family in usable()
        },
    }


def _json_schema(parameter: Parameter) -> dict[str, Any]:
    number = {
        "type": "integer" if parameter.whole else "number",
        "minimum": parameter.least,
        "maximum": parameter.most,
    }
    bounds = {"type": "array", "items": number, "minItems": 2, "maxItems": 2}
    return {"anyOf": [number, bounds], "default": [parameter.low, parameter.high]}
