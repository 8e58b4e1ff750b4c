"""The operating threshold: the probability from which on a model's yes is worth more to its owner than its no."""

from __future__ import annotations

import numpy as np

from evergreen.model.weightings import Floats, Labels
from evergreen.spec.business_value import BusinessValue


def threshold(value: BusinessValue, labels: Labels, predictions: Floats, weights: Floats | None = None) -> float:
    """Where the rows are worth most; of many such thresholds the one nearest to where a yes breaks even.

    It lies halfway between two predictions, below all of them (always yes) or above all of them (always no), so it is
    right even where the model's probabilities are not true.

    Args:
        labels, predictions: of rows that the model has not learned from.
        weights: how much each row counts; None: as much as any other.
    """
    order = np.argsort(-predictions, kind="stable")
    ranked, positive = predictions[order], labels[order] == 1
    counts = np.ones(len(ranked)) if weights is None else weights[order]
    gains = np.where(positive, value.true_positive - value.false_negative, value.false_positive - value.true_negative)
    # A yes to none, then to one more at a time; equal predictions are told apart by no threshold.
    worth = np.concatenate([[0.0], np.cumsum(gains * counts)])
    ends = np.concatenate([[0], np.flatnonzero(np.append(np.diff(ranked) != 0, True)) + 1])
    above = np.append(ranked, 0.0)[ends]  # the greatest prediction that is a no
    below = np.concatenate([[1.0 + 1e-6], ranked])[ends]  # the smallest that is a yes
    between = (above + below) / 2
    best = worth[ends]
    tied = np.flatnonzero(best >= best.max() - 1e-9 * max(1.0, float(np.abs(gains * counts).sum())))
    return float(between[tied[np.argmin(np.abs(between[tied] - value.break_even))]])
