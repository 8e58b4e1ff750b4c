"""Bounds that hold at every look: on what two arms differ by, of scores by cell and of events that are rare. Pure.

Every function takes arrays with any axes before those that it names, so a thousand rollouts are one call. A bound is
passed at any look whatever, ever, with at most the probability that is asked for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

FEWEST = 50  # rows of each arm, before which nothing is said
_DEGREES = 8  # of freedom, as well
_EXPECTED = 2.0  # margins: bounds are tightest where differences are about so large
_TIMES = (1.1, 1000.0, 32)  # how much more often a challenger may fail: the least, the most, how many between
_HALVINGS = 16  # until a ratio is found
_STEPS = 12


@dataclass(frozen=True)
class Difference:
    """The challenger's mean score less the champion's, shape (...); more is worse.

    Attributes:
        seen: as it was observed.
        low: it is less than this at no look, but for the probability asked for.
        high: it is more than this at no look, likewise.
    """

    seen: Floats
    low: Floats
    high: Floats


def means(rows: Floats, totals: Floats, *, margin: float, alphas: tuple[float, float], rare: bool = True) -> Difference:
    """The difference of mean scores: an asymptotic confidence sequence over cells of entities.

    The sum of what entities differ by is compared with a boundary that a Brownian motion never crosses (a normal
    mixture). Requests of an entity go well or badly together, so what came later leans to what came before; by
    Slepian's inequality such a process crosses it less often than one with independent steps. How much cells differ is
    known from few of them: Student's t. Cells of an arm with fewer rows may agree by chance (no loss at all among a
    hundred rows): it varies at least as much, row for row, as the other one.

    Args:
        rows, totals: shape (..., strata, arms, cells).
        margin: the difference that matters.
        alphas: of `low`, of `high`.
        rare: scores are mostly 0, so an arm whose mean is greater also varies more: `high` is judged by how much an arm
            would vary that is worse by the margin.
    """
    import numpy as np

    count = rows.sum(-1)  # (..., strata, arms)
    some = np.maximum(count, 1)
    mean = totals.sum(-1) / some
    worth = count.prod(-1) / np.maximum(count.sum(-1), 1)
    weight = worth / np.maximum(worth.sum(-1, keepdims=True), 1e-300)  # (..., strata)
    part = (weight[..., None] / some)[..., None]  # of a row
    varied = (((totals - mean[..., None] * rows) * part).sum(-3) ** 2).sum(-1)  # (..., arms)
    size = (rows * part).sum(-3)
    effective = size.sum(-1) ** 2 / np.maximum((size**2).sum(-1), 1e-300)
    freedom = np.maximum(effective - 1, 1e-9)
    varied = varied * effective / freedom
    per_row = (weight[..., None] ** 2 / some).sum(-2)  # what a variance of 1 a row is for the mean
    fewer = (count.sum(-2)[..., 1] <= count.sum(-2)[..., 0]).astype(int)[..., None]
    other = np.take_along_axis(varied, 1 - fewer, -1)[..., 0] / np.maximum(
        np.take_along_axis(per_row, 1 - fewer, -1)[..., 0], 1e-300
    )  # of a row of the arm with more rows
    level = np.take_along_axis((mean * weight[..., None]).sum(-2), 1 - fewer, -1)[..., 0]
    at_margin = np.where(level > 0, other * (1 + margin / np.maximum(level, 1e-300)), margin) if rare else other
    seen = (weight * (mean[..., 1] - mean[..., 0])).sum(-1)
    told = (count.sum(-2).min(-1) >= FEWEST) & (worth.sum(-1) > 0)
    ends = []
    for least, alpha in zip((other, at_margin), alphas, strict=True):
        floor = np.where(np.arange(2) == fewer, least[..., None] * per_row, 0)
        variances = np.maximum(varied, floor)
        variance = variances.sum(-1)
        degrees = variance**2 / np.maximum((variances**2 / freedom).sum(-1), 1e-300)
        known = told & (variance > 0) & (degrees >= _DEGREES)
        width = deviations(np.maximum(variance, 1e-300), _EXPECTED * margin, alpha, np.maximum(degrees, _DEGREES))
        ends.append(np.where(known, width * np.sqrt(variance), np.inf))
    return Difference(seen, seen - ends[0], seen + ends[1])


def paired(
    rows: Floats, differences: Floats, *, margin: float, alphas: tuple[float, float], rare: bool = True
) -> Difference:
    """The same where both arms answered the same requests: of each request the difference alone varies, which is little
    where two versions hardly differ.

    Versions that differ in few answers may agree in all so far by chance: a row varies at least as much as where a
    challenger that is worse by the margin loses all of a row, once in a while (`rare`); else by the margin.

    Args:
        rows, differences: shape (..., cells); of each request the challenger's score less the champion's.
        alphas: of `low`, of `high`.
    """
    import numpy as np

    count = rows.sum(-1)
    some = np.maximum(count, 1)
    seen = differences.sum(-1) / some
    apart = ((differences - seen[..., None] * rows) ** 2).sum(-1) / some**2
    effective = some**2 / np.maximum((rows**2).sum(-1), 1)
    freedom = np.maximum(effective - 1, 1e-9)
    variance = np.maximum(apart * effective / freedom, (margin if rare else margin**2) / some)
    told = (count >= FEWEST) & (freedom >= _DEGREES)
    ends = []
    for alpha in alphas:
        width = deviations(variance, _EXPECTED * margin, alpha, np.maximum(freedom, _DEGREES))
        ends.append(np.where(told, width * np.sqrt(variance), np.inf))
    return Difference(seen, seen - ends[0], seen + ends[1])


def events(rows: Floats, failed: Floats, shares: Floats, *, alphas: tuple[float, float]) -> Difference:
    """The difference of the shares of requests that fail, of each entity the first failure: exact, however few.

    Whose request fails in both arms is the challenger's with the probability of its share, whatever else goes on: each
    failure is a draw, against which all ratios of rates are betted at once (`low`). How often each arm fails at most
    and at least is bounded by a gamma mixture of Poisson processes (`high`).

    Args:
        rows, failed: shape (..., strata, arms).
        shares: of the challenger, shape (strata,).
        alphas: of `low`, of `high`.
    """
    import numpy as np

    most = rows[..., 1].argmax(-1)[..., None, None]  # the share under which the challenger answered most
    count, bad = (np.take_along_axis(each, most, -2)[..., 0, :] for each in (rows, failed))
    rate = bad / np.maximum(count, 1)
    spent = 2.0 ** -(most[..., 0, 0] + 1)  # of the probability: any of the shares may come to be that one

    def apart(alpha: float) -> tuple[Floats, Floats]:
        low, high = (bound / np.maximum(count, 1) for bound in _of_events(bad, alpha / 2 * spent[..., None]))
        none = count.min(-1) == 0
        return (
            np.where(none, -np.inf, low[..., 1] - high[..., 0]),
            np.where(none, np.inf, high[..., 1] - low[..., 0]),
        )

    low, high = np.array(np.minimum(apart(alphas[0])[0], 0)), apart(alphas[1])[1]
    needed = math.log(1 / alphas[0])
    more = _evidence(failed, shares, np.ones(bad.shape[:-1])) >= needed
    if more.any():
        # Of what the challenger fails in, what the champion would not have failed in.
        everywhere = failed[..., 1].sum(-1) / np.maximum(rows[..., 1].sum(-1), 1)
        low[more] = everywhere[more] * (1 - 1 / _least_ratio(failed[more], shares, needed))
    return Difference(rate[..., 1] - rate[..., 0], low, high)


def deviations(variance: Floats, expected: float, alpha: float, degrees: Floats) -> Floats:
    """How many standard deviations a mean may be off at any look: the one-sided normal mixture (Robbins 1970; Howard
    and others 2021; Waudby-Smith and others 2024), by Student's t (Wallace 1959)."""
    import numpy as np

    relative = variance / expected**2
    normal = np.sqrt(2 * (1 + relative) * np.log1p(np.sqrt(1 + 1 / relative) / (2 * alpha)))
    wider = (normal * (8 * degrees + 3) / (8 * degrees + 1)) ** 2 / degrees
    student: Floats = np.sqrt(degrees * np.expm1(np.minimum(wider, 500)))
    return student


def _likelihood(failed: Floats, shares: Floats, times: Floats) -> Floats:
    """Of which arm had which failure, in logarithms, where the challenger fails `times` as often; shape (...)."""
    import numpy as np

    odds = times[..., None] * shares
    both = np.log(odds + 1 - shares)
    likelihood: Floats = (failed[..., 1] * (np.log(odds) - both) + failed[..., 0] * (np.log1p(-shares) - both)).sum(-1)
    return likelihood


def _evidence(failed: Floats, shares: Floats, times: Floats) -> Floats:
    """That the challenger fails more than `times` as often: what bets on larger ratios have won, in logarithms."""
    import numpy as np

    bets = np.geomspace(*_TIMES)
    ours = _likelihood(failed[..., None, :, :], shares, times[..., None] * bets)
    won: Floats = np.logaddexp.reduce(ours, axis=-1) - math.log(len(bets)) - _likelihood(failed, shares, times)
    return won


def _least_ratio(failed: Floats, shares: Floats, needed: float) -> Floats:
    """Where the evidence is just as much as is needed; it is at 1."""
    import numpy as np

    low, high = np.zeros(failed.shape[:-2]), np.full(failed.shape[:-2], math.log(_TIMES[1]))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        enough = _evidence(failed, shares, np.exp(middle)) >= needed
        low, high = np.where(enough, middle, low), np.where(enough, high, middle)
    ratio: Floats = np.exp(low)
    return ratio


def _of_events(seen: Floats, alpha: Floats) -> tuple[Floats, Floats]:
    """How many events so many were seen of were to be expected, at least and at most, at every look."""
    import numpy as np

    numbers = np.arange(1, int(seen.max(initial=0)) + 1)
    factorial = np.concatenate([[0.0], np.cumsum(np.log(numbers))])[seen.astype(int)]
    needed = np.log(1 / alpha)
    near = np.sqrt(2 * needed * (seen + 1))
    ends = []
    for start in (np.maximum(seen - near, 0), seen + near + needed):
        expected = start
        for _ in range(_STEPS):  # Newton's: the function is convex, so from the second step on they come from outside
            value = expected + factorial - (1 + seen) * np.log1p(expected) - needed
            slope = (expected - seen) / (1 + expected)
            away = np.abs(slope) > 0
            expected = np.where(away, np.maximum(expected - value / np.where(away, slope, 1), 0), expected)
        ends.append(expected)
    return ends[0], ends[1]
