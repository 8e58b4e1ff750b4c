"""Streams of windows with known truth, and real ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

WINDOWS = 365
_FEATURES = 10


@dataclass(frozen=True)
class Stream:
    """Windows of rows, oldest first.

    Attributes:
        inputs, outcomes: of each window: rows by features, and 0 or 1 for each row.
        changes: windows with which the relation of inputs and outcome is materially another; empty: it never is.
    """

    name: str
    inputs: tuple[Floats, ...]
    outcomes: tuple[Floats, ...]
    changes: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.inputs)

    def shuffled(self, seed: int) -> Stream:
        """The rows in any order, in windows of the same sizes: nothing changes in it."""
        order = np.random.default_rng(seed).permutation(sum(map(len, self.outcomes)))
        ends = np.cumsum([len(window) for window in self.outcomes])[:-1]
        inputs, outcomes = np.concatenate(self.inputs)[order], np.concatenate(self.outcomes)[order]
        return Stream(f"{self.name}, rows shuffled", tuple(np.split(inputs, ends)), tuple(np.split(outcomes, ends)))

    def in_any_order(self, seed: int) -> Stream:
        """Whole windows in any order: they differ as before, and none of it lasts."""
        order = np.random.default_rng(seed).permutation(len(self))
        inputs, outcomes = [self.inputs[at] for at in order], [self.outcomes[at] for at in order]
        return Stream(f"{self.name}, windows shuffled", tuple(inputs), tuple(outcomes))


@dataclass(frozen=True)
class _World:
    """How a window's rows come about: means of the inputs, and the weights and offset of the outcome's log odds."""

    means: Floats
    weights: Floats
    offset: float
    lost: bool = False  # an outage: half of the inputs are not there


def simulated(seed: int) -> Iterator[Stream]:
    """One stream of each kind; the seed says how many rows they have, and where they change."""
    for number, (kind, world) in enumerate(_KINDS.items()):
        random = np.random.default_rng([seed, number])
        features = 30 if kind == "one of 30" else _FEATURES
        rows = int(np.exp(random.uniform(np.log(300), np.log(5000))))
        change = int(random.integers(120, 240))
        weights = random.normal(0, 0.7, features)
        base = _World(random.normal(0, 0.3, features), weights, -0.5)
        inputs, outcomes = [], []
        worlds = world(base, change, random)
        for window in range(WINDOWS):
            here = worlds(window)
            drawn = random.normal(here.means, 1.0, (rows, features))
            odds = drawn @ here.weights + here.offset + 0.5 * drawn[:, 0] * drawn[:, 1]
            outcomes.append((random.random(rows) < 1 / (1 + np.exp(-odds))).astype(np.float64))
            if here.lost:
                drawn[:, : features // 2] = 0.0
            inputs.append(drawn)
        changes = tuple(range(change, WINDOWS, 45 if kind == "recurring" else WINDOWS)) if kind in MATERIAL else ()
        yield Stream(kind, tuple(inputs), tuple(outcomes), changes)


_Worlds = Callable[[int], _World]


def _turned(weights: Floats, random: np.random.Generator) -> Floats:
    turned = weights.copy()
    turned[: len(weights) // 2] = random.permutation(-weights[: len(weights) // 2])
    return turned


def _none(base: _World, change: int, random: np.random.Generator) -> _Worlds:
    return lambda window: base


def _noisy(base: _World, change: int, random: np.random.Generator) -> _Worlds:
    offsets = random.normal(0, 0.25, WINDOWS)
    weights = base.weights + random.normal(0, 0.1, (WINDOWS, len(base.weights)))
    return lambda window: _World(base.means, weights[window], base.offset + offsets[window])


def _weekday(base: _World, change: int, random: np.random.Generator) -> _Worlds:
    offsets = random.normal(0, 0.4, 7)
    weights = base.weights + random.normal(0, 0.15, (7, len(base.weights)))
    return lambda window: _World(base.means, weights[window % 7], base.offset + offsets[window % 7])


def _seasonal(base: _World, change: int, random: np.random.Generator) -> _Worlds:
    return lambda window: _World(base.means, base.weights, base.offset + 0.5 * np.sin(2 * np.pi * window / 91))


def _sudden(base: _World, change: int, random: np.random.Generator) -> _Worlds:
    after = _World(base.means, _turned(base.weights, random), base.offset)
    return lambda window: base if window < change else after


def _gradual(base: _World, change: int, random: np.random.Generator) -> _Worlds:
    after = _turned(base.weights, random)

    def world(window: int) -> _World:
        share = min(1.0, max(0.0, (window - change) / 60))
        return _World(base.means, (1 - share) * base.weights + share * after, base.offset)

    return world


def _recurring(base: _World, change: int, random: np.random.Generator) -> _Worlds:
    after = _World(base.means, _turned(base.weights, random), base.offset)
    return lambda window: base if window < change or (window - change) // 45 % 2 else after


def _covariate(base: _World, change: int, random: np.random.Generator) -> _Worlds:
    # The first two inputs, which act together, stay: then the best fit stays too, and nothing is lost.
    moved = base.means + np.where(np.arange(len(base.means)) < 2, 0.0, random.normal(0, 0.6, len(base.means)))
    after = _World(moved, base.weights, base.offset)
    return lambda window: base if window < change else after


def _label(base: _World, change: int, random: np.random.Generator) -> _Worlds:
    after = _World(base.means, base.weights, base.offset + 0.8)
    return lambda window: base if window < change else after


def _one(base: _World, change: int, random: np.random.Generator) -> _Worlds:
    weights = base.weights.copy()
    weights[5] = 1.5
    before, after = _World(base.means, weights.copy(), base.offset), weights.copy()
    after[5] = -1.5
    return lambda window: before if window < change else _World(base.means, after, base.offset)


def _outage(base: _World, change: int, random: np.random.Generator) -> _Worlds:
    return lambda window: _World(base.means, base.weights, base.offset, lost=change <= window < change + 3)


_KINDS: dict[str, Callable[[_World, int, np.random.Generator], _Worlds]] = {
    "no change": _none,
    "noisy": _noisy,
    "weekday": _weekday,
    "seasonal": _seasonal,
    "sudden": _sudden,
    "gradual": _gradual,
    "recurring": _recurring,
    "covariate only": _covariate,
    "label shift": _label,
    "one of 30": _one,
    "outage": _outage,
}
MATERIAL = {"sudden", "gradual", "recurring", "label shift", "one of 30"}
"""Kinds with one moment of change, or several."""
STILL = {"no change", "noisy", "weekday", "covariate only", "outage"}
"""Kinds in which a fresh fit is never better for good. What is in neither changes all the time."""
