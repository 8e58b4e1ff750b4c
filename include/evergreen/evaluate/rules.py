"""The gates: named checks with an observed value, a bound, a verdict and a reason. Pure; they fail closed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeGuard

from evergreen.handovers.train import Evaluated, Gate, Scores, Since, Verdict
from evergreen.spec.measures import MEASURES, MetricName
from evergreen.spec.problem import Problem
from evergreen.spec.schema import Gates


@dataclass(frozen=True)
class Champion:
    """What the candidate is compared with."""

    as_of: datetime | None
    scores: Scores | None  # on the candidate's rows; None when it could not be scored
    problem: str = ""  # why it could not
    is_candidate: bool = False  # a rerun of the training that made the champion
    since: Since | None = None  # of one that was refitted: the rows that it has not learned from


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
        else Champion(scored.as_of, scored.scores, scored.problem, scored.is_candidate, scored.since),
    )


def gates(evidence: Evidence, bounds: Gates) -> list[Gate]:
    """Every gate of a candidate, in the order in which they are told."""
    return [
        _enough("evaluation rows", evidence.rows, bounds.minimum_rows),
        *_every_class(evidence, bounds.fewest_of_class(evidence.problem)),
        *(_floor(metric, evidence.candidate.get(metric), bound) for metric, bound in bounds.floor.items()),
        _better(
            "better than the baseline",
            evidence.metric,
            evidence.candidate,
            evidence.baseline,
            bounds.better_than_baseline,
        ),
        *_against_champion(evidence, bounds),
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
    return "; ".join(f"{gate.name}: {gate.reason}" for gate in checked if gate.verdict != "pass") or "every gate passed"


def table(checked: list[Gate]) -> list[str]:
    """The gates as aligned lines, for a log."""
    rows = [("gate", "observed", "bound", "verdict", "reason")]
    rows += [(gate.name, _text(gate.observed), _text(gate.bound), gate.verdict, gate.reason) for gate in checked]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return ["  ".join([*(row[column].ljust(width) for column, width in enumerate(widths)), row[4]]) for row in rows]


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
    if not _known(observed):
        return Gate(name, None, bound, "no evidence", f"{metric} could not be computed")
    good = measure.reaches(observed, bound)
    return Gate(name, observed, bound, "pass" if good else "fail", f"{metric} {observed:.4f}, bound {bound:g}")


def _better(name: str, metric: MetricName, candidate: Scores | None, other: Scores, bound: float) -> Gate:
    ours, theirs = (candidate or {}).get(metric), other.get(metric)
    if not _known(ours) or not _known(theirs):
        return Gate(name, None, bound, "no evidence", f"{metric} could not be computed for both")
    gain = MEASURES[metric].gain(ours, theirs)
    good = gain > 0 and gain >= bound
    return Gate(
        name, gain, bound, "pass" if good else "fail", f"{metric} {ours:.4f} against {theirs:.4f} on the same rows"
    )


def _against_champion(evidence: Evidence, bounds: Gates) -> Iterator[Gate]:
    name, champion, bound = "better than the champion", evidence.champion, bounds.better_than_champion
    if champion is None:
        yield Gate(name, None, bound, "pass", "there is no champion yet")
        return
    since = champion.since
    if champion.is_candidate and (champion.scores is not None or since is not None):
        yield Gate(name, 0.0, bound, "fail", "the candidate is the champion already")
    elif since is not None and (refusal := _not_since(name, evidence, champion, since, bounds)) is not None:
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
        yield _better(name, evidence.metric, ours, champion.scores, bound)
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


def _not_since(name: str, evidence: Evidence, champion: Champion, since: Since, bounds: Gates) -> Gate | None:
    """Why a champion that was refitted is not compared: only rows from after its last one count, and there are too few;
    None when there are enough."""
    bound, after = bounds.better_than_champion, f"from after {_moment(since.after)}, the champion's last"
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


def _known(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}".rstrip("0").rstrip(".")


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d}" if at.hour == at.minute == 0 else f"{at:%Y-%m-%dT%H:%MZ}"
