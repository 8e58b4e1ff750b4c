"""Whether a window can be told from the reference by all features together: what no feature shows by itself, such as
two that no longer go together. Pure.

A domain classifier learns to tell rows of the window from rows of the reference; its cross-validated area under the ROC
curve is 0.5 where it cannot. It is a ridge regression on ranks, their squares and their products, so it sees moved
means, spreads and pairs. What it reaches without change is learned from windows of the reference itself.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from evergreen.monitor import bounds
from evergreen.monitor.comparison import Bounded, Reference, watched
from evergreen.spec.kinds import KINDS

ROWS = 1000  # of each side, at most: the stated sample
_FEWEST = 30
_WINDOWS = 12  # of the reference, that say what is usual
_FOLDS = 3
_RIDGE = 0.1  # of the rows
_PAIRED = 40  # numbers, at most, whose products are looked at
_NAMED = 3  # categories of a feature, the most frequent ones, that are looked at

Floats = npt.NDArray[np.float64]


def together(reference: Reference, window: pd.DataFrame, *, seed: int = 0) -> Bounded | None:
    """The area under the ROC curve, and the greatest that is normal; None: too few rows, or no features."""
    names = [name for name in watched(reference.spec, reference.rows) if name in window]
    rows = min(ROWS, len(window), len(reference.alike) // 2)
    if rows < _FEWEST or not names:
        return None
    random = np.random.default_rng(seed)
    sample = window[names].iloc[random.choice(len(window), rows, replace=False)]
    both = _matrix(reference, pd.concat([reference.alike[names], sample]))
    known, ours = both[: len(reference.alike)], both[len(reference.alike) :]
    usual = []
    for _ in range(_WINDOWS):
        drawn = _drawn(random, reference, rows)
        others = random.choice(np.flatnonzero(~drawn), rows, replace=bool((~drawn).sum() < rows))
        inside = random.choice(np.flatnonzero(drawn), rows, replace=bool(drawn.sum() < rows))
        usual.append(_area(known[inside], known[others], random))
    theirs = known[random.choice(len(known), rows, replace=False)]
    return Bounded(_area(ours, theirs, random), min(1.0, bounds.value(usual)))


def _drawn(random: np.random.Generator, reference: Reference, rows: int) -> npt.NDArray[np.bool_]:
    """Which rows of the reference are a window of its own; the others are what it is compared with."""
    groups = reference.groups
    count = int(groups.max()) + 1
    if count < bounds.LEAST:
        drawn = np.zeros(len(groups), bool)
        drawn[random.choice(len(groups), rows, replace=False)] = True
        return drawn
    times = np.sum([bounds.draws(random, part, count, 1)[0] for part in reference.strata], axis=0)
    return np.isin(groups, np.flatnonzero(times))


def _matrix(reference: Reference, frame: pd.DataFrame) -> Floats:
    """Ranks from -1 to 1, 0 where there is no value; whether there is none; the most frequent categories."""
    columns: list[Floats] = []
    numbers = 0
    for name in frame:
        column = frame[name]
        if KINDS[reference.spec.feature_types[str(name)]].numeric:
            ranks = column.astype("float64").rank(pct=True).to_numpy("float64") * 2 - 1
            columns.insert(numbers, np.nan_to_num(ranks))
            numbers += 1
        else:
            frequent = reference.alike[name].value_counts().index[:_NAMED]
            columns += [(column == each).to_numpy("float64") for each in frequent]
        if column.isna().any():
            columns.append(column.isna().to_numpy().astype(np.float64))
    base = np.column_stack(columns)
    if numbers > _PAIRED:
        return np.hstack([base, base[:, :numbers] ** 2])
    left, right = np.triu_indices(numbers)
    return np.hstack([base, base[:, left] * base[:, right]])


def _area(window: Floats, reference: Floats, random: np.random.Generator) -> float:
    """Cross-validated."""
    from scipy.stats import rankdata

    both = np.vstack([window, reference])
    both = (both - both.mean(axis=0)) / np.maximum(both.std(axis=0), 1e-9)
    target = np.repeat([1.0, -1.0], [len(window), len(reference)])
    folds, scores = random.permutation(len(both)) % _FOLDS, np.zeros(len(both))
    for fold in range(_FOLDS):
        seen, rest = both[folds != fold], folds == fold
        gram = seen.T @ seen + _RIDGE * len(seen) * np.eye(both.shape[1])
        scores[rest] = both[rest] @ np.linalg.solve(gram, seen.T @ target[folds != fold])
    ranks = rankdata(scores)[: len(window)]
    first = len(window) * (len(window) + 1) / 2
    return float((ranks.sum() - first) / (len(window) * len(reference)))
