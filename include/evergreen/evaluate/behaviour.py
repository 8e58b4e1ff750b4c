"""Whether a candidate does what it must, whatever it has learned: each declared test is a gate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from evergreen.handovers.gate import Gate
from evergreen.handovers.handover import finite
from evergreen.model.intervals import jackknife
from evergreen.model.rows import Rows, inputs
from evergreen.model.weightings import Floats, mean
from evergreen.spec import expression
from evergreen.spec.behaviour import Behaviour
from evergreen.spec.schema import ModelSpec

Predict = Callable[[pd.DataFrame], Floats]  # inputs as the model takes them → its answers

_MOST_ROWS = 20_000  # that are changed: a sample of more


def wanted(
    spec: ModelSpec, tests: Sequence[Behaviour], later: Rows, predict: Predict, alike: npt.NDArray[np.object_]
) -> Iterator[tuple[str, Callable[[], Gate]]]:
    """The gate of each test, by its name, and what decides it. That raises QueryRefused where an expression cannot be
    computed.

    Args:
        alike: whose rows are alike.
    """
    if len(later.labels) > _MOST_ROWS:
        chosen = np.sort(np.random.default_rng(0).choice(len(later.labels), _MOST_ROWS, replace=False))
        later, alike = later.take(chosen), alike[chosen]
    for test in tests:
        change = partial(_change, spec, test, later, predict, alike)
        yield _name(test), change if test.between is None else partial(_row, spec, test, predict)


def _row(spec: ModelSpec, test: Behaviour, predict: Predict) -> Gate:
    """The answer to a row that is written down."""
    assert test.between is not None
    low, high = test.between
    frame = pd.DataFrame([{name: test.row.get(name) for name in spec.feature_types}])
    answer = finite(float(predict(inputs(spec.feature_types, frame))[0]))
    if answer is None:
        return Gate(_name(test), None, None, "no evidence", "the answer is no number")
    bound = low if answer < low else high
    good = low <= answer <= high
    return Gate(_name(test), answer, bound, "pass" if good else "fail", f"answers {answer:.4g}, {low:g} to {high:g}")


def _change(spec: ModelSpec, test: Behaviour, later: Rows, predict: Predict, alike: npt.NDArray[np.object_]) -> Gate:
    """The share of rows whose answer moves as it must."""
    there = np.ones(len(later.labels), bool)
    rows = expression.table(spec, later.frame)
    if test.where is not None:
        there = _values(spec, test.where, rows).fillna(False).astype(bool).to_numpy()
    if not there.any():
        return Gate(_name(test), None, test.share, "no evidence", f"no evaluation row has {test.where}")
    other = {name: _values(spec, text, rows).to_numpy() for name, text in test.change.items()}
    kinds = {name: spec.feature_types[name] for name in other}
    changed = later.inputs.copy()
    changed[list(kinds)] = inputs(kinds, pd.DataFrame(other))
    moved = predict(changed[there]) - predict(later.inputs[there])
    wrong = {"same": np.abs(moved), "higher": -moved, "lower": moved}[test.expect]
    holds = (wrong <= test.tolerance + 1e-12).astype(np.float64)  # which is no move, but the order of additions
    spread = jackknife(mean(holds), alike[there])
    share, worst = float(holds.mean()), max(0.0, float(np.max(wrong)))  # who moves the right way is off by nothing
    expected = "the same" if test.expect == "same" else f"not {'lower' if test.expect == 'higher' else 'higher'}"
    return Gate(
        _name(test),
        share,
        test.share,
        "pass" if share >= test.share else "fail",
        f"of {len(holds):,} rows {share:.1%} are {expected} within {test.tolerance:g}; the worst is off by {worst:.4g}",
        low=finite(max(0.0, spread.low())),
        high=finite(min(1.0, spread.high())),
        rows=len(holds),
    )


def _values(spec: ModelSpec, text: str, rows: pa.Table) -> pd.Series[Any]:
    values: pd.Series[Any] = expression.values(spec, text, rows, key=expression.BEHAVIOUR).to_pandas()
    return values


def _name(test: Behaviour) -> str:
    return f"behaviour: {test.name}"
