"""Alarms for inputs that know what they should not: one that alone is too good to be true, one that tells the time, and
entities that stand in both parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from evergreen.handovers.gate import Gate
from evergreen.handovers.handover import finite
from evergreen.model.intervals import jackknife
from evergreen.model.metrics import metric
from evergreen.model.rows import Rows
from evergreen.model.weightings import Floats, Weighted, mean
from evergreen.spec.columns import EVENT
from evergreen.spec.leaning import Leaks
from evergreen.spec.problem import Problem
from evergreen.spec.schema import ModelSpec

Places = npt.NDArray[np.int64]

ALONE, TIME, ENTITIES = "no input too good alone", "no input tells the time", "no entity in both parts"
_PARTS = 32  # of a number: in each part the answer is what its learning rows have on average
_TOLD = 3


def wanted(
    spec: ModelSpec, bounds: Leaks, learn: Rows, later: Rows, predictions: Floats, alike: npt.NDArray[np.object_]
) -> Iterator[tuple[str, Callable[[], Gate]]]:
    """The gates that have a bound, by their names, and what decides each.

    Args:
        learn: the rows that were learned from.
        predictions: the candidate's, of the later rows.
        alike: whose rows are alike.
    """
    if bounds.alone is not None:
        yield ALONE, partial(_alone, spec, bounds.alone, learn, later, predictions, alike)
    if bounds.time is not None:
        yield TIME, partial(_time, bounds.time, learn)
    if bounds.entities is not None:
        yield ENTITIES, partial(_entities, bounds.entities, learn, later, alike)


def _alone(
    spec: ModelSpec, bound: float, learn: Rows, later: Rows, predictions: Floats, alike: npt.NDArray[np.object_]
) -> Gate:
    """The input whose averages alone come nearest to the candidate, as a share of what that gains."""
    measured = metric(spec.problem, spec.search.metric)
    gain, labels, weights = measured.measure.gain, later.labels, later.weights
    trivial = spec.problem.baseline(learn.labels, len(labels), learn.weights)
    of_all = gain(measured.value(labels, predictions, weights), measured.value(labels, trivial, weights))
    if not np.isfinite(of_all) or of_all <= 0:
        why = f"the candidate gains nothing over the trivial answer in {spec.search.metric}"
        return Gate(ALONE, None, bound, "no evidence", why)
    shares: dict[str, float] = {}
    answers: dict[str, Floats] = {}
    for name in map(str, later.inputs):
        answers[name] = averages(spec.problem, learn, later, name)
        own = gain(measured.value(labels, answers[name], weights), measured.value(labels, trivial, weights))
        if not np.isfinite(own):
            why = f"what {name} has alone is not defined in {spec.search.metric}"
            return Gate(ALONE, None, bound, "no evidence", why)
        shares[name] = float(own / of_all)
    order = sorted(shares, key=lambda name: -shares[name])
    best = order[0]
    told = ", ".join(f"{name} {shares[name]:.0%}" for name in order[:_TOLD])
    of_one, of_model, of_none = (measured.weighted(labels, each) for each in (answers[best], predictions, trivial))
    spread = jackknife(
        lambda times: gain(of_one(times), of_none(times)) / gain(of_model(times), of_none(times)), alike, weights
    )
    return Gate(
        ALONE,
        shares[best],
        bound,
        "pass" if shares[best] <= bound else "fail",
        f"of what the candidate gains over the trivial answer, inputs have alone: {told}",
        low=finite(spread.low()),
        high=finite(spread.high()),
        rows=len(labels),
    )


def averages(problem: Problem, learn: Rows, later: Rows, name: str) -> Floats:
    """What the learning rows of the same value, or of the same part of a number, have on average."""
    learned, asked = _places(learn.inputs[name], later.inputs[name])
    answers = problem.baseline(learn.labels, len(asked), learn.weights)
    for place in np.unique(asked):
        rows = learned == place
        if rows.sum() >= 2:
            weights = None if learn.weights is None or not learn.weights[rows].any() else learn.weights[rows]
            answers[asked == place] = problem.baseline(learn.labels[rows], 1, weights)[0]
    return answers


def _places(learned: pd.Series[Any], asked: pd.Series[Any]) -> tuple[Places, Places]:
    """The part of each value; what is missing has one of its own."""
    if pd.api.types.is_float_dtype(learned):
        known = learned.dropna().to_numpy("float64")
        edges = np.unique(np.quantile(known, np.linspace(0, 1, _PARTS + 1)[1:-1])) if len(known) else np.zeros(0)

        def place(values: pd.Series[Any]) -> Places:
            return np.where(values.isna(), -1, np.searchsorted(edges, values.to_numpy("float64"), side="right"))
    else:
        places = {value: number for number, value in enumerate(learned.dropna().unique())}

        def place(values: pd.Series[Any]) -> Places:
            return values.map(places).fillna(-1).to_numpy(np.int64)

    return place(learned), place(asked)


def _time(bound: float, learn: Rows) -> Gate:
    """The input whose rank goes most with that of the moment; a whole stretch of learning rows has the longest time."""
    moments = learn.frame[EVENT].astype("int64").to_numpy()
    if len(np.unique(moments)) < 3:
        return Gate(TIME, None, bound, "no evidence", "the learning rows have fewer than three moments")
    goes: dict[str, Weighted] = {}
    for name, column in learn.inputs.items():
        there = column.notna().to_numpy()
        numbers = column[there] if pd.api.types.is_float_dtype(column) else pd.Series(pd.factorize(column[there])[0])
        if numbers.nunique() < 3 or len(np.unique(moments[there])) < 3:
            continue
        ranks = stats.rankdata(numbers.to_numpy("float64")), stats.rankdata(moments[there])
        goes[str(name)] = _correlation(there, *ranks)
    if not goes:
        return Gate(TIME, 0.0, bound, "pass", "no input has three values")
    found = {name: float(strength(np.ones((1, len(moments))))[0]) for name, strength in goes.items()}
    most = max(found, key=lambda name: found[name])
    told = f"{most} goes with the moment of the prediction by a rank correlation of {found[most]:.3f}, the most of all"
    spread = jackknife(goes[most], learn.keys.astype(str).astype(object))
    return Gate(
        TIME,
        found[most],
        bound,
        "pass" if found[most] <= bound else "fail",
        told,
        low=finite(max(0.0, spread.low())),
        high=finite(min(1.0, spread.high())),
        rows=len(moments),
    )


def _correlation(there: npt.NDArray[np.bool_], one: Floats, other: Floats) -> Weighted:
    """How strong two ranks go with each other in the rows that have both, weightings by rows."""

    def strength(times: Floats) -> Floats:
        of = times[:, there]
        of = of / of.sum(axis=1, keepdims=True)
        mean_of_one, mean_of_other = of @ one, of @ other
        together = of @ (one * other) - mean_of_one * mean_of_other
        alone = (of @ one**2 - mean_of_one**2) * (of @ other**2 - mean_of_other**2)
        strong: Floats = np.abs(together) / np.sqrt(alone)
        return strong

    return strength


def _entities(bound: float, learn: Rows, later: Rows, alike: npt.NDArray[np.object_]) -> Gate:
    """The share of later rows whose entity was learned from."""
    both = np.isin(later.keys.astype(str), np.unique(learn.keys.astype(str))).astype(np.float64)
    share = float(both.mean())
    spread = jackknife(mean(both), alike)
    return Gate(
        ENTITIES,
        share,
        bound,
        "pass" if share <= bound else "fail",
        f"{int(both.sum()):,} of {len(both):,} evaluation rows are of an entity that was learned from",
        low=finite(max(0.0, spread.low())),
        high=finite(min(1.0, spread.high())),
        rows=len(both),
    )
