"""The rows of each time fold: one choice for the search, for the backtest of windows, and for whoever asks what a
feature was worth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from evergreen.handovers.train import LearningWindow
from evergreen.model.rows import Rows
from evergreen.spec.columns import EVENT, KNOWN_AT
from evergreen.spec.schema import ModelSpec
from evergreen.train import rules, windows

Positions = npt.NDArray[np.intp]


def folds(
    spec: ModelSpec,
    learn: Rows,
    chosen: Iterable[rules.Fold] | None = None,
    window: LearningWindow = windows.FULL,
) -> Iterator[tuple[rules.Fold, Positions, Positions]]:
    """Each time fold, with the positions of its rows to learn from, of many a draw, and of those to score.

    Args:
        chosen: None: those of all learning rows.
        window: which rows are learned from.
    """
    moments, random = learn.frame[EVENT], np.random.default_rng(spec.search.seed)
    if chosen is None:
        chosen = rules.folds(learn.cutoffs, spec.asking.known_before, spec.split.folds)
    counted = windows.counts(window, moments) > 0
    for fold in chosen:
        known = counted & (moments <= fold.learn_to)
        if spec.label.known is not None:  # else the cutoff tells it
            known &= learn.frame[KNOWN_AT] <= fold.score_from
        earlier = np.flatnonzero(known)
        later = np.flatnonzero(moments.between(fold.score_from, fold.score_to))
        if len(earlier) > rules.FOLD_ROWS:
            earlier = np.sort(random.choice(earlier, rules.FOLD_ROWS, replace=False))
        yield fold, earlier, later
