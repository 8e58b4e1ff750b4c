"""The metrics that a spec may name: which way each points, and which bounds of it make sense. Pure; `model.metrics`
computes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Value = TypeVar("Value", float, npt.NDArray[np.float64])

CalibrationMethod = Literal["sigmoid", "isotonic"]
MetricName = Literal[
    "roc_auc",
    "average_precision",
    "log_loss",
    "brier",
    "accuracy",
    "precision",
    "recall",
    "f1",
    "macro_precision",
    "macro_recall",
    "macro_f1",
    "expected_calibration_error",
    "business_value",
    "rmse",
    "mae",
    "r2",
    "median_absolute_error",
    "bias",
    "wape",
]


@dataclass(frozen=True)
class Measure:
    """A metric as a spec names it.

    Attributes:
        lower_is_better: it is a loss; a bound is then a ceiling, above 0.
        least: of one that is no loss, the smallest bound that a gate may have;
            the largest is below 1. None: any number.
        guessing: what `least` is to a reader.
        example: a bound to suggest.
        of_decisions: it looks at the class that is decided on, not at the probability (`Problem.decided`).
        chooses: a candidate may be chosen by it alone. By recall the best says yes to all; by the calibration error or
            the bias the best is the trivial one; the business value follows from a threshold that is chosen last.
        every_class: it has no value on rows that lack a class.
    """

    name: MetricName
    lower_is_better: bool = False
    least: float | None = 0.0
    guessing: str = ""
    example: float = 0.3
    of_decisions: bool = False
    chooses: bool = True
    every_class: bool = False

    def rank(self, value: Value) -> Value:
        """The value, or its negative: of two ranks the greater is better."""
        return -value if self.lower_is_better else value

    def gain(self, new: Value, old: Value) -> Value:
        """How much better `new` is than `old`; above 0 is better, whichever way the metric points."""
        return self.rank(new) - self.rank(old)

    def reaches(self, value: float, bound: float) -> bool:
        """Whether a value is at the bound or on its good side."""
        return self.rank(value) >= self.rank(bound)

    def allowed(self, bound: float) -> str | None:
        """Which bounds of a gate make sense, in words, where this one does not; else None."""
        if self.lower_is_better:
            return None if bound > 0 else "above 0: it is a ceiling, lower is better"
        if self.least is None or self.least <= bound < 1:
            return None
        return f"from {self.least:g}{self.guessing} to below 1"


MEASURES: Mapping[MetricName, Measure] = {
    measure.name: measure
    for measure in (
        Measure("roc_auc", least=0.5, guessing=" (guessing)", example=0.7, every_class=True),
        Measure("average_precision", every_class=True),
        Measure("log_loss", lower_is_better=True, example=0.5),
        Measure("brier", lower_is_better=True, example=0.5),
        Measure("accuracy", example=0.6, of_decisions=True),
        Measure("precision", example=0.5, of_decisions=True, chooses=False),
        Measure("recall", example=0.5, of_decisions=True, chooses=False),
        Measure("f1", example=0.5, of_decisions=True),
        Measure("macro_precision", example=0.5, of_decisions=True, chooses=False, every_class=True),
        Measure("macro_recall", example=0.5, of_decisions=True, every_class=True),
        Measure("macro_f1", example=0.5, of_decisions=True, every_class=True),
        Measure("expected_calibration_error", lower_is_better=True, example=0.1, chooses=False),
        Measure("business_value", least=None, example=0.0, of_decisions=True, chooses=False),
        Measure("rmse", lower_is_better=True, example=0.5),
        Measure("mae", lower_is_better=True, example=0.5),
        Measure("r2", least=None),
        Measure("median_absolute_error", lower_is_better=True, example=0.5),
        Measure("bias", lower_is_better=True, example=0.1, chooses=False),
        Measure("wape", lower_is_better=True, example=0.5),
    )
}
