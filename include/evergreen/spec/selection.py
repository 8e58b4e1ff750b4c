"""`selection` of `model.yaml`: whether each family leaves out the features that it does not need."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from evergreen.spec.keyed import Name
from evergreen.spec.partial import Declared

if TYPE_CHECKING:
    from evergreen.spec.schema import ModelSpec


class Selection(Declared):
    """Backward elimination by permutation importance, on the time folds of the learning rows: a feature is left out
    whose importance is not surely above 0, as long as the others are as good without it."""

    loss: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.01,
        description=(
            "the share of the gain over the trivial answer, by the search metric on the time folds, that may be lost "
            "by all that is left out"
        ),
    )
    fewest: Annotated[int, Field(ge=1)] = Field(default=1, description="fewest inputs that are taken")
    keep: tuple[Name, ...] = Field(default=(), description="features that are always taken")


def kept(spec: ModelSpec) -> dict[str, str]:
    """Input → why it is always taken.

    What clients send is their interface, and what the monitor is asked to look at by name must stand in every answer's
    record.
    """
    always = dict.fromkeys(spec.asking.inputs, "clients send it (request.inputs)")
    fairness, baseline = spec.gates.fairness, spec.gates.baseline
    by_name = {"gates.fairness": fairness.by if fairness else (), "gates.baseline": (baseline,) if baseline else ()}
    for key, texts in by_name.items():
        named = {word.lower() for text in texts for word in re.findall(r"\w+", text)}
        always |= {name: f"the monitor looks at it ({key})" for name in spec.stored_types if name.lower() in named}
    return always | dict.fromkeys(spec.selection.keep if spec.selection else (), "the spec keeps it (selection.keep)")
