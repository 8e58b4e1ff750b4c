"""What a look at a rollout counts: whole numbers, the same in whichever order the rows came. Pure.

What is alike is an entity: its requests stay with one arm, and do well or badly together. So every number is counted by
cell, a group of entities by hash, and cells are what differs by chance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

CELLS = 64  # a power of two: the first byte of a digest has each as often
ARMS = ("champion", "challenger")
_STEPS = 1_000_000  # of a score from 0 to 1: whole numbers sum to the same in any order
_NOTHING = ((0,) * CELLS, (0,) * CELLS)

Counts = tuple[tuple[int, ...], tuple[int, ...]]  # by arm and cell


def cell(entity: str) -> int:
    """The cell of what is split (an entity, or a request that has none): `get_byte(sha256(...), 0) & 63` in Postgres.

    It has nothing to do with the split, whose hash is of another text.
    """
    return sha256(f"cell:{entity}".encode()).digest()[0] % CELLS


@dataclass(frozen=True)
class Sums:
    """Rows and their scores, while the challenger had one share of the requests.

    Attributes:
        rows: by arm and cell.
        totals: of their scores, in millionths.
    """

    rows: Counts = _NOTHING
    totals: Counts = _NOTHING

    @classmethod
    def of(cls, arms: npt.ArrayLike, cells: npt.ArrayLike, scores: npt.ArrayLike) -> Sums:
        """The sums of rows.

        Args:
            arms, cells, scores: one of each per row: 0 of the champion and 1 of the challenger, the cell of its entity,
                from 0 to 1, less is better.

        Raises:
            ValueError: a score is not from 0 to 1, or a row has no such arm or cell.
        """
        import numpy as np

        arm, where, score = np.asarray(arms, np.int64), np.asarray(cells, np.int64), np.asarray(scores, np.float64)
        if not (arm.shape == where.shape == score.shape):
            raise ValueError(f"each row has an arm, a cell and a score: {arm.size}, {where.size} and {score.size}")
        if (wrong := ~((score >= 0) & (score <= 1))).any():
            raise ValueError(f"a score is from 0 to 1, this one is {float(score[wrong][0])!r}")
        if (nowhere := (arm < 0) | (arm >= len(ARMS)) | (where < 0) | (where >= CELLS)).any():
            raise ValueError(f"there is no arm {int(arm[nowhere][0])} with a cell {int(where[nowhere][0])}")
        place, size = arm * CELLS + where, len(ARMS) * CELLS
        # Whole numbers below 2 ** 53: exact, in whichever order.
        return cls(*(_counts(np.bincount(place, weights, size)) for weights in (None, np.rint(score * _STEPS))))


@dataclass(frozen=True)
class Tally:
    """Of one measure, all that a rollout has seen: sums by the challenger's share of the requests, and of the requests
    that both arms answered.

    Requests under one share are compared with each other alone: a day on which everything went badly is no reproach to
    the arm that had more requests on that day.
    """

    by_share: Mapping[float, Sums] = field(default_factory=dict)
    pairs: Sums = Sums()  # while it was a shadow: each row counts for both arms

    def __post_init__(self) -> None:
        if wrong := [share for share in self.by_share if not 0 < share < 1]:
            raise ValueError(f"a share is between 0 and 1, with requests for both arms; this one is {wrong[0]!r}")
        if self.pairs.rows[0] != self.pairs.rows[1]:
            raise ValueError("what both arms answered are the same requests: as many of each, cell by cell")

    @property
    def rows(self) -> tuple[int, int]:
        """Of the champion and of the challenger, of those that were dealt."""
        ours = [(sum(sums.rows[0]), sum(sums.rows[1])) for sums in self.by_share.values()]
        return sum(each[0] for each in ours), sum(each[1] for each in ours)

    def arrays(self) -> tuple[Floats, Floats, Floats]:
        """Of what was dealt: shares (strata,), rows and totals (strata, arms, cells)."""
        return _arrays(sorted(self.by_share.items()))

    def paired(self) -> tuple[Floats, Floats, Floats]:
        """The same of the pairs, of which each arm has half."""
        return _arrays([(0.5, self.pairs)])


def _arrays(ours: Sequence[tuple[float, Sums]]) -> tuple[Floats, Floats, Floats]:
    import numpy as np

    shape = (len(ours), len(ARMS), CELLS)
    rows = np.array([sums.rows for _, sums in ours], np.float64).reshape(shape)
    totals = np.array([sums.totals for _, sums in ours], np.float64).reshape(shape) / _STEPS
    return np.array([share for share, _ in ours], np.float64), rows, totals


def _counts(counted: npt.NDArray[Any]) -> Counts:
    champion, challenger = counted.reshape(len(ARMS), CELLS).astype(int).tolist()
    return tuple(champion), tuple(challenger)
