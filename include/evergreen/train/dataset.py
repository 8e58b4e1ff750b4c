"""Builds the training set: mature labels joined point in time with features, pinned
by table versions and a content hash."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from evergreen.features import historical
from evergreen.lake import hashing, tables
from evergreen.lake.rewriting import Key
from evergreen.lake.schema import FEATURES, LABELS, TableId
from evergreen.quoting import listed
from evergreen.spec import ago
from evergreen.spec.columns import EVENT, KNOWN_AT, PARTITION
from evergreen.spec.schema import ModelSpec
from evergreen.train import rules


@dataclass(frozen=True)
class TrainingSet:
    """The entities' keys, event_timestamp (the cutoff), features, label, and where each outcome has a moment of its own
    known_at; ordered by cutoff and key."""

    rows: pa.Table
    content_hash: str
    partitions: dict[str, str]  # partition of the cutoffs → digest of its rows
    pins: dict[TableId, int]  # the tables that it was built from, and which version of each
    versions: dict[str, int]  # the same, by what the model's records call a table

    def count(self, start: datetime, end: datetime) -> int:
        """How many rows have a cutoff from `start` to `end`, both included."""
        return int(self.rows[EVENT].to_pandas().between(start, end).sum())


def build(spec: ModelSpec, split: rules.Split) -> TrainingSet:
    """The labels that a split uses, with the features that were known at each cutoff.

    Raises:
        EvidenceMissing: a feature view has no table yet.
    """
    return _joined(spec, split, pins(spec), historical.read)


def rebuild(spec: ModelSpec, split: rules.Split, pins: Mapping[TableId, int], of: Key | None = None) -> TrainingSet:
    """The training set of an old version, out of the versions of the tables that it was built from.

    Args:
        spec: the version's own.
        of: only the rows of this entity.

    Raises:
        VersionGone: one of them cannot be read any more.
    """
    for table, version in pins.items():
        if gone := tables.missing(table, version):  # of which the engine would complain in its own words
            raise tables.gone(table, version, f"{len(gone)} of its files are missing: {listed(gone)}")
    return _joined(spec, split, pins, historical.read_as_declared, of)


def _joined(
    spec: ModelSpec,
    split: rules.Split,
    pins: Mapping[TableId, int],
    join: Callable[[ModelSpec, pd.DataFrame], pd.DataFrame],
    of: Key | None = None,
) -> TrainingSet:
    labels = _usable_labels(spec, split, pins, of)
    with tables.pinned(pins):  # whoever writes meanwhile: what is recorded is what was read
        joined = join(spec, labels.drop(columns=KNOWN_AT))
    joined[KNOWN_AT] = labels[KNOWN_AT].array
    frame = ago.of_frame(spec, joined).sort_values([EVENT, *spec.entity.columns], ignore_index=True)
    own = [] if spec.label.known is None else [KNOWN_AT]  # else the cutoff tells it
    order = [*spec.keys, EVENT, *spec.feature_types, spec.label.name, *_weight(spec), *own]
    rows = pa.Table.from_pandas(frame[order], preserve_index=False)
    content_hash, by_partition = hashing.content_hashes(rows, frame[PARTITION].tolist())
    versions = {table.seen_from(spec.model): version for table, version in pins.items()}
    return TrainingSet(rows, content_hash, by_partition, dict(pins), versions)


def _usable_labels(spec: ModelSpec, split: rules.Split, pins: Mapping[TableId, int], of: Key | None) -> pd.DataFrame:
    name, inputs = spec.label.name, spec.asking.inputs
    columns = [*spec.keys, EVENT, *inputs, name, *_weight(spec), PARTITION, KNOWN_AT]
    stored = LABELS.of(spec.model, name)
    is_known = pc.field(KNOWN_AT).is_valid()
    where = is_known if of is None else of.where(spec.keys) & is_known
    table = tables.read(stored, version=pins.get(stored), columns=columns, where=where, within=split.cutoffs)
    if table is None:
        return pd.DataFrame(columns=columns).astype(dict.fromkeys((EVENT, KNOWN_AT), "datetime64[us, UTC]"))
    labels = table.to_pandas()
    usable: pd.DataFrame = labels.loc[split.mask(labels[EVENT], labels[KNOWN_AT]), columns].reset_index(drop=True)
    return usable


def still_open(spec: ModelSpec, split: rules.Split) -> tuple[int, int]:
    """How many predictions of the time that a split learns from, and of the time that it evaluates on, have no outcome
    that it may use yet: counted where each outcome has a moment of its own."""
    if spec.label.known is None:
        return 0, 0
    table = tables.read(LABELS.of(spec.model, spec.label.name), columns=[EVENT, KNOWN_AT], within=split.cutoffs)
    if table is None:
        return 0, 0
    moments = table.to_pandas()
    return split.still_open(moments[EVENT], moments[KNOWN_AT])


def _weight(spec: ModelSpec) -> list[str]:
    return [] if spec.label.weight is None else [spec.label.weight]


def pins(spec: ModelSpec) -> dict[TableId, int]:
    """The newest versions of the tables that a model's training set is joined from; of those that are there."""
    joined = [
        LABELS.of(spec.model, spec.label.name),
        *(FEATURES.of(spec.dataset_of(view), view) for view in spec.features),
    ]
    versions = {table: tables.version(table) for table in joined}
    return {table: version for table, version in versions.items() if version is not None}
