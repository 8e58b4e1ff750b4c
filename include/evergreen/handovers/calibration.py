"""What a candidate's probabilities are corrected by."""

from __future__ import annotations

from evergreen.handovers.handover import Part
from evergreen.spec.measures import CalibrationMethod


class Calibration(Part):
    """A map from a candidate's scores to probabilities; it was fitted on scores of rows that were not learned from.

    A score is what the model adds up (log-odds), or the probability that it states where it adds up nothing.
    """

    method: CalibrationMethod
    """What kind of map it is."""
    rows: int
    """How many rows it was fitted on."""
    slope: float | None = None
    """Of the sigmoid: a probability is 1 / (1 + exp(-(slope * score + intercept))); None: it is isotonic."""
    intercept: float | None = None
    """Likewise."""
    scores: tuple[float, ...] = ()
    """Of the isotonic map: its corners, in ascending order. Between them it is a straight line, beyond them flat."""
    probabilities: tuple[float, ...] = ()
    """That of each."""

    def __str__(self) -> str:
        corners = f" of {len(self.scores)} corners" if self.scores else ""
        return f"{self.method}{corners}, on {self.rows:,} rows of the time folds"
