"""The loss of each row, by a proper scoring rule: what models are compared by, window by window."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from evergreen.spec.measures import MetricName
from evergreen.spec.problem import Problem

Floats = npt.NDArray[np.float64]

_LEAST = 1e-6  # of a probability: one sure mistake costs 14 nats, and is not a whole window's loss


def of_rows(problem: Problem, searched: MetricName, labels: npt.NDArray[np.generic], predictions: Floats) -> Floats:
    """The log loss of classes, in nats; of numbers the squared error, or the absolute one where `mae` is searched by.

    Args:
        labels, predictions: of the same rows, as `Problem.labels` makes them and as models answer.
    """
    if problem.kind == "numeric":
        apart: Floats = predictions - labels.astype(np.float64)
        return np.abs(apart) if searched == "mae" else np.square(apart)
    places = labels.astype(np.int64)
    if problem.by_class:
        chances = predictions[np.arange(len(places)), places]
    else:
        chances = np.where(places == 1, predictions, 1 - predictions)
    losses: Floats = -np.log(np.clip(chances, _LEAST, 1.0))
    return losses


def unforeseen(problem: Problem, searched: MetricName, labels: npt.NDArray[np.generic], predictions: Floats) -> Floats:
    """How much more each row lost than the answer itself said that it would: of classes the log loss less the entropy
    of the probabilities, on average 0 where they are true. A number foresees nothing: of it the loss itself."""
    lost = of_rows(problem, searched, labels, predictions)
    if problem.kind == "numeric":
        return lost
    chances = predictions if problem.by_class else np.column_stack([1 - predictions, predictions])
    foreseen: Floats = -(chances * np.log(np.clip(chances, _LEAST, 1.0))).sum(axis=1)
    return lost - foreseen
