"""Rules that say when to retrain: the product's own, and those that teams use."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean

import numpy as np
import numpy.typing as npt

from benchmarks.decisions.fits import Fits
from benchmarks.decisions.replay import Past, Rule, live
from benchmarks.decisions.streams import Stream
from evergreen.monitor import paired

Floats = npt.NDArray[np.float64]

_SHARE = 0.5  # of the columns: Evidently's DataDriftPreset
_DISTANCE = 0.1  # its bound, in deviations of the reference
_PSI = 0.2  # "a major shift"
_SAMPLE = 5000  # rows of a reference
_QUANTILES = 1000  # from which the distance is taken: beside the bound, it is that of all rows
_TENTHS = np.linspace(0.1, 0.9, 9)


def evergreen(rule: paired.Rule, see: Callable[[paired.Evidence], object] = lambda _: None) -> Rule:
    """The product's own; `see` is told the evidence of each window."""

    def ask(past: Past) -> Iterator[bool]:
        fits = past.fits

        def windows() -> Iterator[paired.Window]:
            while (window := past.matured) is not None:
                champion, earlier = past.served[window], window - 1 - rule.refit
                yield paired.Window(
                    version=champion,
                    rows=float(fits.rows[window]),
                    champion=past.loss(window),
                    understudy=float(fits.losses[window - 1, window]),
                    earlier=float(fits.losses[earlier, window]) if earlier >= fits.window - 1 else None,
                    apart=window - 1 - champion,
                )

        while past.matured is None:
            yield False
        for evidence in paired.weigh(windows(), rule):
            see(evidence)
            # What matures of an older champion says nothing of the one that serves now.
            yield evidence.due and past.served[past.now - past.delay] == past.champion

    return ask


@dataclass(frozen=True)
class _Reference:
    """The rows that a champion learned from, by column.

    Attributes:
        quantiles: `_QUANTILES` by columns.
        deviations: of each column, and never nothing.
        edges, shares: between the tenths of each column, and how many rows stand between them.
    """

    quantiles: Floats
    deviations: Floats
    edges: tuple[Floats, ...]
    shares: tuple[Floats, ...]


class Drift:
    """How a stream's windows differ from what a model learned from; references of fewer than 1,000 rows, which
    Evidently tests instead of measuring a distance, there are none."""

    def __init__(self, stream: Stream, window: int) -> None:
        self._stream, self._window = stream, window
        self._reference = lru_cache(maxsize=None)(self._refer)
        self._sorted = lru_cache(maxsize=None)(lambda at: np.sort(stream.inputs[at], axis=0))
        self.drifted = lru_cache(maxsize=None)(self._drifted)
        self.psi = lru_cache(maxsize=None)(self._psi)

    def _refer(self, champion: int) -> _Reference:
        rows = np.concatenate(self._stream.inputs[champion + 1 - self._window : champion + 1])
        rows = np.sort(rows[:: max(1, len(rows) // _SAMPLE)], axis=0)
        edges = tuple(np.unique(np.quantile(column, _TENTHS)) for column in rows.T)
        shares = tuple(map(_shares, rows.T, edges))
        return _Reference(_quantiles(rows), np.maximum(rows.std(axis=0), 0.001), edges, shares)

    def _drifted(self, window: int, champion: int) -> float:
        """The share of the columns that Evidently's defaults call drifted: Wasserstein's distance in deviations."""
        reference = self._reference(champion)
        distances = np.abs(_quantiles(self._sorted(window)) - reference.quantiles).mean(axis=0)
        return float(np.mean(distances / reference.deviations >= _DISTANCE))

    def _psi(self, window: int, champion: int) -> float:
        """The largest population stability index of a column, over tenths of the reference."""
        reference, largest = self._reference(champion), 0.0
        for rows, edges, then in zip(self._sorted(window).T, reference.edges, reference.shares, strict=True):
            now = _shares(rows, edges)
            largest = max(largest, float(np.sum((now - then) * np.log(now / then))))
        return largest


def _quantiles(rows: Floats) -> Floats:
    """Of sorted columns."""
    at: Floats = rows[((np.arange(_QUANTILES) + 0.5) / _QUANTILES * len(rows)).astype(int)]
    return at


def _shares(rows: Floats, edges: Floats) -> Floats:
    """Of a sorted column between the edges; never nothing."""
    below = np.searchsorted(rows, edges, side="right")
    return np.clip(np.diff(below, prepend=0, append=len(rows)) / len(rows), 1e-4, None)


def by_windows(check: Callable[[int, int], bool]) -> Rule:
    """Retrain after every window that a check of it against the champion's training data calls different."""

    def rule(past: Past) -> Iterator[bool]:
        while True:
            yield check(past.now, past.champion)

    return rule


def half_of_the_columns(drift: Drift) -> Rule:
    """Evidently's preset: half of the columns drifted."""
    return by_windows(lambda window, champion: drift.drifted(window, champion) >= _SHARE)


def any_column(drift: Drift) -> Rule:
    """One drifted column is enough."""
    return by_windows(lambda window, champion: drift.drifted(window, champion) > 0)


def stability_index(drift: Drift) -> Rule:
    """A column's population stability index above 0.2."""
    return by_windows(lambda window, champion: drift.psi(window, champion) > _PSI)


def of_champions(begin: Callable[[], Callable[[Past, int], bool]]) -> Rule:
    """Ask about each window of the champion whose labels have just matured; a new champion begins anew.

    Args:
        begin: what is asked about the windows of one champion.
    """

    def rule(past: Past) -> Iterator[bool]:
        champion, ask = None, begin()
        while True:
            window = past.matured
            if window is None or past.served[window] != past.champion:
                yield False
                continue
            if champion not in (None, past.champion):
                ask = begin()
            champion = past.champion
            yield ask(past, window)

    return rule


def performance_drop(share: float = 0.1, of: int = 1, needed: int = 1) -> Rule:
    """The loss of a matured window is a tenth above that of the champion's first ones: in `needed` of the last `of`."""

    def begin() -> Callable[[Past, int], bool]:
        first, lately = list[float](), deque[bool](maxlen=of)

        def ask(past: Past, window: int) -> bool:
            loss = past.loss(window)
            if len(first) < 4:
                first.append(loss)
            lately.append(loss > (1 + share) * fmean(first))
            return sum(lately) >= needed

        return ask

    return of_champions(begin)


def avoidable_loss(unit: float, budget: float) -> Rule:
    """Modyn's avoidable misclassifications, as its documentation tells, in losses: what the champion loses above that
    which fresh champions lost on their first window adds up; retrain when it has reached the budget.

    Args:
        unit: a window's loss, to count the budget in.
    """

    def rule(past: Past) -> Iterator[bool]:
        fresh = list[float]()  # of all champions

        def begin() -> Callable[[Past, int], bool]:
            avoidable, known = 0.0, False

            def ask(past: Past, window: int) -> bool:
                nonlocal avoidable, known
                loss = past.loss(window)
                if not known:
                    fresh.append(loss)
                    known = True
                avoidable += max(0.0, loss - fmean(fresh)) * float(past.fits.rows[window])
                return avoidable >= budget * unit

            return ask

        return of_champions(begin)(past)

    return rule


def cumulative_staleness(threshold: float) -> Rule:
    """CARA with a cumulative threshold (Mahadevan and Mathioudakis, 2024), of which the queries are the window's own
    rows: then its staleness cost is the champion's loss. Retrain when what was lost since the last training reaches the
    threshold."""

    def begin() -> Callable[[Past, int], bool]:
        lost = 0.0

        def ask(past: Past, window: int) -> bool:
            nonlocal lost
            lost += past.loss(window)
            return lost >= threshold

        return ask

    return of_champions(begin)


def best_threshold(fits: Fits, delay: int, cost: float, windows: int) -> float:
    """CARA's threshold: the one with which loss and cost of retrainings would have been least in the first windows."""
    first = fits.window + delay
    until = first + windows
    seen = Fits(fits.window, fits.losses[:until, :until], fits.parts[:until, :until], fits.rows[:until])
    one = float(fits.losses[fits.window - 1, first:until].mean())

    def paid(threshold: float) -> float:
        lived = live(seen, delay, cumulative_staleness(threshold))
        return lived.loss * len(lived.losses) + cost * len(lived.retrained)

    return min((one * length for length in (2, 4, 7, 14, 28, 56, 2 * windows)), key=paid)
