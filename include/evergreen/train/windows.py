"""Which rows of a training set a candidate learns from, and how much each counts by its age: the whole window, the rows
since a change of the world, or all of them weighted by age. Pure.

After a change no rule knows which is best. Where the inputs say of the outcome what they said before, old rows are as
good as new ones; where they say another thing, old rows mislead. So the ways are tried on time folds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from evergreen.handovers.train import LearningWindow, Way
from evergreen.model.rows import Rows
from evergreen.spec.columns import EVENT
from evergreen.train import rules
from evergreen.train.rules import Fold

Floats = npt.NDArray[np.float64]
FULL = LearningWindow(way="full")


def options(
    cutoffs: pd.Series[Any], changed_at: datetime, *, minimum_rows: int, weights: bool
) -> tuple[dict[Way, LearningWindow], dict[Way, str]]:
    """The ways to learn after a change, and why the others are none.

    Args:
        cutoffs: of the learning rows, with repetitions.
        changed_at: the first cutoff after the change.
        minimum_rows: fewest rows to learn from.
        weights: whether the family's fit can weigh rows.
    """
    ways: dict[Way, LearningWindow] = {"full": FULL}
    old, new = cutoffs[cutoffs < changed_at], cutoffs[cutoffs >= changed_at]
    if old.empty:
        return ways, {}
    if new.empty:
        return ways, dict.fromkeys(("since", "weighted"), "no label from after the change has matured")
    left_out: dict[Way, str] = {}
    if len(new) < minimum_rows:
        left_out["since"] = f"{len(new)} of {minimum_rows} rows from after the change (split.minimum_rows)"
    else:
        ways["since"] = LearningWindow(way="since", since=changed_at)
    if not weights:
        left_out["weighted"] = "the family takes no weights"
    else:
        ways["weighted"] = LearningWindow(way="weighted", half_life=(new.max() - old.max()).to_pytimedelta() / 2)
    return ways, left_out


def counts(window: LearningWindow, cutoffs: pd.Series[Any]) -> Floats:
    """How much each row counts by its age, the newest 1; 0: it is not learned from."""
    if window.since is not None:
        return (cutoffs >= window.since).to_numpy().astype(np.float64)
    if window.half_life is not None and len(cutoffs):
        halves = (cutoffs.max() - cutoffs) / pd.Timedelta(window.half_life)
        weighted: Floats = np.exp2(-halves.to_numpy(np.float64))
        return weighted
    return np.ones(len(cutoffs))


def of(window: LearningWindow, rows: Rows) -> Rows:
    """The rows that a candidate learns from; weights by age are 1 on average, so that penalties mean the same."""
    if window.way == "full":
        return rows
    count = counts(window, rows.frame[EVENT])
    if window.way == "since":
        return rows.take(np.flatnonzero(count > 0))
    stated = count if rows.weights is None else count * rows.weights
    return replace(rows, weights=stated / stated.mean() if len(stated) else stated)


def folds(
    cutoffs: Sequence[datetime], known_before: Callable[[datetime], datetime], wanted: int, changed_at: datetime
) -> tuple[list[Fold], list[Fold]]:
    """Time folds whose scored cutoffs lie after a change: those that can be learned for from after it alone, and those
    that need rows from before it too. The latter only where there are none of the former.

    Args:
        cutoffs, known_before, wanted: as of `rules.folds`.
    """
    alone = rules.folds([cutoff for cutoff in cutoffs if cutoff >= changed_at], known_before, wanted)
    return alone, [] if alone else rules.folds(cutoffs, known_before, wanted, scored_from=changed_at)


def best(scores: Mapping[Way, float], rank: Callable[[float], float]) -> Way:
    """The way with the best score; of equals the first. One without a finite score is none; without any it is full.

    Where old rows are as good as new ones the ways differ by noise, and whichever is taken loses next to nothing;
    where they are not, a rule that holds on to them until that is sure loses much.
    """
    scored = [way for way, score in scores.items() if np.isfinite(score)]
    return max(scored, key=lambda way: rank(scores[way]), default="full")
