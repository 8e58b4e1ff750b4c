"""Writing a partition: first the rows in Delta, then the catalogue's entry that says they are there."""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa

from evergreen.lake import catalogue, hashing, tables
from evergreen.lake.schema import Partition


def replace(
    partition: Partition,
    rows: pa.Table,
    *,
    known_at: datetime,
    inputs_hash: str | None = None,
    reaches: datetime | None = None,
) -> catalogue.Entry:
    """Make `rows` the whole content of a partition; returns the entry to record
    once all that belongs together is written.

    Args:
        known_at: when the rows became available.
        inputs_hash: of what they were computed from; None for what came from outside.
        reaches: the newest row from after the partition's interval.

    Raises:
        WriteConflict: other writers kept replacing the same partition.
    """
    version, table = tables.replace(partition, rows), partition.table
    return catalogue.Entry(
        model=table.of,
        layer=table.layer,
        name=table.name,
        partition=partition.key,
        rows=rows.num_rows,
        content_hash=hashing.content_hash(rows),
        inputs_hash=inputs_hash,
        table_version=version,
        known_at=known_at,
        reaches=reaches,
    )
