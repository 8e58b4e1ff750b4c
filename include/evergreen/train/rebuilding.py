"""The training set of a registered version, built again out of what was recorded of it."""

from __future__ import annotations

from dataclasses import dataclass

from evergreen.errors import ErasedInPart, TrainingSetChanged
from evergreen.history import erasures, ledger
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
        ErasedInPart: somebody's rows were erased from it since, and all others are as they were.
        TrainingSetChanged: other rows came out.
        EvidenceMissing, ArtifactUntrusted: there is no such version, or what is recorded of it is not there.
        ModelUnloadable: this release cannot read the version's spec.
    """
    version = registry.version(model, number)
    spec = loading.spec(model, version)
    record = records.of(model, version)
    data = dataset.rebuild(spec, record.split, record.pins)
    if data.content_hash != record.content_hash:
        _erased_in_part(model, number, record, data)
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


def _erased_in_part(model: str, number: int, record: Record, data: TrainingSet) -> None:
    """Raise ErasedInPart where erasures explain what differs: what is left is what the last one said, or none could say
    it; or one is under way, which leaves the set between two contents."""
    erased = [event for event in ledger.erased(model) if record.key in event.rows]
    if not erased:
        return
    open_ones = erasures.under_way() & {event.erasure for event in erased}
    if not open_ones and erased[-1].left.get(record.key, data.content_hash) != data.content_hash:
        return
    rows = sum(event.rows[record.key] for event in erased)
    raise ErasedInPart(
        f"building the training set of version {number} of {model} again",
        found=(
            f"it is erased in part: {rows} of its rows are gone by {', '.join(event.id for event in erased)}; "
            f"{data.rows.num_rows} rows are there"
        ),
        expected="the rows that the version was trained on, all of them",
        next_step=(
            "an erasure has not ended: give its command again"
            if open_ones
            else f"none: they were erased on purpose; `evergreen history {model}` says by whom and why"
        ),
    )


def _parted(record: Record, data: TrainingSet) -> str:
    """Where what came out differs from what was recorded, as far as was recorded."""
    parted = rules.difference(record.key, record.partitions, data.partitions) if record.partitions else None
    if parted is None:
        return ""
    partitions = sorted((*parted.added, *parted.changed, *parted.removed))
    return f"; it differs by the rows of {len(partitions)} partitions: {listed(partitions)}"
