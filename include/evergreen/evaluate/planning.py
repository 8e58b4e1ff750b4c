"""What the rows of an evaluation will tell of two models, before there are any: they are assumed.

The assumed ones are of middling worth, and share half of what they do wrong. Their answers are made of the outcomes
with noise, and compared as real ones are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import numpy as np
import numpy.typing as npt

from evergreen.handovers.train import Comparison
from evergreen.model.metrics import metric
from evergreen.model.weightings import Floats, Labels
from evergreen.spec.measures import MetricName
from evergreen.spec.problem import Problem

_APART = math.sqrt(2) * 0.8416  # deviations between two classes: the normal quantile of that ROC AUC
_DRAWS = 5  # of the models' errors, of which the middle one counts
MOST_ROWS = 5_000  # that are looked at: of more a share of the groups, or of each group's rows where groups are few
_FEW_GROUPS = 200


@dataclass(frozen=True)
class Outcomes:
    """The outcomes of an evaluation.

    Attributes:
        labels: as `Problem.labels` makes them.
        groups: whose they are; rows of one group are alike.
        weights: how much each counts; None: as much as any other.
    """

    labels: Labels
    groups: npt.NDArray[np.object_]
    weights: Floats | None = None


@dataclass(frozen=True)
class Plan:
    """What an evaluation will tell.

    Attributes:
        worth: what a champion gains over the baseline, by the search metric.
        compared: a champion with an equal candidate; it `tells` a gain of that size.
    """

    worth: float
    compared: Comparison


def planned(problem: Problem, name: MetricName, outcomes: Outcomes, confidence: float) -> Plan | None:
    """What such rows tell; None: the metric has no value on them, or no interval can be had.

    Args:
        confidence: of each end of the interval.
    """
    random = np.random.default_rng(0)
    rows, seen = len(outcomes.labels), _some(outcomes, random)
    if problem.lacking(set(np.unique(seen.labels).tolist())) is not None:
        return None
    judged, labels = metric(problem, name), seen.labels
    trivial = judged.value(labels, problem.baseline(labels, len(labels), seen.weights), seen.weights)
    answered, draw = _answered(problem, labels), _errors(problem, seen.groups, random)
    worths, tells = [], []
    for _ in range(_DRAWS):
        both = draw()
        champion, candidate = (answered(math.sqrt(0.5) * (both + draw())) for _ in range(2))
        worths.append(judged.measure.gain(judged.value(labels, champion, seen.weights), trivial))
        compared = judged.compare(labels, candidate, champion, seen.groups, weights=seen.weights, confidence=confidence)
        tells.append(compared.tells)
    if not np.isfinite([*worths, *tells]).all():
        return None
    groups = len(np.unique(outcomes.groups))
    few = groups <= _FEW_GROUPS  # then rows that were left out matter little: groups are what counts
    told = median(tells) * (1.0 if few else math.sqrt(len(labels) / rows))
    return Plan(median(worths), Comparison(gain=0.0, low=None, high=None, tells=told, rows=rows, groups=groups))


def _answered(problem: Problem, labels: Labels) -> Callable[[Floats], Floats]:
    """Errors (rows by `_width`) → what a model answers that sees the outcomes through them, and shrinks what it says by
    as much as it is wrong."""
    if problem.kind == "numeric":
        mean, deviation = float(labels.mean()), float(labels.std())
        return lambda errors: mean + 0.5 * (labels - mean + deviation * errors[:, 0])
    shares = np.bincount(labels.astype(int), minlength=len(problem.values or ())) / len(labels)
    if problem.kind == "binary":
        odds = math.log(shares[1] / shares[0])
        return lambda errors: 1 / (1 + np.exp(-odds - _APART * (_APART * (labels - 0.5) + errors[:, 0])))
    is_of = labels.astype(int)[:, None] == np.arange(len(shares))

    def likely(errors: Floats) -> Floats:
        seen = np.log(shares) + _APART * (_APART * is_of + errors)
        weighed = np.exp(seen - seen.max(axis=1, keepdims=True))
        return np.asarray(weighed / weighed.sum(axis=1, keepdims=True))

    return likely


def _errors(problem: Problem, groups: npt.NDArray[np.object_], random: np.random.Generator) -> Callable[[], Floats]:
    """Draws errors of deviation 1, rows by what a model must tell of each; half of their variance is a group's."""
    names, index = np.unique(groups, return_inverse=True)
    width = len(problem.values or ()) if problem.by_class else 1

    def draw() -> Floats:
        of_groups, of_rows = random.normal(size=(len(names), width)), random.normal(size=(len(groups), width))
        return np.asarray(math.sqrt(0.5) * (of_groups[index] + of_rows))

    return draw


def _some(outcomes: Outcomes, random: np.random.Generator) -> Outcomes:
    """All outcomes, or of many a part."""
    rows = len(outcomes.labels)
    if rows <= MOST_ROWS:
        return outcomes
    names, index = np.unique(outcomes.groups, return_inverse=True)
    drawn = random.random(rows) if len(names) <= _FEW_GROUPS else random.random(len(names))[index]
    taken = drawn < MOST_ROWS / rows
    weights = None if outcomes.weights is None else outcomes.weights[taken]
    return Outcomes(outcomes.labels[taken], outcomes.groups[taken], weights)
