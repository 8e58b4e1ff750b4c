"""The training set: mature labels joined point in time with features, pinned by table versions and a content hash."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import pyarrow as pa

from evergreen.features import store
from evergreen.lake import catalogue, tables
from evergreen.run import Run
from evergreen.spec.schema import ModelSpec
from evergreen.train import rules

EVENT = "event_timestamp"


@dataclass(frozen=True)
class TrainingSet:
    """One frame: entity key, event_timestamp (the cutoff), the features, the label (0 or 1)."""

    frame: pd.DataFrame
    split: rules.Split
    content_hash: str
    versions: dict[str, int]

    @property
    def learn(self) -> pd.DataFrame:
        return self.frame[(self.frame[EVENT] >= self.split.learn_from) & (self.frame[EVENT] <= self.split.learn_to)]

    @property
    def evaluate(self) -> pd.DataFrame:
        return self.frame[self.frame[EVENT] >= self.split.evaluate_from]


def build(run: Run) -> TrainingSet:
    """Labels that were mature at `run.as_of`, with the features that were known at each cutoff.

    The purge between learning and evaluation is left out. Rows are in the order of cutoff and key, whatever the tables' order.
    """
    spec, split = run.spec, rules.split(run.as_of, run.spec, run.changed_at)
    versions = _versions(spec)
    labels = _labels(spec, split, run)
    rows = store.historical_features(spec, labels[[spec.entity.key, EVENT]])
    frame = rows.merge(labels, on=[spec.entity.key, EVENT], validate="one_to_one")
    frame = frame.sort_values([EVENT, spec.entity.key], ignore_index=True)
    return TrainingSet(frame, split, catalogue.content_hash(pa.Table.from_pandas(frame, preserve_index=False)), versions)


def inputs(spec: ModelSpec, frame: pd.DataFrame) -> pd.DataFrame:
    """The model's inputs: numbers (and booleans) as float64, categories as text or None, in the spec's order."""
    columns = {}
    for name, kind in spec.feature_types.items():
        column = frame[name]
        columns[name] = column.astype(object).where(column.notna(), None) if kind == "category" else column.astype("float64")
    return pd.DataFrame(columns, index=frame.index)


def _labels(spec: ModelSpec, split: rules.Split, run: Run) -> pd.DataFrame:
    name = spec.label.name
    table = tables.read(spec.model, "labels", name, columns=[spec.entity.key, EVENT, name, "known_at"])
    columns = [spec.entity.key, EVENT, name]
    if table is None:
        return pd.DataFrame(columns=columns).astype({EVENT: "datetime64[us, UTC]"})
    labels = table.to_pandas()
    mature = labels["known_at"] <= run.as_of
    used = labels[EVENT].between(split.learn_from, split.learn_to) | labels[EVENT].between(split.evaluate_from, split.evaluate_to)
    return labels.loc[mature & used, columns]


def _versions(spec: ModelSpec) -> dict[str, int]:
    found = {f"labels/{spec.label.name}": tables.version(spec.model, "labels", spec.label.name)}
    found |= {f"features/{view}": tables.version(spec.model, "features", view) for view in spec.features}
    return {name: version for name, version in found.items() if version is not None}
