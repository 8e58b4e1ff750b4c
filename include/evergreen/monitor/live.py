"""The answered predictions in the lake, as the monitor looks at them: the columns
`spec.problem.outputs` in place of stored answers; and those whose labels have matured."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from evergreen.handovers.monitor import Collected
from evergreen.lake import tables
from evergreen.lake.schema import LABELS, PREDICTIONS
from evergreen.run import Run
from evergreen.spec.columns import (
    AS_OF,
    EVENT,
    FEATURES_AT,
    KNOWN_AT,
    LABEL,
    PARTITION,
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


def matured(run: Run, collected: Collected, labels_version: int | None) -> tuple[dict[int, pd.DataFrame], int]:
    """Predictions whose labels became known within the run's interval: by version the first of each outcome, with its
    `label`; and, where each outcome has a moment of its own, how many predictions of the interval's version since the
    longest wait have none yet."""
    spec = run.spec
    keys, partitions = [*spec.asking.outcome_keys], spec.asking.logged(run.interval)
    weight = [] if spec.label.weight is None else [spec.label.weight]
    known = tables.read(
        LABELS.of(spec.model, spec.label.name),
        partitions,
        labels_version,
        columns=[*dict.fromkeys((*spec.entity.columns, EVENT, KNOWN_AT, PARTITION, spec.label.name, *weight))],
        where=pc.field(KNOWN_AT) <= pa.scalar(run.as_of, pa.timestamp("us", "UTC")),
    )
    if known is None:
        return {}, 0
    labels = known.to_pandas()
    news, still_open = labels[labels[KNOWN_AT] > run.interval.start], 0
    if spec.label.known is not None:
        # An outcome may be waited for for years: of all that time only the keys are read, and whole rows of the
        # intervals whose outcomes are new.
        about = [*dict.fromkeys((*keys, AS_OF, REQUEST_ID, "version"))]
        asked = tables.read(PREDICTIONS.of(spec.model), partitions, collected.table_version, columns=about)
        if asked is None:
            return {}, 0
        frame = asked.to_pandas()
        mine = frame[(frame["version"] == collected.version) & (frame[AS_OF] <= run.as_of)].drop_duplicates(keys)
        still_open = len(mine) - len(with_labels(spec, mine, labels))
        partitions = predicted(spec, partitions, news[PARTITION])
    made = read(spec, partitions, collected.table_version)
    if made is None:
        return {}, still_open
    versions: list[int] = made["version"].unique().tolist()
    by_version = {version: with_labels(spec, made[made["version"] == version], news) for version in versions}
    return {version: rows for version, rows in by_version.items() if len(rows)}, still_open
