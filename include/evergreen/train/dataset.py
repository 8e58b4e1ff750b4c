"""Builds the training set: mature labels joined point in time with features, pinned
by table versions and a content hash."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import pandas as pd
import pyarrow as pa

from evergreen.errors import WriteConflict
from evergreen.features import historical
from evergreen.lake import catalogue, tables
from evergreen.lake.schema import FEATURES, LABELS
from evergreen.spec.columns import EVENT, KNOWN_AT
from evergreen.spec.schema import ModelSpec
from evergreen.train import rules

_ATTEMPTS = 5


@dataclass(frozen=True)
class TrainingSet:
    """The entities' keys, event_timestamp (the cutoff), features, label; ordered by cutoff and key."""

    rows: pa.Table
    content_hash: str
    versions: dict[str, int]  # of the tables that it was built from, `layer/name` → version

    def count(self, start: datetime, end: datetime) -> int:
        """How many rows have a cutoff from `start` to `end`, both included."""
        return int(self.rows[EVENT].to_pandas().between(start, end).sum())


def build(spec: ModelSpec, split: rules.Split) -> TrainingSet:
    """The labels that a split uses, with the features that were known at each cutoff.

    Raises:
        EvidenceMissing: a feature view has no table yet.
        WriteConflict: other runs kept writing the tables meanwhile.
    """
    for _ in range(_ATTEMPTS):
        versions = _versions(spec)
        labels = _usable_labels(spec, split, versions)
        joined = historical.read(spec, labels)
        if _versions(spec) == versions:  # Feast reads the newest version: the recorded one, if none came meanwhile
            break
    else:
        raise WriteConflict(
            f"joining the training set of {spec.model} as of {split.as_of.isoformat()}",
            found=f"the tables changed {_ATTEMPTS} times meanwhile",
            expected="tables that hold still for the join",
            next_step="none: the task is retried by itself",
        )
    order = [*spec.keys, EVENT, *spec.feature_types, spec.label.name]
    frame = joined[order].sort_values([EVENT, spec.entity.key], ignore_index=True)
    rows = pa.Table.from_pandas(frame, preserve_index=False)
    return TrainingSet(rows, catalogue.content_hash(rows), versions)


def _usable_labels(spec: ModelSpec, split: rules.Split, versions: dict[str, int]) -> pd.DataFrame:
    name, inputs = spec.label.name, spec.asking.inputs
    columns = [*spec.keys, EVENT, *inputs, name]
    stored = LABELS.of(spec.model, name)
    table = tables.read(stored, version=versions.get(stored.seen_from(spec.model)), columns=[*columns, KNOWN_AT])
    if table is None:
        return pd.DataFrame(columns=columns).astype({EVENT: "datetime64[us, UTC]"})
    labels = table.to_pandas()
    usable: pd.DataFrame = labels.loc[split.mask(labels[EVENT], labels[KNOWN_AT]), columns].reset_index(drop=True)
    return usable


def _versions(spec: ModelSpec) -> dict[str, int]:
    joined = [
        LABELS.of(spec.model, spec.label.name),
        *(FEATURES.of(spec.dataset_of(view), view) for view in spec.features),
    ]
    versions = {table.seen_from(spec.model): tables.version(table) for table in joined}
    return {name: version for name, version in versions.items() if version is not None}
