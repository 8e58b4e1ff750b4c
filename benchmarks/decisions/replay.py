"""Live through a stream with a rule that says when to retrain, and what as many retrainings at other moments give."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from benchmarks.decisions.fits import Fits

Floats = npt.NDArray[np.float64]


@dataclass
class Past:
    """What a rule may look at after a window was served.

    Attributes:
        delay: windows until labels are mature.
        now: the window.
        served: of each window so far, the newest window that the model which served it learned from.
    """

    fits: Fits
    delay: int
    now: int = -1
    served: dict[int, int] = field(default_factory=dict)

    @property
    def matured(self) -> int | None:
        """The window whose labels have just matured; None: none that was served."""
        known = self.now - self.delay
        return known if known in self.served else None

    @property
    def champion(self) -> int:
        """The newest window that today's champion learned from."""
        return self.served[self.now]

    def loss(self, window: int) -> float:
        """What was lost on a window."""
        return float(self.fits.losses[self.served[window], window])

    def losses(self, window: int) -> Floats:
        """What was lost on each part of a window."""
        parts: Floats = self.fits.parts[self.served[window], window].astype(np.float64)
        return parts


Rule = Callable[[Past], Iterator[bool]]  # one answer for each window, as `Past` stands then: whether to retrain


@dataclass(frozen=True)
class Lived:
    """What a rule did.

    Attributes:
        first: the first window that was served.
        retrained: the windows after which it retrained.
        losses: of each window from `first` on.
    """

    first: int
    retrained: tuple[int, ...]
    losses: Floats

    @property
    def loss(self) -> float:
        """The mean."""
        return float(self.losses.mean())


def live(fits: Fits, delay: int, rule: Rule) -> Lived:
    """Serve each window, and ask the rule after it. A retraining learns from the newest windows with mature labels, and
    serves from the next window on."""
    first = fits.window + delay
    champion, retrained, past = fits.window - 1, [], Past(fits, delay)
    answers = rule(past)
    for window in range(first, len(fits.rows)):
        past.now, past.served[window] = window, champion
        if next(answers) and window - delay > champion:
            champion = window - delay
            retrained.append(window)
    losses = np.array([past.loss(window) for window in past.served])
    return Lived(first, tuple(retrained), losses)


def every(count: int, phase: int = 0) -> Rule:
    """A calendar."""

    def rule(past: Past) -> Iterator[bool]:
        while True:
            yield (past.now - past.fits.window - past.delay) % count == phase

    return rule


def never(past: Past) -> Iterator[bool]:
    """The first model for ever."""
    while True:
        yield False


def calendars(fits: Fits, delay: int, count: int) -> Floats:
    """Mean losses of `count` retrainings evenly spread, one of each phase (at most 60 of them)."""
    windows = len(fits.rows) - fits.window - delay
    step = max(1, windows // max(1, count))
    phases = np.unique(np.linspace(0, step - 1, min(step, 60)).astype(int))
    return np.array([live(fits, delay, every(step, int(phase))).loss for phase in phases])


def oracle(fits: Fits, delay: int, cost: float) -> Mapping[str, float]:
    """The best moments, chosen by one who knows all losses: the least of loss and cost of retrainings, exactly.

    Returns:
        The mean loss, and how many retrainings.
    """
    first, count = fits.window + delay, len(fits.rows)
    # From the end: what is to come at best, of each model that may serve the window.
    to_come, retrainings = np.zeros(count), np.zeros(count)
    for window in range(count - 1, first - 1, -1):
        losses = fits.losses[:, window]
        fresh = window - delay
        after = cost + to_come[fresh] if fresh >= fits.window - 1 else np.inf
        better = (after < to_come) & (np.arange(count) < fresh)
        retrainings = np.where(better, retrainings[fresh] + 1, retrainings)
        to_come = losses + np.where(better, after, to_come)
    start, number = fits.window - 1, float(retrainings[fits.window - 1])
    return {"loss": float((to_come[start] - cost * number) / (count - first)), "retrainings": number}
