"""The answered predictions in the lake, as the monitor looks at them: the columns
`spec.problem.outputs` in place of stored answers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from evergreen.lake import tables
from evergreen.lake.schema import PREDICTIONS
from evergreen.spec.columns import (
    AS_OF,
    EVENT,
    FEATURES_AT,
    KNOWN_AT,
    LABEL,
    PREDICTION,
    PROBABILITIES,
    REQUEST_ID,
)
from evergreen.spec.schema import ModelSpec


def read(spec: ModelSpec, partitions: Sequence[str], version: int | None = None) -> pd.DataFrame | None:
    """The predictions of some intervals, as of a version of their table or now; one that was made for another kind of
    label is null. None: there are none yet."""
    table = tables.read(PREDICTIONS.of(spec.model), partitions, version)
    if table is None:
        return None
    frame: pd.DataFrame = table.to_pandas()
    if not spec.problem.by_class:
        return frame
    stored = frame.reindex(columns=[PROBABILITIES])[PROBABILITIES]  # a table of an earlier release has no such column
    known = stored.notna().to_numpy()
    shares = np.full((len(frame), len(spec.problem.outputs)), np.nan)
    shares[known] = spec.problem.predictions([json.loads(text) for text in stored[known]])
    return frame.drop(columns=PREDICTION).assign(**spec.problem.columns(shares))


def predicted(spec: ModelSpec, partitions: Sequence[str], outcomes: Iterable[str]) -> list[str]:
    """Of some partitions of predictions those that may hold one whose outcome is in one of some label partitions."""
    known = {*outcomes}
    return [key for key in partitions if known.intersection(spec.asking.outcomes(spec.calendar.at(key)))]


def with_labels(spec: ModelSpec, predictions: pd.DataFrame, labels: pd.DataFrame) -> pd.DataFrame:
    """The first prediction of each outcome, with its `label` and its cutoff, as a row of a training has them.

    A request's key is its own; else the outcome is of a cutoff too.
    """
    on = [*spec.asking.outcome_keys]
    first = predictions.sort_values([AS_OF, REQUEST_ID]).drop_duplicates(on)
    known = labels[labels[KNOWN_AT].notna()]
    named = known.rename(columns={spec.label.name: LABEL}).assign(**{FEATURES_AT: known[EVENT]})
    weight = [] if spec.label.weight is None else [spec.label.weight]
    labelled: pd.DataFrame = first.merge(named[[*on, EVENT, LABEL, *weight]], on=on)
    return labelled
