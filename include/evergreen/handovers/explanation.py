"""What an answer was made of, input by input, as it is shown and kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from evergreen.spec.problem import Answer


@dataclass(frozen=True)
class Contribution:
    """What an input contributed."""

    input: str
    """Its name."""
    contribution: float
    """On the scale of the score."""
    error: float
    """Its standard error; 0 where nothing was sampled."""


@dataclass(frozen=True)
class Explanation:
    """Of one row: what is usual, what it has, and the parts in between."""

    way: Literal["one at a time", "sampled"]
    """How the parts were found."""
    usual: float
    """The mean score of the rows that say what is usual."""
    score: float
    """The row's."""
    parts: tuple[Contribution, ...]
    """The greatest first."""
    off: float
    """By how much usual and parts miss the score."""


@dataclass(frozen=True)
class ExplainedRow:
    """An evaluation row: what the version answers to it, and what that is made of. It has neither key nor moment nor a
    value of the row."""

    which: str
    """Which answer it is among those to all rows: the highest, the median, the lowest."""
    answer: Answer
    """What the version answers."""
    scale: str
    """On which the parts may add up."""
    explanation: Explanation | None
    """None: there is none that adds up, or none could be made."""
    reason: str
    """Why there is none; empty: there is."""
