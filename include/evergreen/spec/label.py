"""The label: what a model predicts, and from when its outcomes are known."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from evergreen.spec.business_value import BusinessValue
from evergreen.spec.durations import Duration
from evergreen.spec.keyed import Name
from evergreen.spec.partial import Declared, unsaid
from evergreen.spec.problem import MOST_CLASSES, LabelType, Problem, problem

# Of a class: clients, tables and pages show it as it is.
ClassName = Annotated[str, Field(pattern=r"^\w([\w .+/-]{0,38}\w)?$")]


class Known(Declared):
    """Outcomes that become known each at a moment of its own.

    Such an outcome is a label from that moment on, but not before its row has arrived. What is still open is counted,
    and is no label. The outcomes that are known soonest are not like the others, so training and gates use the newest
    predictions only from `label.horizon` after them, and ask for a share of them.
    """

    column: Name = Field(description="the moment from which an outcome is known, as the query returns it; null: open")
    within: Duration = Field(description="how long an outcome is waited for at most; whole intervals")
    share: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.9,
        description="least share of predictions with a known outcome, of those learned from and those evaluated on",
    )


class Label(Declared):
    """The outcome to predict; known `horizon` after the moment of prediction."""

    name: Name = Field(description="the column that the query returns beside the entity's key")
    type: LabelType = Field(
        default="binary",
        description="binary: 0 or 1, or false or true; numeric: any number; multiclass: the name of one of the classes",
    )
    classes: tuple[ClassName, ...] = Field(
        default=(),
        max_length=MOST_CLASSES,
        description="every value that a multiclass label may have, three or more",
    )
    horizon: Duration = Field(
        description=(
            "time from the prediction until label maturity, when the outcome is known; with `known`, when most are; "
            "whole intervals"
        )
    )
    known: Known | None = Field(
        default=None,
        exclude_if=unsaid(None),
        description="null: every outcome is known a horizon after its prediction",
    )
    sources: tuple[Name, ...] = Field(min_length=1, description="tables that the query reads")
    sql: str | None = Field(default=None, description="default label.sql")
    weight: Name | None = Field(
        default=None,
        exclude_if=unsaid(None),
        description=(
            "a column that the query returns too: how much each row counts, 0 or more, in fitting and in every metric "
            "(tuning, gates, reports, monitoring); never an input. Null: each row counts once"
        ),
    )

    threshold: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None,
        exclude_if=unsaid(None),
        description=(
            "of a binary label, the probability from which on a prediction counts as a yes: for the class that is "
            "answered, and for accuracy, precision, recall and f1. Null: with `business_value` it is chosen by each "
            "training, else it is 0.5"
        ),
    )
    business_value: BusinessValue | None = Field(
        default=None,
        exclude_if=unsaid(None),
        description="of a binary label, what a prediction is worth to the owner; null: no value is measured",
    )

    @property
    def longest(self) -> timedelta:
        """From the moment of a prediction until its outcome is known, at most."""
        return self.horizon if self.known is None else self.known.within

    @property
    def chooses_threshold(self) -> bool:
        """Whether each training chooses the operating threshold."""
        return self.business_value is not None and self.threshold is None

    @property
    def problem(self) -> Problem:
        """What follows from the kind of label."""
        return problem(self.type, self.classes, self.threshold, self.business_value)
