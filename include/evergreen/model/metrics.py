"""Metrics by their spec's names, and the paired comparison of two models on the same rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    log_loss,
    mean_absolute_error,
    r2_score,
    roc_auc_score,
    root_mean_squared_error,
)

from evergreen.spec.schema import LOWER_IS_BETTER, METRICS_OF, LabelType, Metric

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64] | npt.NDArray[np.float64]  # 0 or 1, or numbers

METRICS: dict[Metric, Callable[[Labels, Floats], float]] = {
    "roc_auc": lambda labels, predictions: float(roc_auc_score(labels, predictions)),
    "average_precision": lambda labels, predictions: float(average_precision_score(labels, predictions)),
    "log_loss": lambda labels, predictions: float(log_loss(labels, predictions, labels=[0, 1])),
    "brier": lambda labels, predictions: float(brier_score_loss(labels, predictions)),
    "rmse": lambda labels, predictions: float(root_mean_squared_error(labels, predictions)),
    "mae": lambda labels, predictions: float(mean_absolute_error(labels, predictions)),
    "r2": lambda labels, predictions: float(r2_score(labels, predictions)),
}
_CHUNK = 4_000_000  # weights held at once: 32 MB


def score(labels: Labels, predictions: Floats, kind: LabelType = "binary") -> dict[Metric, float]:
    """Every metric of a kind of label; NaN where it is not defined: labels that are all the same, predictions that are no numbers."""
    if len(labels) == 0 or labels.min() == labels.max() or not np.isfinite(predictions).all():
        return dict.fromkeys(METRICS_OF[kind], float("nan"))
    return {name: METRICS[name](labels, predictions) for name in METRICS_OF[kind]}


def gain(metric: Metric, new: float, old: float) -> float:
    """How much better `new` is than `old`: positive is better, whichever way the metric points."""
    return old - new if metric in LOWER_IS_BETTER else new - old


class Comparison(NamedTuple):
    """The gain of one model over another on the same rows, with its 95 % interval (NaN where it cannot be had)."""

    gain: float
    low: float
    high: float
    rows: int
    entities: int


def compare(
    metric: Metric,
    labels: Labels,
    new: Floats,
    old: Floats,
    entities: npt.NDArray[np.object_],
    *,
    seed: int = 0,
    resamples: int = 1000,
) -> Comparison:
    """Paired bootstrap over entities: the rows of one entity are alike, so whole entities are drawn, the same for both models.

    Args:
        labels, new, old, entities: one value per row: the outcome, the two models' predictions, whose row it is.
    """
    names, index = np.unique(entities, return_inverse=True)
    observed = gain(metric, METRICS[metric](labels, new), METRICS[metric](labels, old))
    random = np.random.default_rng(seed)
    resample_new, resample_old = (_resampled(metric, labels, predictions) for predictions in (new, old))
    gains: list[Floats] = []
    step = max(1, _CHUNK // len(labels))
    for start in range(0, resamples, step):
        count = min(step, resamples - start)
        drawn = random.multinomial(len(names), np.full(len(names), 1 / len(names)), size=count)
        weights = drawn[:, index].astype(np.float64)
        with np.errstate(invalid="ignore"):  # a resample of one class only has no value, and is left out
            gains.append(np.asarray(gain(metric, resample_new(weights), resample_old(weights))))  # type: ignore[arg-type]
    found = np.concatenate(gains)
    found = found[np.isfinite(found)]
    low, high = np.percentile(found, [2.5, 97.5]) if len(found) else (float("nan"), float("nan"))
    return Comparison(observed, float(low), float(high), len(labels), len(names))


def _resampled(metric: Metric, labels: Labels, predictions: Floats) -> Callable[[Floats], Floats]:
    """The metric of many weightings of the same rows at once: an array of resamples by rows → one value a resample."""
    if metric in METRICS_OF["numeric"]:
        return _resampled_errors(metric, np.asarray(labels, np.float64), predictions)
    if metric in ("log_loss", "brier"):
        clipped = np.clip(predictions, np.finfo(np.float64).eps, 1 - np.finfo(np.float64).eps)
        loss = (
            (predictions - labels) ** 2 if metric == "brier" else -np.log(np.where(labels == 1, clipped, 1 - clipped))
        )
        return lambda weights: (weights @ loss) / weights.sum(axis=1)
    # Sorted once, best first; equal predictions are told apart by no threshold, so sums count at the end of each tie.
    order = np.argsort(-predictions, kind="stable")
    positive = labels[order] == 1
    ends = np.flatnonzero(np.append(np.diff(predictions[order]) != 0, True))

    def ranked(weights: Floats) -> Floats:
        weights = weights[:, order]
        hits = np.cumsum(weights * positive, axis=1)[:, ends]
        alarms = np.cumsum(weights * ~positive, axis=1)[:, ends]
        more_hits, more_alarms = np.diff(hits, prepend=0.0), np.diff(alarms, prepend=0.0)
        if metric == "roc_auc":
            area: Floats = ((hits - more_hits / 2) * more_alarms).sum(axis=1) / (hits[:, -1] * alarms[:, -1])
            return area
        precision = hits / np.maximum(hits + alarms, 1.0)
        found: Floats = (precision * more_hits).sum(axis=1) / hits[:, -1]
        return found

    return ranked


def _resampled_errors(metric: Metric, labels: Floats, predictions: Floats) -> Callable[[Floats], Floats]:
    errors = predictions - labels
    if metric == "mae":
        return lambda weights: (weights @ np.abs(errors)) / weights.sum(axis=1)
    squares = errors**2

    def of_squares(weights: Floats) -> Floats:
        total = weights.sum(axis=1)
        mean = weights @ squares / total
        if metric == "rmse":
            return np.asarray(np.sqrt(mean))
        variance = weights @ labels**2 / total - (weights @ labels / total) ** 2
        return np.asarray(1 - mean / variance)

    return of_squares
