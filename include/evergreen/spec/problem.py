"""The kind of label: what its values are, how a prediction looks and is judged, and which way each metric points. Pure.

Whatever depends on the kind of label stands in this module. Elsewhere `spec.problem` answers, and nobody looks at `label.type`.

Labels are arrays of one number per row. Predictions are arrays too, one number per row.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar, get_args

from evergreen.spec.kinds import KindName

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Labels = npt.NDArray[np.int64] | npt.NDArray[np.float64]
    Value = TypeVar("Value", float, npt.NDArray[np.float64])

LabelType = Literal["binary", "numeric"]
ClassBound = Literal["minimum_positives"]
MetricName = Literal["roc_auc", "average_precision", "log_loss", "brier", "rmse", "mae", "r2"]


@dataclass(frozen=True)
class Measure:
    """A metric as a spec names it: which way it points, and which bounds of it make sense (`model.metrics` computes it).

    Attributes:
        lower_is_better: it is a loss; a bound is then a ceiling, above 0.
        least: of one that is no loss, the smallest bound that a gate may have; the largest is below 1. None: any number.
        guessing: what `least` is to a reader.
        example: a bound to suggest.
        in_unit_of_label: the same loss is much for one label and nothing for another, so no default fits.
    """

    name: MetricName
    lower_is_better: bool = False
    least: float | None = 0.0
    guessing: str = ""
    example: float = 0.3
    in_unit_of_label: bool = False

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
        Measure("roc_auc", least=0.5, guessing=" (guessing)", example=0.7),
        Measure("average_precision"),
        Measure("log_loss", lower_is_better=True, example=0.5),
        Measure("brier", lower_is_better=True, example=0.5),
        Measure("rmse", lower_is_better=True, example=0.5, in_unit_of_label=True),
        Measure("mae", lower_is_better=True, example=0.5, in_unit_of_label=True),
        Measure("r2", least=None),
    )
}


class Problem(ABC):
    """What follows from the kind of a model's label.

    Attributes:
        kind: the label's type, as a spec writes it.
        metrics: what predictions are scored by; the first is the one to suggest.
        stored: the declared type that the label's column has in the lake; `made_of`: those that the label's query may return.
        described: a label, in words.
        answered: a prediction, in words.
        fewest_labels: so many different labels must a training set have.
        class_bound: the key of `gates` that says how many evaluation rows each class needs; None: there are no classes.
        method: how MLflow asks a fitted pipeline; `shape` is that of what it returns, rows first.
    """

    kind: ClassVar[LabelType]
    metrics: ClassVar[tuple[MetricName, ...]]
    stored: ClassVar[KindName]
    made_of: ClassVar[tuple[KindName, ...]]
    described: ClassVar[str]
    answered: ClassVar[str]
    fewest_labels: int = 2
    class_bound: ClassVar[ClassBound | None] = None
    method: ClassVar[Literal["predict", "predict_proba"]]
    shape: tuple[int, ...]

    @property
    @abstractmethod
    def values(self) -> tuple[int, ...] | None:
        """Every value that a label may have; None: any finite number."""

    @abstractmethod
    def labels(self, column: Any) -> Labels:
        """A column of stored labels, as models and metrics take them."""

    @abstractmethod
    def is_answer(self, predictions: Floats, rows: int) -> bool:
        """Whether these are predictions of so many rows that may be answered."""

    def baseline(self, learned: Labels, rows: int) -> Floats:
        """The trivial model's predictions for so many rows: what the rows that were learned from have on average."""
        import numpy as np

        return np.full(rows, learned.mean())

    @abstractmethod
    def rows_of_class(self, labels: Labels) -> dict[str, int] | None:
        """Class → rows; None: the label has no classes."""

    @abstractmethod
    def lacking(self, labels: Collection[float]) -> str | None:
        """What some rows lack to be learned from or scored on, in words; None: nothing.

        Args:
            labels: each different label of the rows once.
        """


@dataclass(frozen=True)
class Binary(Problem):
    """Yes or no: 1 or 0; a prediction is P(1)."""

    kind = "binary"
    metrics = ("roc_auc", "average_precision", "log_loss", "brier")
    stored = "int"
    made_of = ("bool", "int")
    described = "0 or 1 (or true, false)"
    answered = "a probability"
    class_bound = "minimum_positives"
    method = "predict_proba"
    shape = (-1, 2)

    @property
    def values(self) -> tuple[int, ...]:
        return (0, 1)

    def labels(self, column: Any) -> Labels:
        import numpy as np

        return np.asarray(column, np.int64)

    def is_answer(self, predictions: Floats, rows: int) -> bool:
        return predictions.shape == (rows,) and bool(((predictions >= 0.0) & (predictions <= 1.0)).all())

    def rows_of_class(self, labels: Labels) -> dict[str, int]:
        positives = int(labels.sum())
        return {"1": positives, "0": len(labels) - positives}

    def lacking(self, labels: Collection[float]) -> str | None:
        if not labels:
            return "no rows"
        missing = [value for value in self.values if value not in labels]
        return f"no row of class {missing[0]}" if missing else None


@dataclass(frozen=True)
class Numeric(Problem):
    """A number; so is a prediction."""

    kind = "numeric"
    metrics = ("rmse", "mae", "r2")
    stored = "float"
    made_of = ("float",)
    described = "a number"
    answered = "a number"
    method = "predict"
    shape = (-1,)

    @property
    def values(self) -> None:
        return None

    def labels(self, column: Any) -> Labels:
        import numpy as np

        return np.asarray(column, np.float64)

    def is_answer(self, predictions: Floats, rows: int) -> bool:
        import numpy as np

        return predictions.shape == (rows,) and bool(np.isfinite(predictions).all())

    def rows_of_class(self, labels: Labels) -> None:
        return None

    def lacking(self, labels: Collection[float]) -> str | None:
        if not labels:
            return "no rows"
        (only, *others) = labels
        return None if others else f"only the label {only:g}"


CLASS_BOUNDS: frozenset[str] = frozenset(get_args(ClassBound))
PROBLEMS: Mapping[LabelType, type[Problem]] = {problem.kind: problem for problem in (Binary, Numeric)}
