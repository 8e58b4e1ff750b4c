"""What a candidate weighs as it would be served, and how long an answer takes it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from evergreen.handovers.gate import Gate
from evergreen.model.rows import Rows
from evergreen.registry import loading, records
from evergreen.registry.contents import GRAPH, PIPELINE
from evergreen.spec.packaged import Packaged
from evergreen.spec.schema import ModelSpec

SIZE, LATENCY = "size of the packaged model", "latency of an answer"
_ANSWERS = 200
_WARM = 10  # before they are measured


def measure(spec: ModelSpec, bounds: Packaged, run_id: str, later: Rows) -> Iterator[Gate]:
    """The gates of a candidate in MLflow, on evaluation rows.

    Raises:
        ArtifactUntrusted, ModelUnloadable: it cannot be loaded.
    """
    candidate = records.candidate(run_id)
    answers = GRAPH if GRAPH in candidate.files else PIPELINE
    if bounds.megabytes is not None:
        size = candidate.files[answers].size / 1e6
        good = size <= bounds.megabytes
        yield Gate(SIZE, size, bounds.megabytes, "pass" if good else "fail", f"{answers} has {size:,.2f} MB")
    if bounds.milliseconds is not None:
        taken = _taken(spec, run_id, later)
        median, most = float(np.median(taken)), float(np.quantile(taken, 0.95))
        good = median <= bounds.milliseconds
        told = f"{answers} answers a row in {median:.3f} ms, 95 % of {_ANSWERS} in {most:.3f} ms"
        yield Gate(LATENCY, median, bounds.milliseconds, "pass" if good else "fail", told)


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
