"""`gates.slices` of `model.yaml`: parts of the rows in which a candidate must do nearly as well as on the whole."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from evergreen.spec.partial import Declared

MOST_SLICES = 20  # expressions; each makes a slice per value
Expression = Annotated[str, Field(min_length=1, max_length=1000)]


class Slices(Declared):
    """Parts of the evaluation rows beside all of them: those of each value of a declared feature or expression, by the
    search metric, and the worst that can be found, by what the model did not foresee."""

    by: tuple[Expression, ...] = Field(
        default=(),
        max_length=MOST_SLICES,
        description=(
            "features and expressions of inputs in DuckDB's SQL, such as `plan` or `tenure_days < 30`: a slice of each "
            "value, of a number with many values of each quarter"
        ),
    )
    margin: Annotated[float, Field(ge=0)] = Field(
        default=0.1,
        description=(
            "how much worse than on all rows the search metric may be in a declared slice; one that is worse by more, "
            "beyond chance, fails the gate. By ROC AUC every slice of a telling feature is worse: its rows are alike"
        ),
    )
    minimum_rows: Annotated[int, Field(ge=10)] = Field(default=100, description="fewest rows of a slice")
    found_margin: Annotated[float, Field(ge=0)] | None = Field(
        default=None,
        description=(
            "the same of the worst slice that can be found among the values and quarters of each input, and of two "
            "inputs together, by mean loss: of classes in nats, beyond what the probabilities themselves foresee. What "
            "is found by chance alone is allowed for by how many were looked at. Null: none is looked for"
        ),
    )
