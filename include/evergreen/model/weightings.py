"""Each metric as a function of many weightings of the same rows at once; scikit-learn's value where all weigh alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from evergreen.spec.business_value import PER, BusinessValue
from evergreen.spec.measures import MetricName
from evergreen.spec.problem import LabelType

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64] | npt.NDArray[np.float64]  # as `Problem.labels` makes them
Weighted = Callable[[Floats], Floats]  # weights, an array of weightings by rows → one value per weighting
Measured = Callable[[Labels, Floats], Weighted]  # of a metric `of_decisions`: predictions as `Problem.decided` has them

CALIBRATION_BINS = 15


def mean(of_rows: Floats) -> Weighted:
    """The mean of a number that each row has."""
    return lambda weights: (weights @ of_rows) / weights.sum(axis=1)


def _mean_of(loss: Callable[[Labels, Floats], Floats]) -> Callable[[Labels, Floats], Weighted]:
    """Of a metric that is the mean of one loss per row."""
    return lambda labels, predictions: mean(loss(labels, predictions))


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


def _hits(labels: Labels, decided: Floats) -> Floats:
    """1 where the class that is decided on is the right one, else 0."""
    chosen = decided if decided.ndim == 1 else decided.argmax(axis=1)
    hits: Floats = (chosen == labels).astype(np.float64)
    return hits


def _over_classes(weighted: Callable[[Labels, Floats], Weighted]) -> Callable[[Labels, Floats], Weighted]:
    """The plain mean, over the classes, of a metric of two classes: each class against all others."""

    def over_classes(labels: Labels, predictions: Floats) -> Weighted:
        of_each = [
            weighted((labels == place).astype(np.int64), predictions[:, place]) for place in range(predictions.shape[1])
        ]
        return lambda weights: np.asarray(np.mean([of_class(weights) for of_class in of_each], axis=0))

    return over_classes


def _weighted_f1(labels: Labels, decided: Floats) -> Weighted:
    """F1 of one class: `labels` and `decided` are 1 where a row is of the class, and where it is taken for it. Without
    rows of the class it has no value."""

    def of(weights: Floats) -> Floats:
        rows = weights @ labels
        return np.where(rows > 0, 2 * (weights @ (labels * decided)) / (rows + weights @ decided), np.nan)

    return of


def _weighted_recall(labels: Labels, decided: Floats) -> Weighted:
    """The share of a class's rows that are taken for it. Without rows of the class it has no value."""

    def of(weights: Floats) -> Floats:
        rows = weights @ labels
        return np.where(rows > 0, weights @ (labels * decided) / rows, np.nan)

    return of


def _weighted_precision(labels: Labels, decided: Floats) -> Weighted:
    """The share of the rows taken for a class that are of it; 0 where none is taken for it, as scikit-learn has it: a
    model that never says yes is a bad one, and no missing evidence. Without rows of the class it has no value."""

    def of(weights: Floats) -> Floats:
        taken, rows = weights @ decided, weights @ labels
        share = weights @ (labels * decided) / np.where(taken > 0, taken, 1.0)
        return np.where(rows > 0, share, np.nan)

    return of


def values(value: BusinessValue) -> Callable[[Labels, Floats], Floats]:
    """What each row is worth, by its label and by what was decided on."""

    def of_rows(labels: Labels, decided: Floats) -> Floats:
        of_yes = np.where(labels == 1, value.true_positive, value.false_positive)
        of_no = np.where(labels == 1, value.false_negative, value.true_negative)
        return np.where(decided == 1, of_yes, of_no)

    return of_rows


def business_value(value: BusinessValue) -> Measured:
    """The metric: what so many predictions are worth."""
    worth = values(value)

    def measured(labels: Labels, decided: Floats) -> Weighted:
        of_one = mean(worth(labels, decided))
        return lambda weights: PER * of_one(weights)

    return measured


def _calibration(labels: Labels, predictions: Floats) -> Weighted:
    """Expected calibration error: how far apart the stated probability and the share that came true are, on average
    over bins of equal width. Of two classes it is of P(1), of more of the likeliest class."""
    stated, true = predictions, labels.astype(np.float64)
    if predictions.ndim > 1:
        stated = predictions.max(axis=1)
        true = (predictions.argmax(axis=1) == labels).astype(np.float64)
    places = np.minimum((stated * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    apart = np.zeros((len(labels), CALIBRATION_BINS))
    apart[np.arange(len(labels)), places] = stated - true
    return lambda weights: np.asarray(np.abs(weights @ apart).sum(axis=1) / weights.sum(axis=1))


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
    centred = labels - labels.mean()  # small numbers, whose squares lose nothing

    def of(weights: Floats) -> Floats:
        total = weights.sum(axis=1)
        variance = weights @ centred**2 / total - (weights @ centred / total) ** 2
        return np.asarray(1 - of_squares(weights) / variance)

    return of


def _weighted_median_error(labels: Labels, predictions: Floats) -> Weighted:
    """The error that half of the weight does not exceed; between two errors their mean, as of an even count."""
    errors = np.abs(predictions - labels)
    order = np.argsort(errors, kind="stable")
    ordered = errors[order]

    def of(weights: Floats) -> Floats:
        sums = np.cumsum(weights[:, order], axis=1)
        half = sums[:, -1:] / 2
        last = len(ordered) - 1
        below = np.minimum((sums < half * (1 - 1e-12)).sum(axis=1), last)
        above = np.minimum((sums <= half * (1 + 1e-12)).sum(axis=1), last)
        return np.asarray((ordered[below] + ordered[above]) / 2)

    return of


def _weighted_bias(labels: Labels, predictions: Floats) -> Weighted:
    apart = _mean_of(lambda labels, predictions: predictions - labels)(labels, predictions)
    return lambda weights: np.abs(apart(weights))


def _weighted_wape(labels: Labels, predictions: Floats) -> Weighted:
    """All errors together, as a share of all labels together. (A mean of shares, MAPE, is not defined where a label is
    0, and rules by the smallest labels where none is.)"""
    errors, sizes = np.abs(predictions - labels), np.abs(labels)
    return lambda weights: np.asarray((weights @ errors) / (weights @ sizes))


def _errors(labels: Labels, predictions: Floats) -> Floats:
    errors: Floats = np.abs(predictions - labels)
    return errors


MEASURED: Mapping[LabelType, Mapping[MetricName, Measured]] = {
    "binary": {
        "roc_auc": _ranked(_area_under_roc),
        "average_precision": _ranked(_average_precision),
        "log_loss": _mean_of(_log_losses),
        "brier": _mean_of(_squares),
        "accuracy": _mean_of(_hits),
        "precision": _weighted_precision,
        "recall": _weighted_recall,
        "f1": _weighted_f1,
        "expected_calibration_error": _calibration,
    },
    "numeric": {
        "rmse": _weighted_rmse,
        "mae": _mean_of(_errors),
        "r2": _weighted_r2,
        "median_absolute_error": _weighted_median_error,
        "bias": _weighted_bias,
        "wape": _weighted_wape,
    },
    # scikit-learn refuses rows in which a class is missing. Here such a metric
    # has no value, or does not need the class.
    "multiclass": {
        "roc_auc": _over_classes(_ranked(_area_under_roc)),
        "log_loss": _mean_of(_log_losses_of_classes),
        "accuracy": _mean_of(_hits),
        "macro_precision": _over_classes(_weighted_precision),
        "macro_recall": _over_classes(_weighted_recall),
        "macro_f1": _over_classes(_weighted_f1),
        "expected_calibration_error": _calibration,
    },
}
