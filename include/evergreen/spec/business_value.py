"""What the predictions of a binary label are worth to the model's owner: its cost matrix. Pure."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from evergreen.spec.partial import Declared

PER = 1000  # predictions: what the metric is told of


class BusinessValue(Declared):
    """What one prediction is worth, by what was answered and what came true; costs are below 0.

    From it follow the metric `business_value`, the value of 1,000 predictions, and the operating threshold: the
    probability from which on a yes is worth more than a no. It is chosen on the time folds of the learning rows, never
    on the rows of the gates, and recorded with the version.
    """

    currency: Annotated[str, Field(pattern=r"^[^\W\d_][\w ]{0,19}$")] = Field(
        description="what the values are in, such as EUR"
    )
    true_positive: float = Field(description="of a yes that comes true")
    false_positive: float = Field(description="of a yes that does not: the price of a false alarm")
    true_negative: float = Field(description="of a no that is right; above false_positive")
    false_negative: float = Field(description="of a no where a yes would have come true; below true_positive")

    @property
    def break_even(self) -> float:
        """The probability from which on a yes is worth more than a no, if probabilities are true; 0.5 of a matrix that
        the rules refuse."""
        alarm, miss = self.true_negative - self.false_positive, self.true_positive - self.false_negative
        return alarm / (alarm + miss) if alarm > 0 and miss > 0 else 0.5
