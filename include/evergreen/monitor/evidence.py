"""What the windows whose labels have matured say of the champion: whether a retraining pays, whether the last one
helped, and whether none would. Pure: the same rows give the same answer, whenever and in whichever order they came.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from statistics import fmean, median
from typing import Any

from evergreen.monitor import paired
from evergreen.spec.schema import ModelSpec

FEWEST = 200  # labelled rows that a window needs to speak for itself; smaller ones are counted with those after them

_RECENT = 4  # windows that are bad now
_BEFORE = 8  # windows that are needed to know what is usual
_KNOWN = 30  # at most
_WORSE = 1.1  # of the usual loss: less is no reason to disturb anybody


@dataclass(frozen=True)
class Row:
    """What one window says; the columns of the lake's layer `windows`."""

    window: datetime
    version: int
    rows: int
    usual: float | None
    champion: float | None
    understudy: float | None
    earlier: float | None
    replaced: float | None
    apart: int
    made_from: str
    known_at: datetime


@dataclass(frozen=True)
class Helped:
    """What a champion is worth against the one that it replaced.

    Attributes:
        version: the champion.
        gain: the mean loss of the other one, less its own, on the same rows.
        rows: how many.
    """

    version: int
    gain: float
    rows: int

    @property
    def known(self) -> bool:
        """Whether there are enough rows to say so."""
        return self.rows >= FEWEST


@dataclass(frozen=True)
class Unfit:
    """A recipe that no longer fits: fresh fits of it lose as much as the champion, and both more than they did.

    Attributes:
        usual: what understudies lost before, in the mean.
        now: what they lose on the newest windows.
        since: the first of those.
        versions: the champions of all these windows, the newest last.
        recipe: how the newest one's recipe differs from those of the others, in words: then it may be the recipe that
            is worse, and not the world; None: it is the same.
    """

    usual: float
    now: float
    since: datetime
    versions: tuple[int, ...] = ()
    recipe: str | None = None


@dataclass(frozen=True)
class Weighed:
    """What is known of a champion.

    Attributes:
        windows: how many windows speak of it.
        evidence: as of the newest of them; None: there is none yet.
        changed_at: the window with which the fast evidence began; None: it did not.
        helped: whether it was worth promoting; None: it replaced none, or nothing is known yet.
        unfit: whether its recipe no longer fits; None: it does, or nobody can say.
    """

    windows: int = 0
    evidence: paired.Evidence | None = None
    changed_at: datetime | None = None
    helped: Helped | None = None
    unfit: Unfit | None = None

    @property
    def numbers(self) -> dict[str, Any]:
        """For the record."""
        of = {} if self.evidence is None else asdict(self.evidence)
        of.pop("since", None)
        of |= {"windows": self.windows}
        if self.helped is not None:
            of["helped"] = asdict(self.helped)
        return of


NOTHING = Weighed()


@dataclass(frozen=True)
class _Merged:
    """A window, or several small ones that are counted as one."""

    start: datetime
    of: tuple[Row, ...]

    @property
    def window(self) -> paired.Window:
        earlier = [row.earlier for row in self.of]
        return paired.Window(
            version=self.of[0].version,
            rows=sum(row.rows / (row.usual or row.rows) for row in self.of),
            champion=self._mean([row.champion for row in self.of]),
            understudy=self._mean([row.understudy for row in self.of]),
            earlier=None if None in earlier else self._mean(earlier),
            apart=max(row.apart for row in self.of),
            span=len(self.of),
        )

    def _mean(self, losses: Sequence[float | None]) -> float:
        """Over all rows."""
        counted = [(row.rows, loss) for row, loss in zip(self.of, losses, strict=True) if loss is not None]
        return sum(rows * loss for rows, loss in counted) / sum(rows for rows, _ in counted)


def rule(spec: ModelSpec) -> paired.Rule:
    """What a model's spec says of the rule that says whether a retraining pays."""
    calendar, retrain = spec.calendar, spec.monitoring.retrain
    interval = calendar.first_of(spec.first_day)
    delay = (spec.asking.mature_at(interval) - interval.end) / calendar.longest
    return paired.Rule(
        window=max(1, spec.split.window // calendar.longest),
        refit=retrain.understudy_every,
        delay=max(0, math.ceil(delay)),
        fast=retrain.bound,
        slow=retrain.slow,
        cost=retrain.cost,
        share=retrain.share,
    )


@dataclass(frozen=True)
class Told:
    """A window, or several small ones that are counted as one from `start` on, and the evidence as of it."""

    start: datetime
    window: paired.Window
    evidence: paired.Evidence


def told(spec: ModelSpec, rows: Iterable[Row], incidents: Collection[datetime] = ()) -> list[Told]:
    """The windows that are evidence, the oldest first, and what is known as of each; arguments as `weigh` has them."""
    ordered = sorted(rows, key=lambda row: row.window)
    merged = [(each.start, each.window) for each in _merged(row for row in ordered if row.window not in incidents)]
    known = paired.weigh([window for _, window in merged], rule(spec))
    return [Told(start, window, evidence) for (start, window), evidence in zip(merged, known, strict=True)]


def weigh(spec: ModelSpec, rows: Collection[Row], champion: int, incidents: Collection[datetime] = ()) -> Weighed:
    """What is known of a champion.

    Args:
        rows: of all windows whose labels were mature, in any order.
        champion: its version.
        incidents: starts of windows whose data was wrong: they are no evidence.
    """
    windows, worth = told(spec, rows, incidents), helped(rows, champion)
    if not windows or windows[-1].window.version != champion:
        return Weighed(helped=worth)
    newest = windows[-1].evidence
    return Weighed(
        windows=sum(each.window.version == champion for each in windows),
        evidence=newest,
        changed_at=None if newest.since is None else windows[newest.since].start,
        helped=worth,
        unfit=None if newest.fast >= spec.monitoring.retrain.bound else _unfit(windows),
    )


def helped(rows: Iterable[Row], version: int) -> Helped | None:
    """Whether it was worth promoting a version."""
    own = [
        (row.rows, row.replaced - row.champion)
        for row in rows
        if row.version == version and row.replaced is not None and row.champion is not None
    ]
    count = sum(number for number, _ in own)
    return Helped(version, sum(number * gain for number, gain in own) / count, count) if count else None


def _merged(rows: Iterable[Row]) -> Iterator[_Merged]:
    """Windows with enough rows, oldest first; what is left over at the end, or of an older champion, is none yet."""
    held: list[Row] = []
    for row in rows:
        if row.champion is None or row.understudy is None:
            continue
        held = [*held, row] if held and held[0].version == row.version else [row]
        if sum(each.rows for each in held) >= FEWEST:
            yield _Merged(held[0].window, tuple(held))
            held = []


def _unfit(windows: Sequence[Told]) -> Unfit | None:
    newest, losses = windows[-1].evidence, [each.window.understudy for each in windows]
    now, before = losses[-_RECENT:], losses[-_KNOWN - _RECENT : -_RECENT]
    if len(before) < _BEFORE or (newest.noise is not None and newest.gap > newest.noise):
        return None
    usual, deviation = median(before), paired.deviation(before)
    if min(now) <= usual + deviation or fmean(now) <= max(usual + 2 * deviation, _WORSE * usual):
        return None
    versions = dict.fromkeys(each.window.version for each in windows[-_KNOWN - _RECENT :])
    return Unfit(usual, fmean(now), windows[-_RECENT].start, tuple(versions))
