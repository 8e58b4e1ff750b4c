"""What the metric is likely to be while its labels are open. Pure.

Of classes it is confidence-based performance estimation: the held-out rows say how often each probability came true
(isotonic regression); then labels are drawn by these probabilities, and the metric is taken of each draw. Of numbers it
is direct loss estimation: the held-out rows say how large the error of such an answer is. Both see a loss that comes
with other inputs. Both are blind to a changed relation of inputs and outcome: only labels show that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from evergreen.model.metrics import metric
from evergreen.model.weightings import Floats, Labels
from evergreen.spec.columns import LABEL
from evergreen.spec.kinds import KINDS
from evergreen.spec.measures import MetricName
from evergreen.spec.schema import ModelSpec

_FEWEST = 100  # held-out rows to learn from
_DRAWS = 40  # of labels
_SURE = 1.96  # standard errors: 95 %
_ROUNDS = 40  # of boosting: errors are learned coarsely


@dataclass(frozen=True)
class Estimate:
    """A likely value of the metric, with what chance makes of it (95 %); what is learned wrongly is not in it."""

    value: float
    low: float
    high: float
    rows: int


Estimator = Callable[[pd.DataFrame], Estimate | None]


def learn(spec: ModelSpec, name: MetricName, held_out: pd.DataFrame) -> Estimator | None:
    """What estimates the metric of answers, by their features and predictions; None: there is too little to learn from.

    Args:
        name: of the metric.
        held_out: the version's reference: features, predictions and labels.
    """
    outputs = list(spec.problem.outputs)
    if LABEL not in held_out or len(held_out) < _FEWEST or not {*outputs} <= {*held_out.columns}:
        return None
    labels, known = held_out[LABEL].to_numpy(), spec.problem.of_columns(held_out)
    if spec.problem.kind == "numeric":
        of_answers = _of_errors(spec, name, held_out, labels.astype(np.float64) - known)
    else:
        of_answers = _of_classes(spec, name, labels.astype(np.int64), known)

    def estimate(window: pd.DataFrame) -> Estimate | None:
        if of_answers is None or not {*outputs} <= {*window.columns}:
            return None
        answered = window[window[outputs].notna().all(axis=1)]
        return None if answered.empty else of_answers(answered)

    return estimate


def _of_classes(spec: ModelSpec, name: MetricName, labels: Labels, known: Floats) -> Estimator | None:
    from sklearn.isotonic import IsotonicRegression

    if len(np.unique(labels)) < 2:
        return None
    by_class = np.column_stack([1 - known, known]) if known.ndim == 1 else known
    curves = [
        IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(by_class[:, place], labels == place)
        for place in range(by_class.shape[1])
    ]
    measured = metric(spec.problem, name)

    def estimate(answered: pd.DataFrame) -> Estimate | None:
        answers = spec.problem.of_columns(answered)
        shares = np.column_stack([1 - answers, answers]) if answers.ndim == 1 else answers
        chances = np.column_stack([curve.predict(shares[:, place]) for place, curve in enumerate(curves)])
        total = chances.sum(axis=1, keepdims=True)
        ends = np.where(total > 0, chances / np.where(total > 0, total, 1), shares).cumsum(axis=1)
        random, values = np.random.default_rng(0), []
        for _ in range(_DRAWS):
            drawn = (random.random(len(ends))[:, None] > ends[:, :-1]).sum(axis=1).astype(np.int64)
            values.append(measured.value(drawn, answers))
        defined = np.array([value for value in values if np.isfinite(value)])
        if len(defined) < _DRAWS // 2:
            return None
        middle, error = float(defined.mean()), float(defined.std())
        return Estimate(middle, middle - _SURE * error, middle + _SURE * error, len(answers))

    return estimate


def _of_errors(spec: ModelSpec, name: MetricName, held_out: pd.DataFrame, errors: Floats) -> Estimator | None:
    """Of metrics that are a function of the mean error, absolute or squared."""
    from sklearn.ensemble import HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits

    if name not in ("rmse", "mae", "r2"):
        return None
    losses = np.abs(errors) if name == "mae" else np.square(errors)
    with threadpool_limits(1):
        seen = _inputs(spec, held_out, held_out)
        likely = HistGradientBoostingRegressor(max_iter=_ROUNDS, random_state=0, early_stopping=False).fit(seen, losses)
        apart = float((losses - likely.predict(seen)).std())

    def estimate(answered: pd.DataFrame) -> Estimate:
        answers = spec.problem.of_columns(answered)
        with threadpool_limits(1):
            middle = float(np.maximum(likely.predict(_inputs(spec, held_out, answered)), 0.0).mean())
        reach = _SURE * apart / np.sqrt(len(answers))
        ends = [_value(name, loss, float(np.var(answers))) for loss in (middle - reach, middle, middle + reach)]
        return Estimate(ends[1], min(ends), max(ends), len(answers))

    return estimate


def _value(name: MetricName, loss: float, spread: float) -> float:
    """A metric of numbers by their mean loss.

    Args:
        spread: variance of the answers; that of the outcomes is this and the error.
    """
    loss = max(loss, 0.0)
    if name == "r2":
        return 1 - loss / (spread + loss) if spread + loss > 0 else 0.0
    return loss if name == "mae" else float(np.sqrt(loss))


def _inputs(spec: ModelSpec, held_out: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    """Features and answers as numbers; of a category its place among the held-out rows' ones."""
    columns: Mapping[str, Floats] = {
        name: frame[name].to_numpy("float64", na_value=np.nan)
        if KINDS[kind].numeric
        else pd.Categorical(frame[name], sorted(held_out[name].dropna().unique())).codes.astype(np.float64)
        for name, kind in spec.feature_types.items()
        if name in held_out and name in frame
    }
    return pd.DataFrame({**columns, **{each: frame[each].to_numpy("float64") for each in spec.problem.outputs}})
