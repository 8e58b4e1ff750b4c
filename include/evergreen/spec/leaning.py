"""`gates.noise` and `gates.leaks` of `model.yaml`: whether a candidate leans on what it will not have."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from evergreen.spec.partial import Declared


class Noise(Declared):
    """How much the search metric may lose when the inputs are a little wrong."""

    scale: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.05,
        description=(
            "the noise that is added to each number, in its standard deviations; and the share of the values of each "
            "other input that are taken from another row"
        ),
    )
    margin: Annotated[float, Field(ge=0)] = Field(
        description="the loss of the search metric that is too much; one beyond chance fails the gate"
    )


class Leaks(Declared):
    """Alarms for inputs that know what they should not."""

    alone: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=0.95,
        description=(
            "an input is too good to be true that alone has more than this share of what the candidate gains over the "
            "trivial answer, by the search metric; null: not looked for"
        ),
    )
    time: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=0.95,
        description=(
            "an input tells the time whose rank correlation with the moment of the prediction is stronger; a model "
            "learns from it which day it is, and each later day is new to it. Null: not looked for"
        ),
    )
    entities: Annotated[float, Field(ge=0, lt=1)] | None = Field(
        default=None,
        description=(
            "the share of evaluation rows whose entity was learned from too, at most; null: not looked for, since "
            "entities that are predicted again and again are in both parts"
        ),
    )
