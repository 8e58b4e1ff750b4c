"""What a candidate weighs as it would be served, and how long an answer takes it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from evergreen.handovers.gate import Gate, Verdict, number
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


def wanted(spec: ModelSpec, bounds: Packaged, run_id: str, later: Rows) -> Iterator[tuple[str, Callable[[], Gate]]]:
    """The gates of a candidate in MLflow that have a bound, by their names, and what decides each."""
    if bounds.megabytes is not None:
        yield SIZE, partial(_size, run_id, bounds.megabytes)
    if bounds.milliseconds is not None:
        yield LATENCY, partial(_latency, spec, run_id, bounds.milliseconds, later)


def _size(run_id: str, bound: float) -> Gate:
    """What the file weighs that answers, in MB. It is counted, so it has no interval."""
    candidate = records.candidate(run_id)
    answers = _answers(candidate)
    weight = candidate.files[answers].size / 1e6
    return Gate(SIZE, weight, bound, "pass" if weight <= bound else "fail", f"{answers} has {number(weight)} MB")


def _latency(spec: ModelSpec, run_id: str, bound: float, later: Rows) -> Gate:
    """How long it takes for one evaluation row, in ms: the median, with its interval.

    Raises:
        ArtifactUntrusted, ModelUnloadable: it cannot be loaded.
    """
    taken = np.sort(_taken(spec, run_id, later))
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
    for turn in range(_WARM + _ANSWERS):
        row = [_row(later.inputs, turn % len(later.inputs))]
        begun = time.perf_counter()
        predictor.answer(row)
        taken.append((time.perf_counter() - begun) * 1000)
    return taken[_WARM:]


def _row(inputs: pd.DataFrame, position: int) -> dict[str, Any]:
    return {str(name): None if pd.isna(value) else value for name, value in inputs.iloc[position].items()}
