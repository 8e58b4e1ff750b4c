"""The training set of a registered version, built again out of what was recorded of it."""

from __future__ import annotations

from dataclasses import dataclass

from evergreen.errors import TrainingSetChanged
from evergreen.quoting import listed
from evergreen.registry import loading
from evergreen.registry import records as registry
from evergreen.train import dataset, records, rules
from evergreen.train.dataset import TrainingSet
from evergreen.train.records import Record


@dataclass(frozen=True)
class Rebuilt:
    """A training set as it was, and the record that says so."""

    data: TrainingSet
    record: Record


def rebuild(model: str, number: int) -> Rebuilt:
    """Build the training set of a version again: by the version's own spec, out of the versions of the lake's tables
    that it was built from, and compare it with the content hash of then.

    Raises:
        VersionGone: one of those versions cannot be read any more.
        TrainingSetChanged: other rows came out.
        EvidenceMissing, ArtifactUntrusted: there is no such version, or what is recorded of it is not there.
        ModelUnloadable: this release cannot read the version's spec.
    """
    version = registry.version(model, number)
    spec = loading.spec(model, version)
    record = records.of(model, version)
    data = dataset.rebuild(spec, record.split, record.pins)
    if data.content_hash != record.content_hash:
        raise TrainingSetChanged(
            f"building the training set of version {number} of {model} again",
            found=f"{data.rows.num_rows} rows with the content hash {data.content_hash}{_parted(record, data)}",
            expected=f"{record.content_hash}, as it was recorded",
            next_step=(
                "compare the version's environment.json in MLflow with the packages of now; if they are the same, find"
                " out who changed the lake's files"
            ),
        )
    return Rebuilt(data, record)


def _parted(record: Record, data: TrainingSet) -> str:
    """Where what came out differs from what was recorded, as far as was recorded."""
    parted = rules.difference(record.key, record.partitions, data.partitions) if record.partitions else None
    if parted is None:
        return ""
    partitions = sorted((*parted.added, *parted.changed, *parted.removed))
    return f"; it differs by the rows of {len(partitions)} partitions: {listed(partitions)}"
