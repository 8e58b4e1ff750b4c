"""What a family of models is, and which there are: ours, and those that installed packages bring.

A family is one class below `Family` and one entry point of the group
`evergreen.families`, whose name is what a spec writes:

    [project.entry-points."evergreen.families"]
    extra_trees = "our_company.trees:ExtraTrees"

Ours are made the same way; their entry points stand in `OURS` instead of in metadata. Specs are read where no heavy
library may be loaded (DAG parsing, `evergreen check`), so a family's module imports its libraries inside the methods
that need them.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any, ClassVar

from evergreen import packages
from evergreen.packages import Unusable

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator
    from sklearn.compose import ColumnTransformer

GROUP = "evergreen.families"
OURS = {
    name: EntryPoint(name, f"evergreen.model.estimators:{kind}", GROUP)
    for name, kind in {
        "logistic_regression": "LogisticRegression",
        "ridge": "Ridge",
        "random_forest": "RandomForest",
        "gradient_boosting": "GradientBoosting",
        "mlp": "MultilayerPerceptron",
    }.items()
}

Parameters = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A hyperparameter and the range that a study searches; whole numbers when `low` and `high` are ints.

    Attributes:
        low, high: the range, both ends included; equal when the value is fixed.
        default: the library's own value, which a study tries first; beyond the range, its
            nearest end is tried. `math.inf`: no limit.
        log: sampled by its logarithm.
        least, most: what a spec may set at all; beyond them the estimator refuses the value or training never ends.
    """

    low: float
    high: float
    default: float
    log: bool = False
    least: float
    most: float

    def __post_init__(self) -> None:
        if type(self.low) not in (int, float) or type(self.low) is not type(self.high):
            raise ValueError("low and high are either both whole numbers or both floats")
        if not self.least <= self.low <= self.high <= self.most:
            raise ValueError("least <= low <= high <= most does not hold")
        if self.log and self.low <= 0:
            raise ValueError("a range that is sampled by its logarithm begins above 0")
        if math.isnan(self.default):
            raise ValueError("the default is a number")

    @property
    def whole(self) -> bool:
        """Whether the values are whole numbers."""
        return isinstance(self.low, int)

    def nearest(self, value: float) -> float:
        """The value of the range that is nearest to `value`."""
        within = min(max(value, self.low), self.high)
        return round(within) if self.whole else float(within)


@dataclass(frozen=True)
class Columns:
    """The names of a model's inputs: numbers (float64, NaN where missing) and categories (text, None where missing)."""

    numbers: tuple[str, ...]
    categories: tuple[str, ...]


class Family(ABC):
    """A kind of estimator with its search space. A subclass has a constructor without arguments.

    Attributes:
        labels: the types of label that it fits, as a spec writes them: binary, numeric, …
        parameters: what a study searches, by the name that `estimator` takes.
        also: what a study tries after the defaults: parameters that are not as the library has them. A search of few
            trials finds by luck what stands here for sure.
        types: full names of the types that a saved model holds beside scikit-learn's public ones. Loading refuses all
            others, so a name here is code that a file from outside may run: nothing but what holds fitted numbers
            belongs here.
        renamed: full names of types as models of earlier releases hold them → today's names.
        weights: whether its estimator's `fit` takes `sample_weight`; a model with `label.weight` refuses the others.
    """

    labels: ClassVar[Sequence[str]]
    parameters: ClassVar[Mapping[str, Parameter]]
    also: ClassVar[Sequence[Mapping[str, float]]] = ()
    types: ClassVar[Sequence[str]] = ()
    renamed: ClassVar[Mapping[str, str]] = {}
    weights: ClassVar[bool] = False

    @abstractmethod
    def prepare(self, columns: Columns) -> ColumnTransformer:
        """What makes numbers without gaps of the inputs, unfitted; `evergreen.model.preparation` has two.

        Its transformer of the categories is called `category` and keeps `categories_`, as scikit-learn's encoders do:
        so the server counts what no model has seen.
        """

    @abstractmethod
    def estimator(self, label: str, parameters: Parameters, columns: Columns, seed: int) -> BaseEstimator:
        """An unfitted scikit-learn estimator for a kind of label; the same parameters and seed fit the same model.

        It takes what `prepare` makes of the inputs: the columns of its transformers in their order.
        """


class FamilyUnusable(Unusable):
    """A family that no spec can use; its text says why, after the family's name."""


def names() -> tuple[str, ...]:
    """The names of all families, ours first; nothing is imported.

    An installed family never takes the name of one of ours.
    """
    return (*OURS, *sorted(_installed()))


def family(name: str) -> Family:
    """The family of that name.

    Raises:
        FamilyUnusable: there is none, or its package does not bring one that can be used.
    """
    point = packages.only([OURS[name]] if name in OURS else _installed().get(name, []), FamilyUnusable)
    try:
        return _load(point)
    except Exception as error:
        raise packages.failed(point, FamilyUnusable, error) from error


def package(name: str) -> tuple[str, str] | None:
    """The installed distribution that brings a family, and its version; None: the family is
    ours, or its package has no metadata."""
    points = () if name in OURS else _installed().get(name, ())
    return next(((point.dist.name, point.dist.version) for point in points if point.dist), None)


def _installed() -> dict[str, list[EntryPoint]]:
    return packages.brought(GROUP, "family", (*OURS,))


@cache
def _load(point: EntryPoint) -> Family:
    kind = point.load()
    if not (isinstance(kind, type) and issubclass(kind, Family)):
        raise TypeError("no subclass of evergreen.families.Family")
    if isinstance(kind.labels, str) or not kind.labels:
        raise TypeError("labels are the types of label that it fits")
    if not all(name.isidentifier() and isinstance(each, Parameter) for name, each in kind.parameters.items()):
        raise TypeError("parameters are Parameters by their names")
    if not all(each.keys() <= kind.parameters.keys() for each in kind.also):
        raise TypeError("also has values of its parameters")
    if isinstance(kind.types, str) or not all(isinstance(each, str) for each in kind.types):
        raise TypeError("types are full names")
    return kind()
