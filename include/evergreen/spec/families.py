"""The families that a spec may name, and their tunable parameters: plain data, declared once for spec and training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Parameter:
    """The range that a study searches; whole numbers when `low` is an int.

    Attributes:
        low, high: the range, both ends included; equal when the value is fixed.
        log: sampled by its logarithm.
        least, most: what a spec may set at all; beyond them the estimator refuses the value or training never ends.
    """

    low: float
    high: float
    log: bool
    least: float
    most: float

    @property
    def whole(self) -> bool:
        """Whether the values are whole numbers."""
        return isinstance(self.low, int)


# Families that fit one kind of label only.
FOR_LABEL: dict[str, str] = {"logistic_regression": "binary", "ridge": "numeric"}

FAMILIES: dict[str, dict[str, Parameter]] = {
    "logistic_regression": {
        "C": Parameter(0.001, 100.0, log=True, least=1e-8, most=1e8),
    },
    "ridge": {
        "alpha": Parameter(0.001, 1000.0, log=True, least=1e-8, most=1e8),
    },
    "gradient_boosting": {
        "learning_rate": Parameter(0.02, 0.3, log=True, least=1e-4, most=1.0),
        "max_leaf_nodes": Parameter(4, 48, log=True, least=2, most=4096),
        "min_samples_leaf": Parameter(10, 200, log=True, least=1, most=1_000_000),
        "max_iter": Parameter(40, 200, log=False, least=1, most=10_000),
        "l2_regularization": Parameter(0.001, 10.0, log=True, least=0.0, most=1e6),
    },
    "mlp": {
        "units": Parameter(8, 64, log=True, least=1, most=4096),
        "layers": Parameter(1, 2, log=False, least=1, most=16),
        "learning_rate": Parameter(0.0005, 0.02, log=True, least=1e-7, most=1.0),
        "dropout": Parameter(0.0, 0.4, log=False, least=0.0, most=0.95),
        "epochs": Parameter(5, 15, log=False, least=1, most=1000),
        "batch_size": Parameter(64, 512, log=True, least=1, most=65_536),
    },
}


def space(family: str, overrides: Mapping[str, Any]) -> dict[str, Parameter]:
    """What to search for a family: the declared ranges with those that the spec overrides.

    Args:
        family: a name of `FAMILIES`.
        overrides: parameter → `[low, high]`, or one value that fixes it; checked by `spec.rules`.
    """
    return {name: _overridden(declared, overrides.get(name)) for name, declared in FAMILIES[family].items()}


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
            family: {
                "type": "object",
                "additionalProperties": False,
                "properties": {name: _json_schema(parameter) for name, parameter in parameters.items()},
            }
            for family, parameters in FAMILIES.items()
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
