"""Whether a retraining pays: the champion against a fresh fit of its own recipe, window by window. Pure.

When a window's labels have matured, the champion's recipe is fitted once more on the windows before it: the
understudy, which is compared and never deployed. What two neighbouring understudies differ by on the same window is
noise, and so is what the gap between champion and understudy jumps by from one window to the next. A retraining is due
when the gaps add up to more than noise, and the loss that it avoids has paid for it. A window is the unit of
observation, so what differs from window to window is in the noise.

Everything is computed anew from the windows each time: a late label replaces its window, and the same windows give
the same evidence.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

_DEVIATION = 1.4826  # of a normal distribution, in its median absolute deviations
_GROWTH = 0.4  # what fits differ by grows with this power of the windows between them
_RECENT = 8  # windows whose losses say how large one is
_LEAST = 0.05  # of such a loss: noise before there are differences to measure it by
_WORTH = 4  # as many differences as that first guess is worth
_MOST = 2.5  # deviations that one window can speak for: one odd window never retrains
_ALLOWANCE = 0.5  # deviations per window that are taken for none
_JUMPS = 5  # from window to window, before they say how much of a gap is noise
_BETS = (0.1, 0.2, 0.4)  # of the slow evidence; their mean is taken
_FIRST = 4  # windows of the first champion, whose mean loss is the unit of cost


@dataclass(frozen=True)
class Window:
    """What one window with matured labels says. Losses are means over its rows, of one proper loss.

    Attributes:
        version: of the champion.
        rows: its rows, in mean rows of a window of training.
        champion, understudy: their losses.
        earlier: the loss of the understudy fitted one refit before; None: there was none.
        apart: windows between the newest that the champion learned from and the newest that the understudy learned
            from; 0: the understudy is no newer, and says nothing.
        span: windows that were counted as one, since each had too few rows.
    """

    version: int
    rows: float
    champion: float
    understudy: float
    earlier: float | None
    apart: int
    span: int = 1


@dataclass(frozen=True)
class Rule:
    """What a model's spec says of it.

    Attributes:
        window: windows of a training.
        refit: windows between two understudies.
        delay: windows until a window's labels are mature.
        fast: bound of the evidence that adds up quickly, after a sudden change.
        slow: bound of the evidence that adds up slowly: without any change it reaches it once in so many champions.
        cost: of a retraining, in loss times windows; None: `share` of the first champion's loss.
    """

    window: int
    refit: int = 1
    delay: int = 0
    fast: float = 4.0
    slow: float = 20.0
    cost: float | None = None
    share: float = 0.35


@dataclass(frozen=True)
class Evidence:
    """What the windows up to one say.

    Attributes:
        gap: the champion's loss above the understudy's.
        noise: what this gap might be without any change, one standard deviation; None: not even a loss to guess it by.
        deviations: the gap in noise, as it was counted.
        fast, slow: the evidence since the champion's first window.
        avoided: loss that a retraining would have avoided since then, with what it will before its labels are there.
        cost: of a retraining; None: not known before the first champion's first windows.
        since: the position of the window with which the fast evidence began; None: there is none.
        due: a retraining is due.
    """

    gap: float
    noise: float | None
    deviations: float
    fast: float
    slow: float
    avoided: float
    cost: float | None
    since: int | None
    due: bool


@dataclass
class _Service:
    """What has come together since a champion's first window."""

    version: int
    fast: float = 0.0
    bets: tuple[float, ...] = (1.0,) * len(_BETS)
    avoided: float = 0.0
    since: int | None = None
    before: float | None = None  # the gap of the window before


def weigh(windows: Iterable[Window], rule: Rule) -> Iterator[Evidence]:
    """The evidence as of each window, oldest first; each is told before the next window is asked for."""
    differences: list[float] = []  # sorted, of neighbouring understudies
    jumps: list[float] = []  # sorted, of gaps from window to window
    losses: list[float] = []  # of understudies
    first: list[float] = []  # of the first champion
    initial, service = None, None
    for position, window in enumerate(windows):
        if service is None or service.version != window.version:
            service = _Service(window.version)
        initial = window.version if initial is None else initial
        if window.version == initial and len(first) < _FIRST:
            first.append(window.champion)
        losses.append(window.understudy)
        if window.earlier is not None:
            insort(differences, (window.earlier - window.understudy) / rule.refit**_GROWTH)
        gap, deviations, expected = window.champion - window.understudy, 0.0, service.avoided
        reach = min(window.apart, rule.window) ** _GROWTH if window.apart > 0 else 1.0
        if window.apart > 0:
            if service.before is not None:
                insort(jumps, abs(gap - service.before) / math.sqrt(2) / reach)
            service.before = gap
        noise = reach * _noise(differences, jumps, losses)
        if window.apart > 0 and noise > 0:
            deviations = max(-_MOST, min(_MOST, gap / noise))
            service.fast = max(0.0, service.fast + deviations - _ALLOWANCE)
            growth = [1 + size * deviations / _MOST for size in _BETS]
            service.bets = tuple(bet * grown for bet, grown in zip(service.bets, growth, strict=True))
            service.avoided += gap * window.rows
            expected = service.avoided + (rule.delay / window.span + 1) * max(0.0, gap * window.rows)
        service.since = None if service.fast == 0 else position if service.since is None else service.since
        cost = rule.cost if rule.cost is not None else rule.share * fmean(first) if len(first) == _FIRST else None
        fast, slow = service.fast, fmean(service.bets)
        believed = fast >= rule.fast or slow >= rule.slow
        due = window.apart > 0 and believed and cost is not None and expected >= cost
        yield Evidence(gap, noise or None, deviations, fast, slow, expected, cost, service.since, due)


def deviation(values: Sequence[float]) -> float:
    """The standard deviation, as most of the values tell it: a few odd ones do not count."""
    return _sorted_deviation(sorted(values))


def _sorted_deviation(values: Sequence[float]) -> float:
    """The same of values that are sorted: how many there are hardly matters, and it is asked for with every window."""
    middle, half = _middle(values), len(values) // 2
    least = _farthest(values, middle, half + 1)
    return _DEVIATION * (least if len(values) % 2 else (_farthest(values, middle, half) + least) / 2)


def _farthest(values: Sequence[float], middle: float, count: int) -> float:
    """How far the farthest of so many sorted values is that are nearest to the middle. They stand side by side."""
    first, last = 0, len(values) - count
    while first < last:
        between = (first + last) // 2
        if middle - values[between] > values[between + count] - middle:
            first = between + 1
        else:
            last = between
    return max(middle - values[first], values[first + count - 1] - middle)


def _middle(values: Sequence[float]) -> float:
    """The median of values that are sorted."""
    half = len(values) // 2
    return values[half] if len(values) % 2 else (values[half - 1] + values[half]) / 2


def _noise(differences: Sequence[float], jumps: Sequence[float], losses: Sequence[float]) -> float:
    """What a gap of one window's reach differs by: a first guess, which what was seen outweighs."""
    noise = _LEAST * fmean(losses[-_RECENT:])
    if differences:
        count = len(differences)
        noise = math.sqrt((_WORTH * noise**2 + count * _sorted_deviation(differences) ** 2) / (_WORTH + count))
    # Neighbours learned from nearly the same rows, a champion from others: on a day unlike all others they differ by
    # more than neighbours do. What lasts makes no jump, and stays evidence.
    return noise if len(jumps) < _JUMPS else math.hypot(noise, _DEVIATION * _middle(jumps))
