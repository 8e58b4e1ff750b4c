"""The training set of a registered version, built again out of what was recorded of it."""

from __future__ import annotations

from dataclasses import dataclass

from evergreen.errors import ErasedInPart, TrainingSetChanged
from evergreen.history import erasures, ledger
from evergreen.quoting import listed
from evergreen.registry import loading
from evergreen.registry import records as registry
from evergreen.spec.schema import ModelSpec
from evergreen.train import dataset, records, rules
from evergreen.train.dataset import TrainingSet
from evergreen.train.records import Record


@dataclass(frozen=True)
class Rebuilt:
    """A training set as it comes out now, and the record of it.

    Attributes:
        wrong: why it is not what was recorded; None: it is.
    """

    data: TrainingSet
    record: Record
    wrong: ErasedInPart | TrainingSetChanged | None = None


def rebuild(model: str, number: int) -> Rebuilt:
    """Build the training set of a version again, and compare it with what was recorded of it.

    Raises:
        VersionGone: one of the versions of the lake's tables cannot be read any more.
        ErasedInPart: somebody's rows were erased from it since, and all others are as they were.
        TrainingSetChanged: other rows came out.
        EvidenceMissing, ArtifactUntrusted: there is no such version, or what is recorded of it is not there.
        ModelUnloadable: this release cannot read the version's spec.
    """
    version = registry.version(model, number)
    rebuilt = again(
        loading.declared(model, version), records.of(model, version), f"the training set of version {number} of {model}"
    )
    if rebuilt.wrong is not None:
        raise rebuilt.wrong
    return rebuilt


def again(spec: ModelSpec, record: Record, whose: str) -> Rebuilt:
    """Build a training set again: by the spec of then, out of the versions of the lake's tables that it was built from.

    Args:
        whose: it is, for messages.

    Raises:
        VersionGone: one of those versions cannot be read any more.
    """
    data = dataset.rebuild(spec, record.split, record.pins)
    if data.content_hash == record.content_hash:
        return Rebuilt(data, record)
    return Rebuilt(data, record, _erased_in_part(record, data, whose) or _changed(record, data, whose))


def _changed(record: Record, data: TrainingSet, whose: str) -> TrainingSetChanged:
    return TrainingSetChanged(
        f"building {whose} again",
        found=f"{data.rows.num_rows} rows with the content hash {data.content_hash}{_parted(record, data)}",
        expected=f"{record.content_hash}, as it was recorded",
        next_step=f"`evergreen reproduce {record.model}` names what moved; else find out who changed the lake's files",
    )


def _erased_in_part(record: Record, data: TrainingSet, whose: str) -> ErasedInPart | None:
    """The error where erasures explain what differs: what is left is what the last one said, or none could say it; or
    one is under way, which leaves the set between two contents."""
    erased = [event for event in ledger.erased(record.model) if record.key in event.rows]
    if not erased:
        return None
    open_ones = erasures.under_way() & {event.erasure for event in erased}
    if not open_ones and erased[-1].left.get(record.key, data.content_hash) != data.content_hash:
        return None
    rows = sum(event.rows[record.key] for event in erased)
    return ErasedInPart(
        f"building {whose} again",
        found=(
            f"it is erased in part: {rows} of its rows are gone by {', '.join(event.id for event in erased)}; "
            f"{data.rows.num_rows} rows are there"
        ),
        expected="the rows that the version was trained on, all of them",
        next_step=(
            "an erasure has not ended: give its command again"
            if open_ones
            else f"none: they were erased on purpose; `evergreen history {record.model}` says by whom and why"
        ),
    )


def _parted(record: Record, data: TrainingSet) -> str:
    """Where what came out differs from what was recorded, as far as was recorded."""
    parted = rules.difference(record.key, record.partitions, data.partitions) if record.partitions else None
    if parted is None:
        return ""
    partitions = sorted((*parted.added, *parted.changed, *parted.removed))
    return f"; it differs by the rows of {len(partitions)} partitions: {listed(partitions)}"
