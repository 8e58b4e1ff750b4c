"""Whether a challenger does as well as the champion, on what both answered so far: a verdict that may be asked for at
every look. Pure.

Requests are dealt to arms by the hash of their entity, so what differs is the version, or chance; or both arms answer
the same requests, and what differs is the version alone. Over a whole rollout, however often it is looked at:

- a challenger that is worse in nothing is taken for worse with a probability of `alpha` at most: the probability is
  split among the measures;
- one that is worse by the margin in anything is taken for not worse with a probability of `alpha` at most: for that
  every measure must say so, so nothing is split;
- one that is no better in the measure that decides is taken for better with a probability of `alpha` at most.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from evergreen.rollout import bounds
from evergreen.rollout.tallies import Tally

if TYPE_CHECKING:
    from evergreen.rollout.bounds import Difference, Floats

ALPHA = 0.05
SHARE, MOVED = 0.01, 0.1  # differences that matter: of losses and of slow answers, of where answers lie

Verdict = Literal["worse", "undecided", "not worse", "better"]
Way = Literal["paired", "dealt"]  # both answer the same requests; each entity is answered by one of them


@dataclass(frozen=True)
class Measure:
    """What the arms are compared in.

    Attributes:
        name: as the log tells it.
        margin: the difference that matters, of scores from 0 to 1.
        kind: `mean`: of the scores of rows, less is better (1: a wrong or a slow answer; a loss, of the greatest
            possible). `event`: rare failures, 1 for the first of an entity in this rollout, 0 for every other request.
            `shift`: of the scores of rows, neither way is better, and the margin is what may not be.
        decides: a challenger is better when it is better in this.
    """

    name: str
    margin: float
    kind: Literal["mean", "event", "shift"] = "mean"
    decides: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.margin < 1:
            raise ValueError(f"the margin of {self.name} is between 0 and 1, this one is {self.margin!r}")


MEASURES = (
    Measure("errors", SHARE / 2, "event"),
    Measure("non-finite answers", SHARE / 2, "event"),
    Measure("slow answers", SHARE),  # slower than what 99 % of the champion's were before the rollout
    Measure("answers", MOVED, "shift"),  # their rank among those of the champion before the rollout
    Measure("outcomes", SHARE, decides=True),
)


@dataclass(frozen=True)
class Compared:
    """One measure.

    Attributes:
        measure: what was compared.
        verdict: `not worse` is not worse by the margin.
        difference: the challenger's mean score less the champion's; None: an arm has no rows.
        low, high: where it lies; None: not bounded yet. `low` errs with the measure's part of alpha, `high` with alpha.
        rows: of the champion and of the challenger.
        moved: the answers of a shadow lie elsewhere, by more than the margin, and outcomes do not tell yet whether that
            is good.
    """

    measure: Measure
    verdict: Verdict
    difference: float | None
    low: float | None
    high: float | None
    rows: tuple[int, int]
    moved: bool = False

    @property
    def sentence(self) -> str:
        """For the log."""
        on = f"on {self.rows[0]:,} requests of the champion and {self.rows[1]:,} of the challenger"
        if self.difference is None:
            return f"{self.measure.name}: nothing to compare yet, {on}"
        named = (("at least", self.low), ("at most", self.high))
        ends = [f"{name} {_points(end)}" for name, end in named if end is not None] or ["no bounds yet"]
        bounded = f"{', '.join(ends)}; margin {_points(self.measure.margin, sign=False)}"
        said = _SAID[self.measure.kind == "shift"][self.verdict]
        return f"{self.measure.name}: {said}, {_points(self.difference)} points ({bounded}) {on}"


@dataclass(frozen=True)
class Judgement:
    """All measures together.

    Attributes:
        verdict: `worse` where any measure is, `better` where the one that decides is and none is open, `not worse`
            where every measure is that at least.
        compared: each measure, in their order.
        alpha: the stated error rate (the module's first lines).
    """

    verdict: Verdict
    compared: tuple[Compared, ...]
    alpha: float

    @property
    def sentence(self) -> str:
        """For the log: what was decided, and by which measures."""
        counted = {
            "worse": [each for each in self.compared if each.verdict == "worse"],
            "undecided": [each for each in self.compared if each.verdict == "undecided"],
        }.get(self.verdict, list(self.compared))
        told = "; ".join(each.sentence for each in counted) or "nothing is compared"
        return f"the challenger is {_ALL[self.verdict]}: {told}"


def judge(
    tallies: Mapping[str, Tally],
    measures: Sequence[Measure] = MEASURES,
    alpha: float = ALPHA,
    ways: Sequence[Way] = ("dealt",),
    *,
    shadow: bool = False,
) -> Judgement:
    """The verdict on all that was seen so far.

    Args:
        tallies: by the measure's name; a measure without one is not decided.
        measures: the same at every look of a rollout, or the rates do not hold.
        alpha: of the rates in the module's first lines.
        ways: in which the rollout compares from its first step to its last; the rates are split among them.
        shadow: nobody is given the challenger's answers now.
    """
    if not 0 < alpha < 0.5:
        raise ValueError(f"alpha is between 0 and 0.5, this one is {alpha!r}")
    part = alpha / max(1, len(measures))
    told = [_compared(each, tallies.get(each.name, Tally()), part, alpha, ways) for each in measures]
    compared = tuple(_moved(each, told, shadow) for each in told)
    verdicts = {each.verdict for each in compared}
    overall: Verdict
    if "worse" in verdicts:
        overall = "worse"
    elif "undecided" in verdicts or not verdicts:
        overall = "undecided"
    else:
        decided = any(each.measure.decides and each.verdict == "better" for each in compared)
        overall = "better" if decided else "not worse"
    return Judgement(overall, compared, alpha)


def bounded(
    measure: Measure, rows: Floats, totals: Floats, shares: Floats, *, part: float, alpha: float
) -> tuple[Difference, Difference]:
    """How the arms differ in one measure; and with the bounds of a shift by which a challenger is worse.

    Args:
        rows, totals: shape (..., strata, arms, cells).
        shares: of the challenger, shape (strata,).
        part: of alpha, the measure's.
    """
    margin = measure.margin
    if measure.kind == "shift":
        within, wider = (
            bounds.means(rows, totals, margin=margin, alphas=(each, each), rare=False) for each in (alpha, part / 2)
        )
        return within, wider
    if measure.kind == "event":
        found = bounds.events(rows.sum(-1), totals.sum(-1), shares, alphas=(part, alpha))
    else:
        found = bounds.means(rows, totals, margin=margin, alphas=(part, alpha))
    return found, found


def decide(measure: Measure, low: float, high: float, within: tuple[float, float]) -> Verdict:
    """The verdict of one measure.

    Args:
        measure: with its margin.
        low, high: the interval of the difference.
        within: of a shift, the interval that errs with the measure's part of alpha; else not looked at.
    """
    if measure.kind == "shift":
        if within[0] > measure.margin or within[1] < -measure.margin:
            return "worse"
        return "not worse" if -measure.margin < low and high < measure.margin else "undecided"
    if high < 0:
        return "better"
    if high < measure.margin:
        return "not worse"  # perhaps worse, but by less than what matters
    return "worse" if low > 0 else "undecided"


def _moved(each: Compared, all_of_them: Sequence[Compared], shadow: bool) -> Compared:
    """Answers that lie elsewhere are no fault of a version that loses no more: that is what a retraining is for, where
    the world has changed. While outcomes do not tell, they are enough to withdraw it; a shadow's harm nobody."""
    if each.measure.kind != "shift" or each.verdict != "worse":
        return each
    if any(one.measure.decides and one.verdict in ("better", "not worse") for one in all_of_them):
        return replace(each, verdict="not worse")
    return replace(each, verdict="undecided", moved=True) if shadow else each


_FIRST: Sequence[Verdict] = ("worse", "better", "not worse", "undecided")  # what one way says outweighs the others'


def _compared(measure: Measure, tally: Tally, part: float, alpha: float, ways: Sequence[Way]) -> Compared:
    told = [_one_way(measure, tally, way, part / len(ways), alpha / len(ways)) for way in ways]
    return min(told, key=lambda each: (_FIRST.index(each.verdict), -sum(each.rows)))


def _one_way(measure: Measure, tally: Tally, way: Way, part: float, alpha: float) -> Compared:
    paired = way == "paired"
    champion, challenger = (sum(each) for each in tally.pairs.rows) if paired else tally.rows
    if not champion or not challenger:
        return Compared(measure, "undecided", None, None, None, (champion, challenger))
    shares, rows, totals = tally.paired() if paired else tally.arrays()
    if paired and measure.kind != "event":
        found, wider = _of_pairs(measure, rows[0, 0], totals[0, 1] - totals[0, 0], part, alpha)
    else:
        found, wider = bounded(measure, rows, totals, shares, part=part, alpha=alpha)
    low, high = float(found.low), float(found.high)
    return Compared(
        measure,
        decide(measure, low, high, (float(wider.low), float(wider.high))),
        float(found.seen),
        low if math.isfinite(low) else None,
        high if math.isfinite(high) else None,
        (champion, challenger),
    )


def _of_pairs(
    measure: Measure, rows: Floats, differences: Floats, part: float, alpha: float
) -> tuple[Difference, Difference]:
    """As `bounded`, of requests that both arms answered."""
    if measure.kind == "shift":
        within, wider = (
            bounds.paired(rows, differences, margin=measure.margin, alphas=(each, each), rare=False)
            for each in (alpha, part / 2)
        )
        return within, wider
    found = bounds.paired(rows, differences, margin=measure.margin, alphas=(part, alpha))
    return found, found


_ALL = {
    "worse": "worse",
    "undecided": "not judged yet",
    "not worse": "not worse by the margins",
    "better": "better",
}
_SAID = (
    {"worse": "worse", "undecided": "not told yet", "not worse": "not worse by the margin", "better": "better"},
    {
        "worse": "moved by more than the margin",
        "undecided": "not told yet",
        "not worse": "moved by less than the margin",
    },
)


def _points(value: float, sign: bool = True) -> str:
    """In hundredths, as shares of requests are told."""
    return f"{value * 100:{'+' if sign else ''}.2f}"
