"""The gates: named checks with an observed value, a bound, a verdict and a reason. Pure; they fail closed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from evergreen.spec.schema import LOWER_IS_BETTER, Gates, Metric

Verdict = Literal["pass", "fail", "no evidence"]


@dataclass(frozen=True)
class Gate:
    """One check."""

    name: str
    observed: float | None
    bound: float | None
    verdict: Verdict
    reason: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Evidence:
    """What the gates look at; a value that could not be had is None or NaN."""

    metric: Metric
    rows: int
    positives: int
    candidate: Mapping[str, float]  # metric → value, on the evaluation rows
    baseline: Mapping[str, float]  # the same, of predicting the learning rows' prevalence for everyone
    champion: Mapping[str, float] | None  # the same, of the champion; None when there is none
    champion_as_of: datetime | None
    as_of: datetime


def gates(evidence: Evidence, bounds: Gates) -> list[Gate]:
    """Every gate of a candidate, in the order in which they are told."""
    fewest = min(evidence.positives, evidence.rows - evidence.positives)
    found = [
        _at_least("evaluation rows", evidence.rows, bounds.minimum_rows, too_little="no evidence"),
        _at_least("rows of the rarer class", fewest, bounds.minimum_positives, too_little="no evidence"),
    ]
    for metric, bound in bounds.floor.items():
        found.append(_floor(metric, evidence.candidate.get(metric), bound))
    metric = evidence.metric
    found.append(_gain("better than the baseline", metric, evidence.candidate, evidence.baseline, bounds.better_than_baseline))
    if evidence.champion is None:
        found.append(Gate("better than the champion", None, bounds.better_than_champion, "pass", "there is no champion yet"))
    else:
        found.append(_gain("better than the champion", metric, evidence.candidate, evidence.champion, bounds.better_than_champion))
        found.append(_newer(evidence))
    return found


def verdict(found: list[Gate]) -> Verdict:
    """The verdict of all gates together: missing evidence outweighs a failure, and a failure a pass."""
    verdicts = {gate.verdict for gate in found}
    if not found or "no evidence" in verdicts:
        return "no evidence"
    return "fail" if "fail" in verdicts else "pass"


def reason(found: list[Gate]) -> str:
    """Why it is not a pass, in one line."""
    return "; ".join(f"{gate.name}: {gate.reason}" for gate in found if gate.verdict != "pass") or "every gate passed"


def table(found: list[Gate]) -> list[str]:
    """The gates as aligned lines, for a log."""
    rows = [("gate", "observed", "bound", "verdict", "reason")]
    rows += [(gate.name, _number(gate.observed), _number(gate.bound), gate.verdict, gate.reason) for gate in found]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    return ["  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]) for row in rows]


def _at_least(name: str, observed: int, bound: int, too_little: Verdict) -> Gate:
    if observed >= bound:
        return Gate(name, observed, bound, "pass", f"{observed} of at least {bound}")
    return Gate(name, observed, bound, too_little, f"only {observed} of at least {bound}")


def _floor(metric: Metric, observed: float | None, bound: float) -> Gate:
    name = f"{metric} {'at most' if metric in LOWER_IS_BETTER else 'at least'} bound"
    if not _known(observed):
        return Gate(name, observed, bound, "no evidence", f"{metric} could not be computed")
    assert observed is not None
    good = observed <= bound if metric in LOWER_IS_BETTER else observed >= bound
    return Gate(name, observed, bound, "pass" if good else "fail", f"{observed:.4f} against {bound:g}")


def _gain(name: str, metric: Metric, new: Mapping[str, float], old: Mapping[str, float], bound: float) -> Gate:
    ours, theirs = new.get(metric), old.get(metric)
    if not _known(ours) or not _known(theirs):
        return Gate(name, None, bound, "no evidence", f"{metric} could not be computed for both")
    assert ours is not None
    assert theirs is not None
    gain = theirs - ours if metric in LOWER_IS_BETTER else ours - theirs
    good = gain >= bound and gain > 0
    return Gate(name, gain, bound, "pass" if good else "fail", f"{metric} {ours:.4f} against {theirs:.4f} on the same rows")


def _newer(evidence: Evidence) -> Gate:
    name = "not older than the champion"
    if evidence.champion_as_of is None:
        return Gate(name, None, None, "no evidence", "the champion does not say what it was trained as of")
    good = evidence.as_of >= evidence.champion_as_of
    return Gate(name, None, None, "pass" if good else "fail", f"as of {evidence.as_of:%Y-%m-%d}, champion as of {evidence.champion_as_of:%Y-%m-%d}")


def _known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}".rstrip("0").rstrip(".")
