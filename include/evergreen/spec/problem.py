"""The kind of label: what its values are, how a prediction looks and is judged, and which way each metric points. Pure.

Whatever depends on the kind of label stands in this module. Elsewhere `spec.problem`
answers, and nobody looks at `label.type`.

Labels are arrays of one number per row: of a label with classes the class's place among them. Predictions are arrays of
one number per row, or where there are more than two classes of rows by classes. An *answer* is one prediction as
clients get it and artifacts hold it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from evergreen.spec.business_value import BusinessValue
from evergreen.spec.columns import OF_CLASS, PREDICTION
from evergreen.spec.kinds import KindName
from evergreen.spec.measures import MEASURES, MetricName

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    Floats = npt.NDArray[np.float64]
    Labels = npt.NDArray[np.int64] | npt.NDArray[np.float64]

LabelType = Literal["binary", "numeric", "multiclass"]
ClassBound = Literal["minimum_positives", "minimum_per_class"]
Answer = float | dict[str, float]  # a number, or class → probability
LEAST_CLASSES, MOST_CLASSES = 3, 50
_OF_BINARY: tuple[MetricName, ...] = (
    "roc_auc",
    "average_precision",
    "log_loss",
    "brier",
    "accuracy",
    "precision",
    "recall",
    "f1",
    "expected_calibration_error",
)


class Problem(ABC):
    """What follows from the kind of a model's label.

    Attributes:
        kind: the label's type, as a spec writes it.
        stored: the declared type that the label's column has in the lake; `made_of`:
            those that the label's query may return.
        class_bound: the key of `gates` that says how many evaluation rows each class needs; None: there are no classes.
        method: how MLflow asks a fitted pipeline.
        by_class: a prediction is a probability per class, and no single number.
    """

    kind: ClassVar[LabelType]
    stored: ClassVar[KindName]
    made_of: ClassVar[tuple[KindName, ...]]
    class_bound: ClassVar[ClassBound | None] = None
    method: ClassVar[Literal["predict", "predict_proba"]]
    by_class: ClassVar[bool] = False

    @property
    @abstractmethod
    def metrics(self) -> tuple[MetricName, ...]:
        """What predictions are scored by; the first is the one to suggest."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The shape of what `method` returns; the rows are -1."""

    @property
    @abstractmethod
    def described(self) -> str:
        """A label, in words."""

    @property
    @abstractmethod
    def answered(self) -> str:
        """A prediction, in words."""

    @property
    @abstractmethod
    def values(self) -> tuple[int, ...] | tuple[str, ...] | None:
        """Every value that a label may have; None: any finite number."""

    @property
    def choosing(self) -> tuple[MetricName, ...]:
        """The metrics that candidates may be chosen by."""
        return tuple(name for name in self.metrics if MEASURES[name].chooses)

    @property
    def fewest_labels(self) -> int:
        """So many different labels must a training set have."""
        return 2

    @property
    def outputs(self) -> tuple[str, ...]:
        """The columns that hold predictions in a table of rows."""
        return (PREDICTION,)

    @abstractmethod
    def labels(self, column: Any) -> Labels:
        """A column of stored labels, as models and metrics take them."""

    def answers(self, predictions: Floats) -> list[Answer]:
        """Predictions, as clients get them."""
        return list(predictions.tolist())

    def predictions(self, answers: Sequence[Any]) -> Floats:
        """Predictions out of answers; of a model with other classes too."""
        import numpy as np

        return np.asarray(answers, np.float64)

    def of(self, other: Problem, predictions: Floats) -> Floats:
        """The predictions of a model that learned another problem, as this one's.

        Raises:
            ValueError: its label was of another kind.
        """
        if other.kind != self.kind:
            raise ValueError(f"it predicts a {other.kind} label, and the label is {self.kind} now")
        return predictions if other == self else self.predictions(other.answers(predictions))

    def columns(self, predictions: Floats) -> dict[str, Floats]:
        """The predictions by `outputs`."""
        return {PREDICTION: predictions}

    def of_columns(self, frame: pd.DataFrame) -> Floats:
        """The predictions in a table that has the columns `outputs`."""
        return frame[PREDICTION].to_numpy("float64")

    def decided(self, predictions: Floats) -> Floats:
        """What is decided on, of a label with classes: 1 or 0; of several classes 1 for the likeliest, else 0."""
        raise NotImplementedError(f"a {self.kind} label decides on no class")

    def at(self, threshold: float | None) -> Problem:
        """The same with the operating threshold of a version; None: it has none of its own."""
        return self

    def classes_of(self, predictions: Floats) -> list[int] | list[str] | None:
        """The class that is answered beside each prediction; None: the label has no classes."""
        return None

    @abstractmethod
    def is_answer(self, predictions: Floats, rows: int) -> bool:
        """Whether these are predictions of so many rows that may be answered."""

    def baseline(self, learned: Labels, rows: int, weights: Floats | None = None) -> Floats:
        """The trivial model's predictions for so many rows: what the rows that were learned from have on average."""
        import numpy as np

        return np.full(rows, np.average(learned, weights=weights))

    def stated(self, values: Sequence[Any]) -> Floats:
        """The predictions that a baseline of one's own states, a number each; of several classes their names.

        Raises:
            ValueError: one of them can be no prediction.
        """
        import numpy as np

        return np.asarray(values, np.float64)

    def rows_of_class(self, labels: Labels) -> dict[str, int] | None:
        """Class → rows; None: the label has no classes."""
        return None

    def lacking(self, labels: Collection[float]) -> str | None:
        """What some rows lack to be learned from or scored on, in words; None: nothing.

        Args:
            labels: each different label of the rows once, as `labels` makes them.
        """
        if not labels:
            return "no rows"
        missing = [str(value) for place, value in enumerate(self.values or ()) if place not in labels]
        return f"no row of class {', '.join(missing)}" if missing else None


@dataclass(frozen=True)
class Binary(Problem):
    """Yes or no: 1 or 0; a prediction is P(1).

    Attributes:
        threshold: the probability from which on a decision is 1.
        value: what predictions are worth to the owner.
    """

    threshold: float = field(default=0.5, compare=False)  # what is predicted does not depend on either
    value: BusinessValue | None = field(default=None, compare=False)

    kind = "binary"

    stored = "int"
    made_of = ("bool", "int")
    described = "0 or 1 (or true, false)"
    answered = "a probability"
    class_bound = "minimum_positives"
    method = "predict_proba"
    shape = (-1, 2)
    values = (0, 1)

    @property
    def metrics(self) -> tuple[MetricName, ...]:
        return _OF_BINARY if self.value is None else (*_OF_BINARY, "business_value")

    def labels(self, column: Any) -> Labels:
        import numpy as np

        return np.asarray(column, np.int64)

    def at(self, threshold: float | None) -> Problem:
        return self if threshold is None else replace(self, threshold=threshold)

    def classes_of(self, predictions: Floats) -> list[int]:
        return [int(each) for each in (predictions >= self.threshold).tolist()]

    def decided(self, predictions: Floats) -> Floats:
        import numpy as np

        return (predictions >= self.threshold).astype(np.float64)

    def is_answer(self, predictions: Floats, rows: int) -> bool:
        if rows <= 20:  # in less time than NumPy takes to begin
            return predictions.shape == (rows,) and all(0.0 <= each <= 1.0 for each in predictions.tolist())
        return predictions.shape == (rows,) and bool(((predictions >= 0.0) & (predictions <= 1.0)).all())

    def stated(self, values: Sequence[Any]) -> Floats:
        probabilities = super().stated(values)
        if outside := sorted({each for each in probabilities.tolist() if not 0 <= each <= 1}):
            raise ValueError(f"{outside[0]:g}, which is no probability")
        return probabilities

    def rows_of_class(self, labels: Labels) -> dict[str, int]:
        positives = int(labels.sum())
        return {"1": positives, "0": len(labels) - positives}


@dataclass(frozen=True)
class Numeric(Problem):
    """A number; so is a prediction."""

    kind = "numeric"
    metrics = ("rmse", "mae", "r2", "median_absolute_error", "bias", "wape")
    stored = "float"
    made_of = ("float",)
    described = "a number"
    answered = "a number"
    method = "predict"
    shape = (-1,)
    values = None

    def labels(self, column: Any) -> Labels:
        import numpy as np

        return np.asarray(column, np.float64)

    def is_answer(self, predictions: Floats, rows: int) -> bool:
        import numpy as np

        return predictions.shape == (rows,) and bool(np.isfinite(predictions).all())

    def lacking(self, labels: Collection[float]) -> str | None:
        if len(labels) != 1:
            return super().lacking(labels)
        (only,) = labels
        return f"only the label {only:g}"


@dataclass(frozen=True)
class Multiclass(Problem):
    """One of several classes; a prediction is a probability of each, which sum to 1."""

    classes: tuple[str, ...]

    kind = "multiclass"
    metrics = (
        "roc_auc",
        "log_loss",
        "accuracy",
        "macro_precision",
        "macro_recall",
        "macro_f1",
        "expected_calibration_error",
    )
    stored = "string"
    made_of = ("string",)
    class_bound = "minimum_per_class"
    method = "predict_proba"
    by_class = True

    @property
    def shape(self) -> tuple[int, ...]:
        return (-1, len(self.classes))

    @property
    def described(self) -> str:
        return f"one of the classes {', '.join(self.classes)}"

    @property
    def answered(self) -> str:
        return f"a probability of each of {', '.join(self.classes)}"

    @property
    def values(self) -> tuple[str, ...]:
        return self.classes

    @property
    def fewest_labels(self) -> int:
        return len(self.classes)

    @property
    def outputs(self) -> tuple[str, ...]:
        return tuple(f"{OF_CLASS}{name}" for name in self.classes)

    def labels(self, column: Any) -> Labels:
        """Raises ValueError on a label that is none of the classes."""
        import numpy as np

        places = {name: place for place, name in enumerate(self.classes)}
        unknown = sorted({str(name) for name in column} - places.keys())
        if unknown:
            raise ValueError(f"labels {', '.join(unknown)}, which are not among {', '.join(self.classes)}")
        return np.array([places[name] for name in column], np.int64)

    def answers(self, predictions: Floats) -> list[Answer]:
        return [dict(zip(self.classes, row, strict=True)) for row in predictions.tolist()]

    def predictions(self, answers: Sequence[Any]) -> Floats:
        """By the classes' names: one that the answering model did not know has probability 0."""
        import numpy as np

        shares = np.array([[answer.get(name, 0.0) for name in self.classes] for answer in answers], np.float64)
        shares = shares.reshape(len(answers), len(self.classes))
        total = shares.sum(axis=1, keepdims=True)
        known = np.where(total > 0, total, 1.0)
        return np.where(total > 0, shares / known, 1 / len(self.classes))

    def decided(self, predictions: Floats) -> Floats:
        import numpy as np

        chosen: Floats = np.eye(len(self.classes))[predictions.argmax(axis=1)]
        return chosen

    def classes_of(self, predictions: Floats) -> list[str]:
        return [self.classes[place] for place in predictions.argmax(axis=1).tolist()]

    def columns(self, predictions: Floats) -> dict[str, Floats]:
        return {name: predictions[:, place] for place, name in enumerate(self.outputs)}

    def of_columns(self, frame: pd.DataFrame) -> Floats:
        return frame[list(self.outputs)].to_numpy("float64")

    def is_answer(self, predictions: Floats, rows: int) -> bool:
        import numpy as np

        if predictions.shape != (rows, len(self.classes)) or not ((predictions >= 0.0) & (predictions <= 1.0)).all():
            return False
        return bool(np.allclose(predictions.sum(axis=1), 1.0, atol=1e-6))

    def baseline(self, learned: Labels, rows: int, weights: Floats | None = None) -> Floats:
        import numpy as np

        counts = np.bincount(learned.astype(np.int64), weights, minlength=len(self.classes))
        return np.tile(counts / counts.sum(), (rows, 1))

    def stated(self, values: Sequence[Any]) -> Floats:
        import numpy as np

        return np.eye(len(self.classes))[self.labels(values)]

    def rows_of_class(self, labels: Labels) -> dict[str, int]:
        return {name: int((labels == place).sum()) for place, name in enumerate(self.classes)}


def problem(
    kind: LabelType,
    classes: tuple[str, ...] = (),
    threshold: float | None = None,
    value: BusinessValue | None = None,
) -> Problem:
    """What follows from a kind of label, its classes, and of a binary one its threshold; None: where a yes breaks even
    by its value, or 0.5."""
    if kind == "multiclass":
        return Multiclass(classes)
    if kind == "numeric":
        return Numeric()
    otherwise = 0.5 if value is None else value.break_even
    return Binary(otherwise if threshold is None else threshold, value)


CLASS_BOUNDS: frozenset[str] = frozenset(get_args(ClassBound))
