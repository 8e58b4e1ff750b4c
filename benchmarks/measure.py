"""Two ways to do the same work, timed in turns on the same machine at the same time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Ratio:
    """A measured pair."""

    what: str
    size: str
    ours: float  # seconds, median
    bare: float  # seconds, median
    against: str
    note: str = ""

    def row(self) -> str:
        """A row of the table."""
        cells = (
            self.what,
            self.size,
            _time(self.ours),
            f"{self.against}: {_time(self.bare)}",
            f"{self.ours / self.bare:.1f}",
            self.note,
        )
        return "| " + " | ".join(cells) + " |"


def side_by_side(ours: Callable[[], object], bare: Callable[[], object], rounds: int = 5) -> tuple[float, float]:
    """Median seconds of each, after one round that warms both up; taken in turns, so that what else runs hits both."""
    spent: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 1):
        for work, times in zip((ours, bare), spent, strict=True):
            start = time.perf_counter()
            work()
            if number:
                times.append(time.perf_counter() - start)
    return statistics.median(spent[0]), statistics.median(spent[1])


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"
