"""`gates.fairness` of `model.yaml`: how alike groups of people are decided on."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from evergreen.spec.partial import Declared
from evergreen.spec.slices import Expression


class Fairness(Declared):
    """The groups of each protected attribute, by the class that the model answers with. The numbers are those of
    `fairlearn`; each that has a bound is a gate. The monitor looks at live answers by the same bounds."""

    by: tuple[Expression, ...] = Field(
        min_length=1,
        max_length=10,
        description="protected attributes: features, or expressions of inputs in DuckDB's SQL; a group of each value",
    )
    demographic_parity: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None,
        description="greatest difference of the share of yes between two groups; null: told, and no gate",
    )
    equalised_odds: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None,
        description=(
            "greatest difference between two groups of the share of yes among those for whom it is right, or among "
            "those for whom it is wrong; null: told, and no gate"
        ),
    )
    disparate_impact: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=0.8,
        description="least ratio of the shares of yes of two groups (the rule of four fifths); null: told, and no gate",
    )
    minimum_rows: Annotated[int, Field(ge=10)] = Field(
        default=100, description="fewest rows of a group; smaller ones are left out"
    )
