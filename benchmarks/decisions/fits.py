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


class _Classifier(Protocol):
    def fit(self, inputs: Floats, outcomes: Floats) -> object: ...
    def predict_proba(self, inputs: Floats) -> Floats: ...


Recipe = Callable[[], _Classifier]


def logistic() -> _Classifier:
    """A fast recipe: milliseconds for a fit."""
    return LogisticRegression(C=10.0)  # type: ignore[no-any-return]  # scikit-learn has no types


def boosted() -> _Classifier:
    """Boosted trees with the library's defaults, but fewer of them: a second for a fit."""
    return HistGradientBoostingClassifier(max_iter=50, random_state=0)  # type: ignore[no-any-return]  # no types


@dataclass(frozen=True)
class Fits:
    """Losses of the fits of one recipe on one stream.

    Attributes:
        window: windows that a fit learns from.
        losses: newest window that the fit learned from, by window scored: mean log loss; NaN where it is not later.
        rows: of each window, in mean rows.
    """

    window: int
    losses: Floats
    rows: Floats


def fit_all(stream: Stream, recipe: Recipe, window: int) -> Fits:
    """Fit the recipe on the `window` windows up to each, and score each fit on all later ones."""
    count = len(stream)
    losses = np.full((count, count), np.nan)
    sizes = np.array([len(outcomes) for outcomes in stream.outcomes])
    inputs, outcomes = np.concatenate(stream.inputs), np.concatenate(stream.outcomes)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    for newest in range(window - 1, count - 1):
        learned = slice(starts[newest + 1 - window], starts[newest + 1])
        model = recipe()
        model.fit(inputs[learned], outcomes[learned])
        later = slice(starts[newest + 1], None)
        answers = np.clip(model.predict_proba(inputs[later])[:, 1], 1e-6, 1 - 1e-6)
        row_losses = -np.log(np.where(outcomes[later] == 1, answers, 1 - answers))
        sums = np.add.reduceat(row_losses, starts[newest + 1 : -1] - starts[newest + 1])
        losses[newest, newest + 1 :] = sums / sizes[newest + 1 :]
    return Fits(window, losses, sizes / sizes.mean())
