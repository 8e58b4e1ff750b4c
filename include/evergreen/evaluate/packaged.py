"""What a candidate weighs as it would be served, and how long an answer takes it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from evergreen.handovers.gate import Gate, Verdict
from evergreen.model.intervals import SURE
from evergreen.model.rows import Rows
from evergreen.registry import loading, records
from evergreen.registry.contents import GRAPH, PIPELINE
from evergreen.registry.records import Candidate
from evergreen.spec.packaged import Packaged
from evergreen.spec.schema import ModelSpec

SIZE, LATENCY = "size of the packaged model", "latency of an answer"
_ANSWERS = 200
_WARM = 10  # before they are measured

Measure = Callable[[ModelSpec, Packaged, str, Rows], Gate]


def asked(bounds: Packaged) -> Mapping[str, Measure]:
    """Gate → what measures it, of those that have a bound."""
    every: dict[str, tuple[float | None, Measure]] = {
        SIZE: (bounds.megabytes, size),
        LATENCY: (bounds.milliseconds, latency),
    }
    return {name: measure for name, (bound, measure) in every.items() if bound is not None}


def size(spec: ModelSpec, bounds: Packaged, run_id: str, later: Rows) -> Gate:
    """The gate of what the file of a candidate in MLflow weighs that answers, in MB. It is counted, so it has no
    interval."""
    candidate, bound = records.candidate(run_id), bounds.megabytes
    assert bound is not None
    answers = _answers(candidate)
    weight = candidate.files[answers].size / 1e6
    return Gate(SIZE, weight, bound, "pass" if weight <= bound else "fail", f"{answers} has {weight:,.2f} MB")


def latency(spec: ModelSpec, bounds: Packaged, run_id: str, later: Rows) -> Gate:
    """The gate of how long a candidate in MLflow takes for one evaluation row, in ms: the median, with its interval.

    Raises:
        ArtifactUntrusted, ModelUnloadable: it cannot be loaded.
    """
    bound, taken = bounds.milliseconds, np.sort(_taken(spec, run_id, later))
    assert bound is not None
    median, most = float(np.median(taken)), float(np.quantile(taken, 0.95))
    # Between two of the times in their order, whatever they are distributed like: half of them are below the median.
    low, high = (int(stats.binom.ppf(chance, len(taken), 0.5)) for chance in (1 - SURE, SURE))
    told = (
        f"{_answers(records.candidate(run_id))} answers a row in {median:.3f} ms, 95 % of {_ANSWERS} in {most:.3f} ms"
    )
    verdict: Verdict = "pass" if median <= bound else "fail"
    return Gate(LATENCY, median, bound, verdict, told, low=float(taken[low - 1]), high=float(taken[high]))


def _answers(candidate: Candidate) -> str:
    """The file that answers: the graph, or the pipeline where there is none."""
    return GRAPH if GRAPH in candidate.files else PIPELINE


def _taken(spec: ModelSpec, run_id: str, later: Rows) -> list[float]:
    """Milliseconds of single answers."""
    predictor, taken = loading.candidate(spec, run_id), []
    for number in range(_WARM + _ANSWERS):
        row = [_row(later.inputs, number % len(later.inputs))]
        begun = time.perf_counter()
        predictor.answer(row)
        taken.append((time.perf_counter() - begun) * 1000)
    return taken[_WARM:]


def _row(inputs: pd.DataFrame, position: int) -> dict[str, Any]:
    return {str(name): None if pd.isna(value) else value for name, value in inputs.iloc[position].items()}
