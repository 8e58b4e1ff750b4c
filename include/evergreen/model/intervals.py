"""How far a number that was measured on some rows may be from the truth, where rows come in groups that are alike.

Each group is left out once, and what the number moves by says how sure it is: a jackknife over groups, with Student's t
for how few they are. It draws nothing: the same rows have the same interval. A percentile bootstrap is
too sure of itself where groups are few.

Where a few groups have most of the rows, only they count: the degrees of freedom follow from how many groups of one
size would tell as much (Kish's effective number). And the squares are not shrunk by the usual (groups - 1) / groups,
for what groups have in common has heavier tails than Student's t knows of. `make bench SECTION=gates` shows what holds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from evergreen.model.weightings import Floats, Weighted

SURE = 0.975  # of each end of an interval by itself: 95 % lie between them
MOST_BLOCKS = 200  # that are left out, one after the other: of more groups some are left out together
_CHUNK = 4_000_000  # weights held at once: 32 MB


@dataclass(frozen=True)
class Spread:
    """A measured number with its standard error; both are NaN where they cannot be had."""

    value: float
    error: float
    freedom: float
    """Degrees of freedom: one less than the effective number of blocks."""

    def quantile(self, confidence: float = SURE) -> float:
        """Student's t, of which a share of `confidence` lies below."""
        return float(stdtrit(self.freedom, confidence)) if self.freedom > 0 else float("nan")

    def low(self, confidence: float = SURE) -> float:
        """So much it is at least, with this confidence."""
        return self.value - self.quantile(confidence) * self.error

    def high(self, confidence: float = SURE) -> float:
        """So much it is at most, with this confidence."""
        return self.value + self.quantile(confidence) * self.error


def jackknife(value: Weighted, groups: npt.NDArray[np.object_], weights: Floats | None = None) -> Spread:
    """What a weighted number is, and how sure.

    Args:
        value: weightings by rows → the number of each.
        groups: one per row: rows of one group are alike.
        weights: how much each row counts; None: as much as any other.
    """
    names, index = np.unique(groups, return_inverse=True)
    block = (np.random.default_rng(0).permutation(len(names)) % MOST_BLOCKS)[index]
    blocks = min(len(names), MOST_BLOCKS)
    counts = np.ones(len(groups)) if weights is None else weights
    without: list[Floats] = []
    step = max(1, _CHUNK // max(1, len(groups)))
    with np.errstate(invalid="ignore", divide="ignore"):  # without a block there may be rows of one class only
        whole = float(value(counts[None, :])[0])
        for start in range(0, blocks, step):
            left_out = np.arange(start, min(start + step, blocks))
            without.append(value(np.where(block[None, :] == left_out[:, None], 0.0, counts)))
        each = np.concatenate(without)
        error = float(np.sqrt(np.square(each - each.mean()).sum())) if blocks > 1 else np.nan
    return Spread(whole, error, effective(np.bincount(block, counts, blocks).astype(np.float64)) - 1)


def effective(sizes: Floats) -> float:
    """How many groups of one size tell as much as groups of these sizes; at most as many as there are, at least 1."""
    return float(sizes.sum() ** 2 / np.square(sizes).sum())
