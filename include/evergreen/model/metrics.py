"""Metrics by their spec's names, and the paired comparison of two models on the same rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn import metrics

from evergreen.spec.problem import MEASURES, LabelType, Measure, MetricName, Problem

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64] | npt.NDArray[np.float64]  # as `Problem.labels` makes them
Weighted = Callable[[Floats], Floats]  # weights, an array of resamples by rows → one value per resample

_CHUNK = 4_000_000  # weights held at once: 32 MB
_RESAMPLES_OF_A_DAY = 200  # enough for a bound at 2.5 %: the monitor draws as many each day


class Comparison(NamedTuple):
    """The gain of one model over another on the same rows, with its 95 % interval (NaN where it cannot be had)."""

    gain: float
    low: float
    high: float
    rows: int
    entities: int


class Loss(NamedTuple):
    """How much worse predictions are than a reference value says."""

    value: float  # of the metric, now; NaN where it is not defined
    drop: float  # below 0: it has improved
    beyond_chance: bool  # of 95 % of the resamples


@dataclass(frozen=True)
class Metric:
    """One metric of one kind of label.

    Attributes:
        measure: its name, and which way it points.
        function: labels and predictions of the same rows → its value; they are such that it is defined.
        weighted: the same of many weightings of the rows at once.
    """

    measure: Measure
    function: Callable[[Labels, Floats], float]
    weighted: Callable[[Labels, Floats], Weighted]

    @property
    def name(self) -> MetricName:
        """As a spec names it."""
        return self.measure.name

    def value(self, labels: Labels, predictions: Floats, weights: Floats | None = None) -> float:
        """The metric; NaN where it is not defined: labels that are all the same, predictions that are no numbers.

        Args:
            weights: how much each row counts; None: as much as any other.
        """
        if weights is not None:  # a row that does not count is none
            counts = weights > 0
            labels, predictions, weights = labels[counts], predictions[counts], weights[counts]
        if len(labels) == 0 or labels.min() == labels.max() or not np.isfinite(predictions).all():
            return float("nan")
        if weights is None:
            return self.function(labels, predictions)
        with np.errstate(invalid="ignore", divide="ignore"):  # without a row of some class
            return float(self.weighted(labels, predictions)(weights[None, :])[0])

    def compare(
        self,
        labels: Labels,
        new: Floats,
        old: Floats,
        entities: npt.NDArray[np.object_],
        *,
        weights: Floats | None = None,
        seed: int = 0,
        resamples: int = 1000,
    ) -> Comparison:
        """Paired bootstrap over entities: the rows of one entity are alike, so whole
        entities are drawn, the same for both models.

        Args:
            labels, new, old, entities: one of each per row: the outcome, the two models' predictions, whose row it is.
            weights: how much each row counts; None: as much as any other.
        """
        names, index = np.unique(entities, return_inverse=True)
        observed = self.measure.gain(self.value(labels, new, weights), self.value(labels, old, weights))
        random = np.random.default_rng(seed)
        of_new, of_old = self.weighted(labels, new), self.weighted(labels, old)
        gains: list[Floats] = []
        step = max(1, _CHUNK // len(labels))
        for start in range(0, resamples, step):
            count = min(step, resamples - start)
            drawn = random.multinomial(len(names), np.full(len(names), 1 / len(names)), size=count)
            times = drawn[:, index].astype(np.float64)
            times = times if weights is None else times * weights
            with np.errstate(invalid="ignore"):  # a resample of one class only has no value, and is left out
                gains.append(self.measure.gain(of_new(times), of_old(times)))
        drawn_gains = np.concatenate(gains)
        defined = drawn_gains[np.isfinite(drawn_gains)]
        low, high = np.percentile(defined, [2.5, 97.5]) if len(defined) else (float("nan"), float("nan"))
        return Comparison(observed, float(low), float(high), len(labels), len(names))

    def loss(
        self, labels: Labels, predictions: Floats, reference: float, *, weights: Floats | None = None, seed: int = 0
    ) -> Loss:
        """How far the metric has fallen below a value that it had on other rows, by a bootstrap over rows."""
        value = self.value(labels, predictions, weights)
        if not np.isfinite(value):
            return Loss(value, float("nan"), False)
        random, drops = np.random.default_rng(seed), []
        for _ in range(_RESAMPLES_OF_A_DAY):
            rows = random.integers(len(labels), size=len(labels))
            part = weights if weights is None else weights[rows]
            drops.append(self.measure.gain(reference, self.value(labels[rows], predictions[rows], part)))
        defined = [drop for drop in drops if np.isfinite(drop)]
        beyond_chance = bool(defined) and float(np.percentile(defined, 2.5)) > 0
        return Loss(value, self.measure.gain(reference, value), beyond_chance)


def metric(problem: Problem, name: MetricName) -> Metric:
    """A metric of a kind of label."""
    return _METRICS[problem.kind][name]


def score(
    problem: Problem, labels: Labels, predictions: Floats, weights: Floats | None = None
) -> dict[MetricName, float]:
    """Every metric of a kind of label; NaN where it is not defined."""
    return {name: metric(problem, name).value(labels, predictions, weights) for name in problem.metrics}


def _mean_of(loss: Callable[[Labels, Floats], Floats]) -> Callable[[Labels, Floats], Weighted]:
    """Of a metric that is the mean of one loss per row."""

    def weighted(labels: Labels, predictions: Floats) -> Weighted:
        losses = loss(labels, predictions)
        return lambda weights: (weights @ losses) / weights.sum(axis=1)

    return weighted


def _log_losses(labels: Labels, predictions: Floats) -> Floats:
    tiny = np.finfo(np.float64).eps
    clipped = np.clip(predictions, tiny, 1 - tiny)
    losses: Floats = -np.log(np.where(labels == 1, clipped, 1 - clipped))
    return losses


def _squares(labels: Labels, predictions: Floats) -> Floats:
    squares: Floats = (predictions - labels) ** 2
    return squares


def _log_losses_of_classes(labels: Labels, predictions: Floats) -> Floats:
    """Of the class that it was; probabilities are kept away from 0 and 1, as scikit-learn does."""
    tiny = np.finfo(np.float64).eps
    losses: Floats = -np.log(np.clip(predictions[np.arange(len(labels)), labels.astype(np.int64)], tiny, 1 - tiny))
    return losses


def _hits(labels: Labels, predictions: Floats) -> Floats:
    """1 where the likeliest class is the right one, else 0."""
    hits: Floats = (predictions.argmax(axis=1) == labels).astype(np.float64)
    return hits


def _over_classes(weighted: Callable[[Labels, Floats], Weighted]) -> Callable[[Labels, Floats], Weighted]:
    """The plain mean, over the classes, of a metric of two classes: each class against all others."""

    def over_classes(labels: Labels, predictions: Floats) -> Weighted:
        of_each = [
            weighted((labels == place).astype(np.int64), predictions[:, place]) for place in range(predictions.shape[1])
        ]
        return lambda weights: np.asarray(np.mean([of_class(weights) for of_class in of_each], axis=0))

    return over_classes


def _weighted_f1(labels: Labels, chosen: Floats) -> Weighted:
    """F1 of one class: `labels` and `chosen` are 1 where a row is of the class, and where it is taken for it. Without
    rows of the class it has no value."""

    def of(weights: Floats) -> Floats:
        rows = weights @ labels
        return np.where(rows > 0, 2 * (weights @ (labels * chosen)) / (rows + weights @ chosen), np.nan)

    return of


def _chosen(weighted: Callable[[Labels, Floats], Weighted]) -> Callable[[Labels, Floats], Weighted]:
    """Of predictions that are 1 for the likeliest class and 0 for the others."""

    def of_chosen(labels: Labels, predictions: Floats) -> Weighted:
        likeliest = predictions.argmax(axis=1)[:, None] == np.arange(predictions.shape[1])
        return weighted(labels, likeliest.astype(np.float64))

    return of_chosen


def _of_all_rows(weighted: Callable[[Labels, Floats], Weighted]) -> Callable[[Labels, Floats], float]:
    """The metric of the rows as they are: each once."""

    def of(labels: Labels, predictions: Floats) -> float:
        with np.errstate(invalid="ignore", divide="ignore"):  # without a row of some class
            return float(weighted(labels, predictions)(np.ones((1, len(labels))))[0])

    return of


def _ranked(area: Callable[[Floats, Floats], Floats]) -> Callable[[Labels, Floats], Weighted]:
    """Of a metric that looks at the order of the predictions.

    Args:
        area: hits and false alarms at each threshold, both resamples by thresholds → one value per resample.
    """

    def weighted(labels: Labels, predictions: Floats) -> Weighted:
        # Sorted once, best first; equal predictions are told apart by no threshold,
        # so sums count at the end of each tie.
        order = np.argsort(-predictions, kind="stable")
        positive = labels[order] == 1
        ends = np.flatnonzero(np.append(np.diff(predictions[order]) != 0, True))

        def of(weights: Floats) -> Floats:
            weights = weights[:, order]
            hits = np.cumsum(weights * positive, axis=1)[:, ends]
            alarms = np.cumsum(weights * ~positive, axis=1)[:, ends]
            return area(hits, alarms)

        return of

    return weighted


def _area_under_roc(hits: Floats, alarms: Floats) -> Floats:
    more_hits, more_alarms = np.diff(hits, prepend=0.0), np.diff(alarms, prepend=0.0)
    area: Floats = ((hits - more_hits / 2) * more_alarms).sum(axis=1) / (hits[:, -1] * alarms[:, -1])
    return area


def _average_precision(hits: Floats, alarms: Floats) -> Floats:
    taken = hits + alarms
    precision = hits / np.where(taken > 0, taken, 1.0)
    average: Floats = (precision * np.diff(hits, prepend=0.0)).sum(axis=1) / hits[:, -1]
    return average


def _weighted_rmse(labels: Labels, predictions: Floats) -> Weighted:
    of_squares = _mean_of(_squares)(labels, predictions)
    return lambda weights: np.asarray(np.sqrt(of_squares(weights)))


def _weighted_r2(labels: Labels, predictions: Floats) -> Weighted:
    of_squares = _mean_of(_squares)(labels, predictions)

    def of(weights: Floats) -> Floats:
        total = weights.sum(axis=1)
        variance = weights @ labels**2 / total - (weights @ labels / total) ** 2
        return np.asarray(1 - of_squares(weights) / variance)

    return of


def _by_name(
    functions: Mapping[MetricName, tuple[Callable[..., float], Callable[[Labels, Floats], Weighted]]],
) -> dict[MetricName, Metric]:
    def plain(function: Callable[..., float]) -> Callable[[Labels, Floats], float]:
        return lambda labels, predictions: float(function(labels, predictions))

    return {name: Metric(MEASURES[name], plain(of), weighted) for name, (of, weighted) in functions.items()}


_OF_CLASSES: Mapping[MetricName, Callable[[Labels, Floats], Weighted]] = {
    "roc_auc": _over_classes(_ranked(_area_under_roc)),
    "log_loss": _mean_of(_log_losses_of_classes),
    "accuracy": _mean_of(_hits),
    "macro_f1": _chosen(_over_classes(_weighted_f1)),
}
_METRICS: Mapping[LabelType, Mapping[MetricName, Metric]] = {
    "binary": _by_name(
        {
            "roc_auc": (metrics.roc_auc_score, _ranked(_area_under_roc)),
            "average_precision": (metrics.average_precision_score, _ranked(_average_precision)),
            "log_loss": (metrics.log_loss, _mean_of(_log_losses)),
            "brier": (metrics.brier_score_loss, _mean_of(_squares)),
        }
    ),
    "numeric": _by_name(
        {
            "rmse": (metrics.root_mean_squared_error, _weighted_rmse),
            "mae": (metrics.mean_absolute_error, _mean_of(lambda labels, predictions: np.abs(predictions - labels))),
            "r2": (metrics.r2_score, _weighted_r2),
        }
    ),
    # scikit-learn refuses rows in which a class is missing. Here such a metric
    # has no value, or does not need the class.
    "multiclass": _by_name({name: (_of_all_rows(weighted), weighted) for name, weighted in _OF_CLASSES.items()}),
}
