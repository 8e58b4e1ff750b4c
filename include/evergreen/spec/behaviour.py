"""`gates.behaviour` of `model.yaml`: what a model must do whatever it has learned."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from evergreen.spec.keyed import Name
from evergreen.spec.partial import Declared
from evergreen.spec.slices import Expression

MOST_TESTS = 50


class Behaviour(Declared):
    """A test of the best candidate's answers: of evaluation rows that are changed (`change`, `expect`), or of one row
    that is written down (`row`, `between`)."""

    name: Annotated[str, Field(pattern=r"^\w[\w ,.'/<>=%+-]{2,99}$")] = Field(description="what must hold, in words")
    change: dict[Name, Expression] = Field(
        default={},
        description=(
            "input → its other value, an expression of inputs in DuckDB's SQL, such as `failed_payments_28d + 2`"
        ),
    )
    where: Expression | None = Field(
        default=None, description="of which evaluation rows, as an expression; null: of all"
    )
    expect: Literal["same", "higher", "lower"] = Field(
        default="same",
        description=(
            "same: the answer does not move by more than the tolerance (invariance); higher, lower: it does not move "
            "the other way by more (direction)"
        ),
    )
    tolerance: Annotated[float, Field(ge=0)] = Field(default=0.0, description="in the unit of the answer")
    share: Annotated[float, Field(gt=0, le=1)] = Field(default=1.0, description="of the rows, for which it must hold")
    row: dict[Name, Any] = Field(
        default={}, description="input → value of a row that is written down; an input that is not named is missing"
    )
    between: tuple[float, float] | None = Field(
        default=None, description="the least and the greatest answer to that row (minimum functionality)"
    )
