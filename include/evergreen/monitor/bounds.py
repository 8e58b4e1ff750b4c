"""What windows differ by when nothing changes, learned from how windows of the reference differ from each other. Pure.

A window without change is simulated: some intervals of the reference are drawn, of each weekday as many as the window
has, from them so many rows as the window has, and compared with the intervals that were not drawn. So a bound knows how
much chance so few rows have, and how much one interval differs from another of its kind. How intervals differ is known
from few of them: their part of the variation is judged by Student's t. Where there are fewer than `LEAST` intervals, or
their moments are not known (references of earlier releases), rows are drawn instead of intervals: such a bound knows
chance alone.

`ALARMS` of the windows without change may have a finding by some column, whichever it is (docs/adr/0042).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evergreen.monitor.cells import Cells, Counts, Floats, shares

ALARMS = 0.01  # of windows without change
LEAST = 5  # intervals of the reference, from which on they say how much intervals differ
_DRAWS = 200
# Of the alarms of a column; the rest is for its nulls, and its range or categories, which are bounded by `_MATERIAL`.
_OF_DISTANCES = 0.8
# Of the greatest difference of chance alone (Kolmogorov-Smirnov) the fitted tail is a little short, which a quarter of
# the alarms makes up for. Where intervals differ, that is one shift, whose square is a gamma distribution.
_SHORT = 4
_MATERIAL = 0.01  # of a window's rows: fewer that are odd are no incident, however sure it is that they are more


@dataclass(frozen=True)
class Sizes:
    """Of the window that a bound is for.

    Attributes:
        rows: how many it has.
        intervals: how many intervals it is long.
        columns: how many are looked at beside each other.
    """

    rows: int
    intervals: int
    columns: int


@dataclass(frozen=True)
class Stratum:
    """Intervals of the reference that are alike, as those of a weekday.

    Attributes:
        members: which of them.
        drawn: how many of them a window has.
    """

    members: npt.NDArray[np.int64]
    drawn: int


def distance(
    cells: Cells, groups: Counts, sizes: Sizes, strata: Sequence[Stratum] | None = None, *, seed: int = 0
) -> float:
    """The greatest distance between a window and the reference that is normal.

    Args:
        cells: of the column.
        groups: rows of the reference, intervals by cells; of unknown intervals a single one.
        sizes: the window's.
        strata: which intervals are alike; None: all of them.
        seed: of the draws.
    """
    random, total = np.random.default_rng(seed), groups.sum(axis=0)
    count, rows, alarms = int(total.sum()), max(1, sizes.rows), _OF_DISTANCES * ALARMS / sizes.columns
    whole = shares(total)
    # Chance alone: the window, and a reference as large as this one.
    others = shares(random.multinomial(count, whole, _DRAWS))
    by_rows = cells.distances(shares(random.multinomial(rows, whole, _DRAWS)), others) ** 2
    chance = _greatest(by_rows, rows, alarms / _SHORT)
    parts = _held(groups, strata or [Stratum(np.arange(len(groups)), sizes.intervals)])
    if sum(len(part.members) for part in parts) < LEAST:
        return min(1.0, math.sqrt(chance))
    drawn = np.sum([draws(random, part, len(groups), _DRAWS) for part in parts], axis=0)
    windows = shares((drawn / drawn.sum(axis=1, keepdims=True)) @ shares(groups))
    rest = np.isin(np.arange(len(groups)), np.concatenate([part.members for part in parts]))
    left = shares(((drawn == 0) & rest).astype(np.float64) @ groups)
    by_intervals = cells.distances(shares(random.multinomial(rows, _exactly(windows))), left) ** 2
    between = max(0.0, 1 - float(by_rows.mean()) / max(float(by_intervals.mean()), 1e-300))
    freedom = sum(len(part.members) - 1 for part in parts)
    few = (_student(alarms / 2, freedom + 1) / _normal(alarms / 2)) ** 2
    tail = alarms / (1 + (1 - between) * (_SHORT - 1))
    greatest = max(chance, _greatest(by_intervals, rows, tail) * (1 + between * (few - 1)))
    return min(1.0, math.sqrt(greatest))


def share(odd: Sequence[int], rows: Sequence[int], sizes: Sizes) -> float:
    """The greatest share of a window's rows that is normally odd in some way: null, out of range, of a new category.

    Args:
        odd: rows of each interval of the reference that are odd.
        rows: all rows of each.
        sizes: the window's.
    """
    from scipy.stats import beta, binom

    alarms, found, count = (1 - _OF_DISTANCES) * ALARMS / sizes.columns, sum(odd), sum(rows)
    # Half for what the share may be, as few rows tell of it, half for what a window then has of it.
    likely = float(beta.ppf(1 - alarms / 2, found + 0.5, count - found + 0.5)) if count else 1.0
    by_chance = float(binom.ppf(1 - alarms / 2, max(1, sizes.rows), likely)) / max(1, sizes.rows)
    held = [each / of for each, of in zip(odd, rows, strict=True) if of]
    if len(held) < LEAST:
        return min(1.0, max(_MATERIAL, by_chance))
    spread = float(np.std(held, ddof=1)) * math.sqrt(1 / sizes.intervals + 1 / len(held))
    return min(1.0, max(_MATERIAL, by_chance, float(np.mean(held)) + _student(alarms, len(held)) * spread))


def volume(earlier: Sequence[int]) -> tuple[float, float] | None:
    """The fewest and the most rows that are normal for an interval; None: too few intervals like it are known.

    Args:
        earlier: rows of the intervals before that are like it.
    """
    if len(earlier) < LEAST:
        return None
    logs = np.log(np.maximum(np.asarray(earlier, np.float64), 0.5))
    least = 1 / math.sqrt(max(1.0, float(np.mean(earlier))))  # what a count differs by when its rate does not
    spread = max(float(logs.std(ddof=1)), least) * math.sqrt(1 + 1 / len(earlier))
    reach = _student(ALARMS / 2, len(earlier)) * spread
    return math.exp(logs.mean() - reach), math.exp(logs.mean() + reach)


def value(seen: Sequence[float], *, alarms: float = ALARMS) -> float:
    """The greatest of values that are normal, by some that were seen without change."""
    spread = float(np.std(seen, ddof=1)) * math.sqrt(1 + 1 / len(seen))
    return float(np.mean(seen)) + _student(alarms, len(seen)) * spread


def _held(groups: Counts, strata: Sequence[Stratum]) -> list[Stratum]:
    """The same without intervals in which a column has no value."""
    held = groups.sum(axis=1) > 0
    parts = [Stratum(part.members[held[part.members]], part.drawn) for part in strata]
    return [part for part in parts if len(part.members)]


def draws(random: np.random.Generator, part: Stratum, intervals: int, windows: int) -> npt.NDArray[np.float64]:
    """How often each window draws each interval: windows by intervals. At least a third of those that are alike stays
    to compare with."""
    most = max(1, len(part.members) - math.ceil(len(part.members) / 3))
    picks = np.argsort(random.random((windows, len(part.members))), axis=1)[:, :most]
    picks = (
        picks[:, : part.drawn]
        if part.drawn <= most
        else random.permuted(np.tile(picks, math.ceil(part.drawn / most)), axis=1)[:, : part.drawn]
    )
    drawn = np.zeros((windows, intervals))
    np.add.at(drawn, (np.arange(windows)[:, None], part.members[picks]), 1.0)
    return drawn


def _exactly(windows: Floats) -> Floats:
    """Shares whose sum is no more than 1 in spite of rounding."""
    exactly: Floats = windows / (windows.sum(axis=1, keepdims=True) * (1 + 1e-12))
    return exactly


def _greatest(squares: Floats, rows: int, alarms: float) -> float:
    """What squared distances reach with a probability of `alarms`. They are sums of squares of nearly normal
    differences, so a gamma distribution fits them."""
    from scipy.stats import gamma

    least = (0.5 / rows) ** 2  # a constant has no distance: half a row stands for none
    mean, variance = max(float(squares.mean()), least), max(float(squares.var()), least**2)
    return float(gamma.ppf(1 - alarms, mean**2 / variance, scale=variance / mean))


def _normal(alarms: float) -> float:
    from scipy.stats import norm

    return float(norm.ppf(1 - alarms))


def _student(alarms: float, intervals: int) -> float:
    from scipy.stats import t

    return float(t.ppf(1 - alarms, intervals - 1))
