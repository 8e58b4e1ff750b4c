"""What every fit of a recipe loses on every later window of a stream: whatever a rule decides is looked up in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from benchmarks.decisions.streams import Stream

Floats = npt.NDArray[np.float64]

PARTS = 20  # of a window, whose losses a detector is told one by one


class _Classifier(Protocol):
    def fit(self, inputs: Floats, outcomes: Floats) -> object: ...
    def predict_proba(self, inputs: Floats) -> Floats: ...


Recipe = Callable[[], _Classifier]


def logistic() -> _Classifier:
    """A fast recipe: milliseconds for a fit. Rows are many more than columns, for which this solver is."""
    return LogisticRegression(C=10.0, solver="newton-cholesky")  # type: ignore[no-any-return]  # scikit-learn has no types


def boosted() -> _Classifier:
    """Boosted trees with the library's defaults, but fewer of them: a second for a fit."""
    return HistGradientBoostingClassifier(max_iter=50, random_state=0)  # type: ignore[no-any-return]  # no types


@dataclass(frozen=True)
class Fits:
    """Losses of the fits of one recipe on one stream.

    Attributes:
        window: windows that a fit learns from.
        losses: newest window that the fit learned from, by window scored: mean log loss; NaN where it is not later.
        parts: the same of each of `PARTS` parts of a window, the rows one after the other.
        rows: of each window, in mean rows.
    """

    window: int
    losses: Floats
    parts: npt.NDArray[np.float32]
    rows: Floats


def fit_all(stream: Stream, recipe: Recipe, window: int) -> Fits:
    """Fit the recipe on the `window` windows up to each, and score each fit on all later ones."""
    count = len(stream)
    losses, parts = np.full((count, count), np.nan), np.full((count, count, PARTS), np.nan, np.float32)
    sizes = np.array([len(outcomes) for outcomes in stream.outcomes])
    inputs, outcomes = np.concatenate(stream.inputs), np.concatenate(stream.outcomes)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    cuts = np.concatenate(
        [start + np.arange(PARTS) * size // PARTS for start, size in zip(starts, sizes, strict=False)]
    )
    within = np.diff(np.append(cuts, starts[-1])).reshape(count, PARTS)
    for newest in range(window - 1, count - 1):
        learned, first = slice(starts[newest + 1 - window], starts[newest + 1]), newest + 1
        model = recipe()
        model.fit(inputs[learned], outcomes[learned])
        later = slice(starts[first], None)
        answers = np.clip(model.predict_proba(inputs[later])[:, 1], 1e-6, 1 - 1e-6)
        row_losses = -np.log(np.where(outcomes[later] == 1, answers, 1 - answers))
        sums = np.add.reduceat(row_losses, cuts[first * PARTS :] - starts[first]).reshape(-1, PARTS)
        losses[newest, first:] = sums.sum(axis=1) / sizes[first:]
        parts[newest, first:] = sums / within[first:]
    return Fits(window, losses, parts, sizes / sizes.mean())
