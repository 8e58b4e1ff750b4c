"""Several ways to do the same work, timed in turns on the same machine at the same time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

OUT_OF_PROPORTION = 3.0  # a greater ratio needs a measured reason


@dataclass(frozen=True)
class Ratio:
    """A measured pair."""

    what: str
    size: str
    ours: float  # seconds
    bare: float  # seconds
    against: str
    reason: str = ""  # what the difference buys; above OUT_OF_PROPORTION, what was measured to cause it

    @property
    def value(self) -> float:
        return self.ours / self.bare


def side_by_side(ours: Callable[[], object], bare: Callable[[], object], rounds: int = 5) -> tuple[float, float]:
    """Median seconds of each."""
    spent = in_turns(ours, bare, rounds=rounds)
    return statistics.median(spent[0]), statistics.median(spent[1])


def in_turns(*works: Callable[[], object], rounds: int) -> list[list[float]]:
    """Seconds of each round of each work, after one round that warms all up; in turns,
    so that what else runs hits all alike."""
    spent: list[list[float]] = [[] for _ in works]
    for number in range(rounds + 1):
        for work, times in zip(works, spent, strict=True):
            seconds = timed(work)
            if number:
                times.append(seconds)
    return spent


def timed(work: Callable[[], object]) -> float:
    """Seconds that it takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def percentile(seconds: list[float], share: float) -> float:
    """The smallest of the values that at least this share of them does not exceed."""
    return sorted(seconds)[max(0, -int(-share * len(seconds) // 1) - 1)]
