"""Which trainings a backtest makes, and which predictions each is judged on. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from evergreen.interval import Interval
from evergreen.spec.schema import ModelSpec
from evergreen.train.rules import Split


@dataclass(frozen=True)
class Window:
    """A training, and the predictions that are asked for from then on until the next one."""

    training: Interval
    """The newest interval that the training knows of."""
    end: datetime
    """When the next training takes over."""

    @property
    def start(self) -> datetime:
        """The moment of the training."""
        return self.training.as_of

    @property
    def last(self) -> datetime:
        """The last moment of a prediction that may be judged."""
        return self.end - datetime.resolution

    def judged(self, as_of: datetime) -> Split:
        """The rows that the training is judged on; none is learned from.

        Args:
            as_of: the moment of the backtest: what is known later does not count.
        """
        return Split(self.start, self.start, self.start, self.last, as_of)


def windows(spec: ModelSpec, first: datetime, last: datetime, length: timedelta) -> Iterator[Window]:
    """Windows side by side, the newest first; none whose training would come before there is anything to learn from.

    Args:
        first, last: the oldest and the newest prediction whose outcome is known.
        length: of a window; whole intervals.
    """
    calendar = spec.calendar
    newest = calendar.interval_of(last)
    while newest.start > first:
        within = [each for each in calendar.back(newest, length) if each.start >= first]
        if not within:
            return
        training = calendar.before(within[0])
        if calendar.earlier(training.as_of, spec.label.horizon) < first:
            return
        yield Window(training, newest.end)
        newest = training
