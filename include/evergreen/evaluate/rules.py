"""The gates: named checks with an observed value, a bound, a verdict and a reason. Pure; they fail closed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from evergreen.handovers.gate import Gate, Verdict, failures, known, number
from evergreen.handovers.train import Comparison, Evaluated, Scores, Since
from evergreen.spec.gates import BetterThanChampion, Gates
from evergreen.spec.measures import MEASURES, MetricName
from evergreen.spec.problem import Problem

CHAMPION_GATE = "better than the champion"
MARGIN_SHARE = 0.1  # of what the champion gains over the baseline: `gates.refit_loss` allows as much
_MOST_TIMES = 1e4  # its square times more rows than there are will never be there


@dataclass(frozen=True)
class Champion:
    """What the candidate is compared with."""

    as_of: datetime | None
    scores: Scores | None  # on the candidate's rows; None when it could not be scored
    problem: str = ""  # why it could not
    is_candidate: bool = False  # a rerun of the training that made the champion
    since: Since | None = None  # the only rows that count, where not all do
    comparison: Comparison | None = None
    over_baseline: float | None = None  # what it gains over the baseline on the same rows


@dataclass(frozen=True)
class Evidence:
    """What the gates look at."""

    problem: Problem
    metric: MetricName
    as_of: datetime
    rows: int
    rows_of_class: Mapping[str, int] | None  # None: the label has no classes
    candidate: Scores
    baseline: Scores  # of the trivial model (`Problem.baseline`)
    champion: Champion | None  # None: there is none yet
    after_change: bool = False  # the training follows a change of the world
    over_baseline: Comparison | None = None
    intervals: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)
    further: tuple[Gate, ...] = ()  # that were decided by looking at rows


def evidence(evaluated: Evaluated, problem: Problem, as_of: datetime) -> Evidence:
    """What the gates look at, out of what was scored."""
    scored = evaluated.champion
    return Evidence(
        problem=problem,
        metric=evaluated.metric,
        as_of=as_of,
        rows=evaluated.rows,
        rows_of_class=evaluated.rows_of_class,
        candidate=evaluated.best.scores,
        baseline=evaluated.baseline,
        champion=None
        if scored is None
        else Champion(
            scored.as_of,
            scored.scores,
            scored.problem,
            scored.is_candidate,
            scored.since,
            scored.comparison,
            scored.over_baseline,
        ),
        after_change=evaluated.after_change,
        over_baseline=evaluated.over_baseline,
        intervals=evaluated.intervals,
        further=evaluated.further,
    )


@dataclass(frozen=True)
class Test:
    """How a candidate is compared with the champion.

    Attributes:
        superior: its gain must surely be above 0, and at least the margin; else it must surely lose less than the
            margin.
        margin: None: it is not stated, and what the champion gains over the baseline is not known.
        derived: the margin is not stated, but follows from the champion.
    """

    superior: bool
    margin: float | None
    derived: bool

    @classmethod
    def of(cls, stated: BetterThanChampion, after_change: bool, over_baseline: float | None) -> Test:
        """What a spec states, and for the rest the defaults: a fresher model must not be worse, one for another world
        must be better; what matters is a tenth of what the champion is worth."""
        superior = after_change if stated.by is None else stated.by == "superiority"
        if stated.margin is not None:
            return cls(superior, stated.margin, derived=False)
        worth = MARGIN_SHARE * max(0.0, over_baseline) if known(over_baseline) else None
        return cls(superior, worth, derived=True)

    @property
    def bound(self) -> float | None:
        """Of superiority, the least gain; of non-inferiority what the interval must lie above."""
        return self.margin if self.superior or self.margin is None else -self.margin

    def gate(self, metric: MetricName, ours: float | None, champion: Champion) -> Gate:
        """The comparison with a champion that could be scored."""
        name, theirs, compared = CHAMPION_GATE, (champion.scores or {}).get(metric), champion.comparison
        if not known(ours) or not known(theirs):
            return Gate(name, None, self.bound, "no evidence", f"{metric} could not be computed for both")
        gain = MEASURES[metric].gain(ours, theirs)
        told = f"{metric} {ours:.4f} against {theirs:.4f} on the same rows"
        if self.margin is None:
            why = "no margin is stated, and what the champion gains over the baseline is not known"
            return Gate(name, gain, None, "no evidence", f"{told}: {why}")
        if compared is None or not (known(compared.low) and known(compared.high) and known(compared.tells)):
            groups = "" if compared is None else f" of {compared.groups} groups of rows"
            return Gate(name, gain, self.bound, "no evidence", f"{told}: no interval can be had{groups}")
        told_by_some = self.margin * _MOST_TIMES > compared.tells  # else the margin is as good as 0
        enough = math.ceil(compared.rows * (compared.tells / self.margin) ** 2) if told_by_some else None
        too_few = enough is not None and enough > compared.rows
        verdict, why = self._verdict(gain, compared.low, compared.high, too_few)
        if verdict == "no evidence":
            why += f", about {enough:,} rows would do, there are {compared.rows:,}"
        return Gate(
            name,
            gain,
            self.bound,
            verdict,
            f"{told}: {why}",
            low=compared.low,
            high=compared.high,
            rows=compared.rows,
            enough=enough,
        )

    def _verdict(self, gain: float, low: float, high: float, too_few: bool) -> tuple[Verdict, str]:
        """The verdict, and why.

        Args:
            too_few: a gain of the margin would mostly not be told on so many rows.
        """
        assert self.margin is not None
        margin = f"{self.margin:.3g}{' (a tenth of what the champion gains over the baseline)' if self.derived else ''}"
        if self.superior:
            if low > 0:
                good = gain >= self.margin
                return ("pass", "surely better") if good else ("fail", f"better, but by less than {margin}")
            if too_few and high >= self.margin:
                return "no evidence", f"these rows cannot tell a gain of {margin} from none"
            return "fail", "not surely better"
        if low > -self.margin:
            return "pass", f"surely not worse by {margin}"
        if too_few and high >= 0:
            return "no evidence", f"these rows cannot tell a loss of {margin} from none"
        return "fail", "worse" if high < 0 else f"perhaps worse by {margin}"


def gates(evidence: Evidence, bounds: Gates) -> list[Gate]:
    """Every gate of a candidate, in the order in which they are told."""
    return [
        _enough("evaluation rows", evidence.rows, bounds.minimum_rows),
        *_every_class(evidence, bounds.fewest_of_class(evidence.problem)),
        *(
            _within(
                _floor(metric, evidence.candidate.get(metric), bound), *evidence.intervals.get(metric, (None, None))
            )
            for metric, bound in bounds.floor.items()
        ),
        _better_than_baseline(evidence, bounds.better_than_baseline),
        *_against_champion(evidence, bounds),
        *evidence.further,
    ]


def verdict(checked: list[Gate]) -> Verdict:
    """The verdict of all gates together: missing evidence outweighs a failure, and a failure a pass.

    No gates: no evidence.
    """
    verdicts = {gate.verdict for gate in checked}
    if not verdicts or "no evidence" in verdicts:
        return "no evidence"
    return "fail" if "fail" in verdicts else "pass"


def reason(checked: list[Gate]) -> str:
    """Why it is not a pass, in one line."""
    return failures(checked) or "every gate passed"


def table(checked: list[Gate]) -> list[str]:
    """The gates as aligned lines, for a log."""
    rows = [("gate", "observed", "interval", "bound", "verdict", "reason")]
    rows += [
        (gate.name, number(gate.observed), gate.interval, number(gate.bound), gate.verdict, gate.reason)
        for gate in checked
    ]
    return aligned(rows)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines whose columns stand below one another, the first row as their heads."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _enough(name: str, observed: int, bound: int) -> Gate:
    enough = observed >= bound
    return Gate(
        name,
        observed,
        bound,
        "pass" if enough else "no evidence",
        f"{'' if enough else 'only '}{observed} of at least {bound}",
    )


def _every_class(evidence: Evidence, bound: int) -> Iterator[Gate]:
    counts = evidence.rows_of_class
    if counts is not None:
        rarest = min(counts, key=lambda each: counts[each])
        gate = _enough(f"rows of the {'rarer' if len(counts) == 2 else 'rarest'} class", counts[rarest], bound)
        yield replace(gate, reason=f"class {rarest}: {gate.reason}")


def _floor(metric: MetricName, observed: float | None, bound: float) -> Gate:
    measure = MEASURES[metric]
    name = f"{metric} at {'most' if measure.lower_is_better else 'least'}"
    if not known(observed):
        return Gate(name, None, bound, "no evidence", f"{metric} could not be computed")
    good = measure.reaches(observed, bound)
    return Gate(name, observed, bound, "pass" if good else "fail", f"{metric} {observed:.4f}, bound {bound:g}")


def _better_than_baseline(evidence: Evidence, bound: float) -> Gate:
    name, metric, compared = "better than the baseline", evidence.metric, evidence.over_baseline
    ours, theirs = evidence.candidate.get(metric), evidence.baseline.get(metric)
    if not known(ours) or not known(theirs):
        return Gate(name, None, bound, "no evidence", f"{metric} could not be computed for both")
    gain = MEASURES[metric].gain(ours, theirs)
    good = gain > 0 and gain >= bound
    reason = f"{metric} {ours:.4f} against {theirs:.4f} on the same rows"
    gate = Gate(name, gain, bound, "pass" if good else "fail", reason)
    return gate if compared is None else _within(gate, compared.low, compared.high)


def _within(gate: Gate, low: float | None, high: float | None) -> Gate:
    """The gate with the interval of what it observed."""
    return replace(gate, low=low, high=high) if known(low) and known(high) else gate


def _against_champion(evidence: Evidence, bounds: Gates) -> Iterator[Gate]:
    champion = evidence.champion
    if champion is None:
        yield Gate(CHAMPION_GATE, None, bounds.better_than_champion.margin, "pass", "there is no champion yet")
        return
    test = Test.of(bounds.better_than_champion, evidence.after_change, champion.over_baseline)
    name, bound, since = CHAMPION_GATE, test.bound, champion.since
    if champion.is_candidate and (champion.scores is not None or since is not None):
        yield Gate(name, 0.0, bound, "fail", "the candidate is the champion already")
    elif since is not None and (refusal := _not_since(bound, evidence, champion, since, bounds)) is not None:
        yield refusal
    elif champion.scores is None:
        yield Gate(
            name,
            None,
            bound,
            "no evidence",
            f"the champion could not be scored: {champion.problem or 'no reason given'}",
        )
    else:
        ours = evidence.candidate if since is None else since.candidate
        yield test.gate(evidence.metric, (ours or {}).get(evidence.metric), champion)
    name = "not older than the champion"
    if champion.as_of is None:
        yield Gate(name, None, None, "no evidence", "the champion does not say what it was trained as of")
        return
    good = evidence.as_of >= champion.as_of
    yield Gate(
        name,
        None,
        None,
        "pass" if good else "fail",
        f"as of {_moment(evidence.as_of)}, the champion as of {_moment(champion.as_of)}",
    )


def _not_since(bound: float | None, evidence: Evidence, champion: Champion, since: Since, bounds: Gates) -> Gate | None:
    """Why a champion is not compared of whose rows only those from after some moment count: they are too few; None when
    there are enough."""
    name, after = CHAMPION_GATE, f"from after {_moment(since.after)}, {since.which_is}"
    if champion.as_of is not None and evidence.as_of < champion.as_of:
        return Gate(name, None, bound, "fail", f"not compared: the champion is newer, {since.rows} rows are {after}")
    fewest = bounds.fewest_of_class(evidence.problem)
    short = [f"{since.rows} of at least {bounds.minimum_rows} rows"] if since.rows < bounds.minimum_rows else []
    short += [
        f"{count} of at least {fewest} rows of class {each}"
        for each, count in (since.rows_of_class or {}).items()
        if count < fewest
    ]
    return Gate(name, None, bound, "no evidence", f"only {', '.join(short)} are {after}") if short else None


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d}" if at.hour == at.minute == 0 else f"{at:%Y-%m-%dT%H:%MZ}"
