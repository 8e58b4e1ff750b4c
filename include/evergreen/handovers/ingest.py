"""What travels through the ingest loop, in the order in which it is made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from evergreen.handovers.handover import Handover, Part, Staged
from evergreen.links import Link


@dataclass(frozen=True)
class BatchFile:
    """A file that was read."""

    name: str
    """Its address: a path, or `s3://…`."""
    size: int
    """Its bytes."""
    sha256: str
    """Of its bytes, 64 hexadecimal digits."""


@dataclass(frozen=True)
class BatchQuery:
    """A query that was run on a connection."""

    connection: str
    """The connection's id, which tells nothing of its login."""
    statement: str
    """sha256 of the query's text."""
    rows: int
    """How many rows it returned."""
    content_hash: str
    """Digest of these rows."""


class Batch(Part):
    """The interval's rows of one source, with the declared columns and types."""

    staged: Staged
    """The rows, `_unparsed` (the text of cells that did not fit their type), `_row` and `_place` (where each stood)."""
    origin: str
    """Where they come from: a folder, an object, a connection and its query."""
    digest: str
    """Digest of the batch's files; of its rows where it has no file of its own."""
    known_at: datetime
    """When the batch became available."""
    files: tuple[BatchFile, ...]
    """The files that it was read from; none: it is a query's."""
    query: BatchQuery | None
    """The query that returned it; None: it was read from files."""
    warnings: tuple[str, ...]
    """What the owner should know of how it could be read, one text each."""


class Extracted(Handover):
    """The interval's batch of every source, and each new version of a table for all intervals."""

    partition: str
    """The interval's day."""
    sources: Mapping[str, Batch]
    """source → its batch."""


class Parted(Part):
    """A batch after its contract: every row is in exactly one of the two files, in order."""

    batch: Batch
    """What was extracted."""
    accepted: Staged
    """Rows to publish, with the declared columns."""
    rejected: Staged
    """Rows for the quarantine, also with `_unparsed`, `_row`, `_place` and `_reasons`."""


class Validated(Handover):
    """Every source's batch met its contract; single rows may have failed it."""

    partition: str
    """The interval's day."""
    sources: Mapping[str, Parted]
    """source → its rows, accepted and rejected."""
    page: str
    """The Data Docs of the batches."""
    warnings: tuple[str, ...]
    """Warnings for the owner, one text each."""
    pages: ClassVar = {"page": Link.DATA_DOCS}


class PublishedSource(Part):
    """A source's partition in the lake."""

    rows: int
    """Published rows."""
    quarantined: int
    """Rows in quarantine."""
    content_hash: str
    """Digest of the published rows; their order does not matter."""
    version: int
    """The Delta table version that holds them."""


class Published(Handover):
    """The interval's partition of every source is in the lake."""

    partition: str
    """The interval's day."""
    sources: Mapping[str, PublishedSource]
    """source → what was published of it."""
    warnings: tuple[str, ...]
    """Warnings for the owner, one text each."""


class FeatureCandidate(Part):
    """A computed partition of a view, before its contract is checked."""

    staged: Staged
    """The rows."""
    content_hash: str
    """Digest of the rows."""
    query_hash: str
    """Digest of everything declared that decides what the partition holds."""
    inputs_hash: str
    """Digest of the same, and of the raw days that the partition looks back at."""


class Computed(Handover):
    """Every feature partition that looks back at the interval, is complete, and whose inputs had changed."""

    views: Mapping[str, Mapping[str, FeatureCandidate]]
    """view → partition → its candidate."""


class SoundFeatures(Computed):
    """Computed partitions that met their views' contracts."""

    page: str | None
    """The Data Docs of the partitions; None: nothing was computed."""
    warnings: tuple[str, ...]
    """Warnings for the owner, one text each."""
    pages: ClassVar = {"page": Link.DATA_DOCS}


class WrittenPartition(Part):
    """A partition that was replaced in the lake."""

    rows: int
    """Its rows."""
    content_hash: str
    """Digest of the rows."""
    version: int
    """The Delta table version that holds them."""


class PublishedFeatures(Handover):
    """The feature partitions that were written."""

    views: Mapping[str, Mapping[str, WrittenPartition]]
    """view → partition → what was written."""
    left: tuple[str, ...]
    """`view partition` of candidates that another run took over: it published a day that they look back at."""
    carried: ClassVar = ("rows", "content_hash", "partitions")

    @property
    def rows(self) -> int:
        """All rows that were written."""
        return sum(partition.rows for partitions in self.views.values() for partition in partitions.values())

    @property
    def partitions(self) -> int:
        """How many partitions were written."""
        return sum(len(partitions) for partitions in self.views.values())

    @property
    def content_hash(self) -> str:
        """Of everything that was written."""
        hashes = {
            view: {partition: written.content_hash for partition, written in partitions.items()}
            for view, partitions in self.views.items()
        }
        return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()[:32]


class Online(Handover):
    """The feature partitions that the online store has now, and had not before."""

    views: Mapping[str, Mapping[str, int]]
    """view → partition → rows."""
