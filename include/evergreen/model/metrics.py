"""Metrics by their spec's names, and the paired comparison of two models on the same rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from evergreen.model.intervals import SURE, jackknife
from evergreen.model.weightings import MEASURED, Floats, Labels, Measured, Weighted, business_value
from evergreen.spec.measures import MEASURES, Measure, MetricName
from evergreen.spec.problem import Binary, Problem

POWER = 0.8  # how often rows that are enough tell what there is to tell
_RESAMPLES_OF_A_DAY = 200  # enough for a bound at 2.5 %: the monitor draws as many each day


class Comparison(NamedTuple):
    """The gain of one model over another on the same rows, with its interval (NaN where it cannot be had)."""

    gain: float
    low: float
    high: float
    rows: int
    entities: int
    error: float = float("nan")  # standard error of the gain
    tells: float = float("nan")  # a gain of this size is told from none in POWER of all cases


class Loss(NamedTuple):
    """How much worse predictions are than a reference value says."""

    value: float  # of the metric, now; NaN where it is not defined
    drop: float  # below 0: it has improved
    beyond_chance: bool  # of 95 % of the resamples


@dataclass(frozen=True)
class Metric:
    """One metric of one kind of label.

    Attributes:
        problem: the kind of label.
        measure: its name, and which way it points.
        measured: its value of many weightings of the same rows at once.
    """

    problem: Problem
    measure: Measure
    measured: Measured

    @property
    def name(self) -> MetricName:
        """As a spec names it."""
        return self.measure.name

    def value(self, labels: Labels, predictions: Floats, weights: Floats | None = None) -> float:
        """The metric; NaN where it is not defined: labels that are all the same, predictions that are no numbers.

        Args:
            weights: how much each row counts; None: as much as any other.
        """
        if weights is not None:  # a row that does not count is none
            counts = weights > 0
            labels, predictions, weights = labels[counts], predictions[counts], weights[counts]
        if len(labels) == 0 or labels.min() == labels.max() or not np.isfinite(predictions).all():
            return float("nan")
        with np.errstate(invalid="ignore", divide="ignore"):  # without a row of some class
            counted = np.ones(len(labels)) if weights is None else weights
            return float(self.weighted(labels, predictions)(counted[None, :])[0])

    def weighted(self, labels: Labels, predictions: Floats) -> Weighted:
        """Weightings of the rows → the metric of each; predictions are such that it is defined."""
        of = self.problem.decided(predictions) if self.measure.of_decisions else predictions
        return self.measured(labels, of)

    def compare(
        self,
        labels: Labels,
        new: Floats,
        old: Floats,
        entities: npt.NDArray[np.object_],
        *,
        weights: Floats | None = None,
        confidence: float = SURE,
    ) -> Comparison:
        """A paired comparison: the rows of one entity are alike, so whole entities are left out, the same for both
        models (`intervals.jackknife`).

        Args:
            labels, new, old, entities: one of each per row: the outcome, the two models' predictions, whose row it is.
            weights: how much each row counts; None: as much as any other.
            confidence: of each end of the interval by itself.
        """
        observed = self.measure.gain(self.value(labels, new, weights), self.value(labels, old, weights))
        groups = len(np.unique(entities))
        if np.isnan(observed):
            return Comparison(observed, observed, observed, len(labels), groups)
        of_new, of_old = self.weighted(labels, new), self.weighted(labels, old)
        gain = jackknife(lambda times: self.measure.gain(of_new(times), of_old(times)), entities, weights)
        low, high = gain.low(confidence), gain.high(confidence)
        tells = (gain.quantile(confidence) + gain.quantile(POWER)) * gain.error
        return Comparison(observed, low, high, len(labels), groups, gain.error, tells)

    def interval(
        self,
        labels: Labels,
        predictions: Floats,
        entities: npt.NDArray[np.object_],
        *,
        weights: Floats | None = None,
        confidence: float = SURE,
    ) -> tuple[float, float]:
        """The interval of the metric's value; the arguments as `compare` has them."""
        if np.isnan(self.value(labels, predictions, weights)):
            return float("nan"), float("nan")
        spread = jackknife(self.weighted(labels, predictions), entities, weights)
        return spread.low(confidence), spread.high(confidence)

    def loss(
        self, labels: Labels, predictions: Floats, reference: float, *, weights: Floats | None = None, seed: int = 0
    ) -> Loss:
        """How far the metric has fallen below a value that it had on other rows, by a bootstrap over rows."""
        value = self.value(labels, predictions, weights)
        if not np.isfinite(value):
            return Loss(value, float("nan"), False)
        random, drops = np.random.default_rng(seed), []
        for _ in range(_RESAMPLES_OF_A_DAY):
            rows = random.integers(len(labels), size=len(labels))
            part = weights if weights is None else weights[rows]
            drops.append(self.measure.gain(reference, self.value(labels[rows], predictions[rows], part)))
        defined = [drop for drop in drops if np.isfinite(drop)]
        beyond_chance = bool(defined) and float(np.percentile(defined, 2.5)) > 0
        return Loss(value, self.measure.gain(reference, value), beyond_chance)


def metric(problem: Problem, name: MetricName) -> Metric:
    """A metric of a kind of label."""
    if isinstance(problem, Binary) and problem.value is not None and name == "business_value":
        return Metric(problem, MEASURES[name], business_value(problem.value))
    return Metric(problem, MEASURES[name], MEASURED[problem.kind][name])


def score(
    problem: Problem, labels: Labels, predictions: Floats, weights: Floats | None = None
) -> dict[MetricName, float]:
    """Every metric of a kind of label; NaN where it is not defined."""
    return {name: metric(problem, name).value(labels, predictions, weights) for name in problem.metrics}
