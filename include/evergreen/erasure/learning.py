"""Which training sets held rows of an entity, and those rows as models took them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd
import pyarrow.compute as pc

from evergreen.erasure.rules import Learned
from evergreen.errors import PermanentError, VersionGone
from evergreen.history import ledger
from evergreen.lake import hashing, tables
from evergreen.lake.rewriting import Key
from evergreen.lake.schema import LABELS
from evergreen.registry import loading
from evergreen.registry import records as registry
from evergreen.spec.columns import EVENT, KNOWN_AT
from evergreen.spec.schema import ModelSpec
from evergreen.train import dataset, records
from evergreen.train.records import Record


@dataclass(frozen=True)
class Unsearched:
    """What could not be looked into, and why."""

    what: str
    why: str


def look(spec: ModelSpec, key: Key) -> Iterator[tuple[Learned, Record] | Unsearched]:
    """The training sets of a model that held rows of a key.

    Raises:
        ServiceUnavailable: the lake's store, the database or MLflow does not answer.
    """
    versions = registry.keys(spec.model)
    for number in sorted(versions):
        try:
            records.of(spec.model, registry.version(spec.model, number))  # takes those of a release before over
        except PermanentError as error:
            yield Unsearched(f"what version {number} of {spec.model} was trained on", error.found)
    for record in records.of_model(spec.model):
        own = tuple(sorted(number for number, training in versions.items() if training == record.key))
        try:
            rows = _rows(spec, record, key)
        except VersionGone as error:
            yield Unsearched(f"the training set {record.key} of {spec.model} ({_named(own)})", error.found)
            continue
        if rows:
            yield Learned(spec.model, record.key, own, rows), record


def _named(versions: tuple[int, ...]) -> str:
    return f"version {', '.join(map(str, versions))}" if versions else "no version"


def _rows(spec: ModelSpec, record: Record, key: Key) -> int:
    """How many rows of a training set are of the key: of its labels, as they were joined."""
    joined = 0
    for table, version in record.pins.items():
        if table.layer != LABELS.layer:
            continue
        labels = tables.read(table, version=version, where=key.where(spec.keys), columns=[EVENT, KNOWN_AT])
        if labels is not None and labels.num_rows:
            frame = labels.to_pandas()
            joined += int(record.split.mask(frame[EVENT], frame[KNOWN_AT]).sum())
    return joined


def left(record: Record, number: int, key: Key) -> str | None:
    """The content hash that the training set of a version will have without the rows of a key; None: it is not what was
    recorded, or cannot be built again."""
    try:
        spec = loading.declared(record.model, registry.version(record.model, number))
        data = dataset.rebuild(spec, record.split, record.pins)
    except PermanentError:
        return None
    known = {record.content_hash, *(event.left.get(record.key) for event in ledger.erased(record.model))}
    others = data.rows.filter(pc.invert(key.rows(data.rows)))
    return hashing.content_hash(others) if data.content_hash in known else None


def inputs(spec: ModelSpec, record: Record, key: Key) -> pd.DataFrame:
    """The rows of a key in a training set, as its models took them.

    Args:
        spec: the one that the training had.

    Raises:
        VersionGone: a table that was joined cannot be read any more.
        EvidenceMissing: a view has no table.
    """
    from evergreen.model.rows import inputs as as_inputs  # loads scikit-learn

    data = dataset.rebuild(spec, record.split, record.pins, of=key)
    return as_inputs(spec.feature_types, data.rows.to_pandas())
