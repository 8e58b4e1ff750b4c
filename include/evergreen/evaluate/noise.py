"""How much a candidate loses when its inputs are a little wrong, as they will be one day."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd

from evergreen.handovers.gate import Gate
from evergreen.handovers.handover import finite
from evergreen.model.metrics import metric
from evergreen.model.rows import Rows
from evergreen.model.weightings import Floats
from evergreen.spec.leaning import Noise
from evergreen.spec.problem import Problem
from evergreen.spec.schema import ModelSpec

NAME = "stable under noise"


def measure(
    spec: ModelSpec,
    bounds: Noise,
    problem: Problem,
    later: Rows,
    predictions: Floats,
    predict: Callable[[pd.DataFrame], Floats],
    alike: npt.NDArray[np.object_],
) -> Gate:
    """The loss of the search metric by noise, on the same rows.

    Args:
        problem: with the candidate's threshold.
        predictions: the candidate's, of the later rows; `predict` gives those of others.
        alike: whose rows are alike.
    """
    noisy = predict(disturbed(later.inputs, bounds.scale, spec.search.seed))
    compared = metric(problem, spec.search.metric).compare(
        later.labels,
        predictions,
        noisy,
        alike,
        weights=later.weights,
        confidence=spec.gates.better_than_champion.confidence,
    )
    lost, low, high = finite(compared.gain), finite(compared.low), finite(compared.high)
    if lost is None or low is None or high is None:
        what = spec.search.metric if lost is None else f"an interval of {spec.search.metric}"
        return Gate(NAME, lost, bounds.margin, "no evidence", f"{what} is not defined on these rows")
    failed = lost > bounds.margin and low > 0
    chance = ", which may be chance" if lost > bounds.margin and not failed else ""
    told = f"{spec.search.metric} loses {lost:.4f} by noise of {bounds.scale:.0%} of what each input differs by{chance}"
    return Gate(
        NAME,
        lost,
        bounds.margin,
        "fail" if failed else "pass",
        told,
        low=low,
        high=high,
        rows=compared.rows,
    )


def disturbed(inputs: pd.DataFrame, scale: float, seed: int) -> pd.DataFrame:
    """The inputs with noise. What is missing stays so; a whole number becomes none of its neighbours by less than it
    takes, and a number of two values (a boolean) is no number to add to."""
    random, columns = np.random.default_rng(seed), {}
    for name, column in inputs.items():
        known = column.dropna()
        if pd.api.types.is_float_dtype(column) and known.nunique() > 2:
            columns[name] = column + random.normal(0, scale * float(known.std()), len(column))
        else:
            other = column.to_numpy()[random.permutation(len(column))]
            columns[name] = column.where(random.random(len(column)) >= scale, other)
    return pd.DataFrame(columns, index=inputs.index)
