"""How well a version does: on the labels that matured, by its own predictions, and while they are open by estimate."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from evergreen.handovers.handover import finite
from evergreen.handovers.monitor import Finding, Performance, Rival, Worth
from evergreen.model import losses, rows
from evergreen.model.intervals import Spread, jackknife
from evergreen.model.metrics import metric
from evergreen.model.weightings import Floats, Labels, business_value, mean
from evergreen.monitor import bounds, estimated, findings, worth
from evergreen.monitor.comparison import Reference
from evergreen.spec.columns import LABEL
from evergreen.spec.problem import Problem
from evergreen.spec.schema import ModelSpec

_Known = tuple[Labels, Floats, npt.NDArray[np.object_]]  # labels, predictions, and whose rows are alike
_FEWEST = 30  # rows of an interval of the reference, to say how wrong an estimate of it is


def realised(
    spec: ModelSpec, scored: pd.DataFrame, reference: float, held_out: pd.DataFrame, threshold: float | None = None
) -> Performance:
    """The metric of answers whose labels matured; where it is not defined, as with labels of one class, what it lacks
    and the proper loss, which always is.

    Args:
        scored: features, predictions and labels.
        reference: the metric when the version was evaluated; NaN: not known.
        held_out: rows of the version's reference.
        threshold: by which the version decides; None: as the spec has it.
    """
    problem, name = spec.problem, spec.search.metric
    labels, predictions = problem.labels(scored[LABEL]), problem.of_columns(scored)
    weights, alike = rows.weights(spec, scored), _alike(spec, scored)
    measured = metric(problem, name)
    value = measured.value(labels, predictions, weights)
    of_rows = losses.of_rows(problem, name, labels, predictions)
    loss = jackknife(mean(of_rows), alike, weights)
    known = _known(spec, held_out)
    usual = _usual_loss(spec, known)
    made = Performance(
        metric=name,
        value=finite(value),
        reference=finite(reference),
        drop=None,
        significant=False,
        rows=len(labels),
        loss=finite(loss.value),
        loss_reference=None if usual is None else finite(usual.value),
        worth=_worth(spec, problem.at(threshold), (labels, predictions, alike), weights, known),
    )
    if not math.isfinite(value):
        lacking = problem.lacking(set(labels.tolist())) or "predictions that are no numbers"
        worse: list[Finding] = []
        if usual is not None:
            drop, bound = loss.value - usual.value, _beyond(loss, usual)
            worse = findings.fallen(drop, bound, "the loss", len(labels))
        return made.model_copy(update={"lacking": lacking, "findings": tuple(worse)})
    spread = jackknife(measured.weighted(labels, predictions), alike, weights)
    drop, bound = measured.measure.gain(reference, value), _beyond(spread, _of_evaluation(spec, known))
    fallen = findings.fallen(drop, bound, name, len(labels))
    return made.model_copy(
        update={
            "low": finite(spread.low()),
            "high": finite(spread.high()),
            "drop": finite(drop),
            "significant": bool(fallen),
            "findings": tuple(fallen),
        }
    )


def estimate(
    made: Performance, reference: Reference, window: pd.DataFrame, scored: pd.DataFrame | None, errors: Sequence[float]
) -> Performance:
    """The same with an estimate of the window's answers, whose labels are open, and how wrong the estimate of those was
    whose labels matured.

    Args:
        window: features and predictions of the interval's answers by the version.
        scored: those whose labels matured.
        errors: of estimates of the version before, as drops of the metric.
    """
    spec, name = reference.spec, made.metric
    estimator = estimated.learn(spec, name, reference.rows)
    now = None if estimator is None else estimator(window)
    if estimator is None or now is None:
        return made
    gain = metric(spec.problem, name).measure.gain
    fields: dict[str, object] = {"estimated": now.value, "estimated_low": now.low, "estimated_high": now.high}
    fields |= {"estimated_rows": now.rows}
    before = None if scored is None or made.value is None else estimator(scored)
    if before is not None and made.value is not None:
        fields["estimate_error"] = gain(made.value, before.value)
    known = errors if len(errors) >= bounds.LEAST else _errors_of_reference(spec, reference, estimator)
    usual = metric(spec.problem, name).value(reference.rows[LABEL].to_numpy(), spec.problem.of_columns(reference.rows))
    worse: list[Finding] = []
    if len(known) >= bounds.LEAST and math.isfinite(usual):
        drop, chance = gain(usual, now.value), (now.high - now.low) / 2
        worse = findings.estimated_fall(drop, max(0.0, bounds.value(known)) + chance, name, now.rows)
    return made.model_copy(update=fields | {"findings": (*made.findings, *worse)})


def beside(made: Performance, rivals: tuple[Rival, ...]) -> Performance:
    """The same with what else could answer while labels are open."""
    worse = findings.likely_worse(rivals, made.metric)
    return made.model_copy(update={"rivals": rivals, "findings": (*made.findings, *worse)})


def _errors_of_reference(spec: ModelSpec, reference: Reference, estimator: estimated.Estimator) -> list[float]:
    """How much worse than the truth the estimate is on each interval of the reference."""
    measured, errors = metric(spec.problem, spec.search.metric), []
    whole = Reference(spec, reference.rows)
    for _, part in whole.rows.groupby(whole.groups):
        if len(part) < _FEWEST or (guess := estimator(part)) is None:
            continue
        truth = measured.value(part[LABEL].to_numpy(), spec.problem.of_columns(part))
        if math.isfinite(truth):
            errors.append(measured.measure.gain(truth, guess.value))
    return errors


def _alike(spec: ModelSpec, scored: pd.DataFrame) -> npt.NDArray[np.object_]:
    """Whose rows are alike, as the gates count them."""
    names: npt.NDArray[np.object_] = spec.asking.alike(scored).to_numpy(object)
    return names


def _worth(
    spec: ModelSpec, operating: Problem, now: _Known, weights: Floats | None, usual: _Known | None
) -> Worth | None:
    """What matured answers were worth, beside held-out rows; None: there is no cost matrix.

    Args:
        operating: with the threshold by which the version decides.
    """
    value = spec.label.business_value
    if value is None:
        return None

    def spread(known: _Known, weights: Floats | None = None) -> Spread:
        labels, predictions, alike = known
        return jackknife(business_value(value)(labels, operating.decided(predictions)), alike, weights)

    return worth.beside(value.currency, spread(now, weights), None if usual is None else spread(usual), len(now[0]))


def _usual_loss(spec: ModelSpec, known: _Known | None) -> Spread | None:
    if known is None:
        return None
    labels, predictions, days = known
    return jackknife(mean(losses.of_rows(spec.problem, spec.search.metric, labels, predictions)), days)


def _of_evaluation(spec: ModelSpec, known: _Known | None) -> Spread | None:
    if known is None:
        return None
    labels, predictions, days = known
    measured = metric(spec.problem, spec.search.metric)
    if not math.isfinite(measured.value(labels, predictions)):
        return None
    return jackknife(measured.weighted(labels, predictions), days)


def _known(spec: ModelSpec, held_out: pd.DataFrame) -> _Known | None:
    """Labels, predictions and intervals of the reference; None: a release before did not keep them."""
    if LABEL not in held_out or not {*spec.problem.outputs} <= {*held_out.columns}:
        return None
    groups = Reference(spec, held_out).groups
    alike = groups if len(np.unique(groups)) >= bounds.LEAST else np.arange(len(held_out))
    return held_out[LABEL].to_numpy(), spec.problem.of_columns(held_out), alike.astype(object)


def chance(spec: ModelSpec, held_out: pd.DataFrame, length: int) -> float | None:
    """How far the metric falls by chance on so many matured rows, in 1 - `ALARMS` of windows without change; None: the
    reference does not tell.

    Args:
        held_out: rows of the version's reference.
    """
    then = _of_evaluation(spec, _known(spec, held_out))
    if then is None or not length:
        return None
    now = Spread(then.value, then.error * math.sqrt(len(held_out) / length), then.freedom)
    return finite(_beyond(now, then))


def _beyond(now: Spread, then: Spread | None) -> float:
    """What a difference may be by chance, in 1 - `ALARMS` of windows without change."""
    error = math.hypot(now.error, 0.0 if then is None else then.error)
    return now.quantile(1 - bounds.ALARMS) * error
