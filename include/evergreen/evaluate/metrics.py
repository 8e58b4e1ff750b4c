"""Metrics by their spec's names, and the paired comparison of two models on the same rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from evergreen.spec.schema import LOWER_IS_BETTER, Metric

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


def _log_loss(labels: Labels, predictions: Floats) -> float:
    return float(log_loss(labels, predictions, labels=[0, 1]))


METRICS: dict[Metric, Callable[[Labels, Floats], float]] = {
    "roc_auc": lambda labels, predictions: float(roc_auc_score(labels, predictions)),
    "average_precision": lambda labels, predictions: float(average_precision_score(labels, predictions)),
    "log_loss": _log_loss,
    "brier": lambda labels, predictions: float(brier_score_loss(labels, predictions)),
}


def score(labels: Labels, predictions: Floats) -> dict[Metric, float]:
    """Every metric; NaN where it is not defined (rows of one class only)."""
    if len(labels) == 0 or labels.min() == labels.max():
        return dict.fromkeys(METRICS, float("nan"))
    return {name: metric(labels, predictions) for name, metric in METRICS.items()}


def gain(metric: Metric, new: float, old: float) -> float:
    """How much better `new` is than `old`: positive is better, whichever way the metric points."""
    return old - new if metric in LOWER_IS_BETTER else new - old


class Comparison(NamedTuple):
    """The gain of one model over another on the same rows, with its 95 % interval."""

    gain: float
    low: float
    high: float
    rows: int
    entities: int


def compare(
    metric: Metric, labels: Labels, new: Floats, old: Floats, entities: npt.NDArray[np.object_], *, seed: int = 0, resamples: int = 500
) -> Comparison:
    """Paired bootstrap over entities: the rows of an entity are alike, so whole entities are drawn, the same for both models."""
    names, index = np.unique(entities, return_inverse=True)
    order = np.argsort(index, kind="stable")
    bounds = np.searchsorted(index[order], np.arange(len(names) + 1))
    function = METRICS[metric]
    observed = gain(metric, function(labels, new), function(labels, old))
    random = np.random.default_rng(seed)
    gains = []
    for _ in range(resamples):
        drawn = random.integers(len(names), size=len(names))
        rows = order[np.concatenate([np.arange(bounds[i], bounds[i + 1]) for i in drawn])]
        if labels[rows].min() != labels[rows].max():
            gains.append(gain(metric, function(labels[rows], new[rows]), function(labels[rows], old[rows])))
    low, high = np.percentile(gains, [2.5, 97.5]) if gains else (float("nan"), float("nan"))
    return Comparison(observed, float(low), float(high), len(labels), len(names))
