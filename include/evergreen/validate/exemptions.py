"""Rows that a person released from quarantine: every validation of their interval reads who let which of them pass.

So a release survives that the interval is run again, and a batch that is sent anew with other values is judged anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import pyarrow as pa

from evergreen.database import Stored, Table, connect
from evergreen.lake.schema import QUARANTINE, Partition


@dataclass(frozen=True)
class Exemption:
    """A row of an interval that is published although it fails expectations of its contract."""

    dataset: str  # the dataset's name
    source: str  # the source that it is of
    partition: str  # the interval's day, such as `2026-01-05`
    row_hash: str  # sha256 of the row's values by declared column: a row with other values is another one
    reasons: Sequence[str]  # JSON: the expectations that it may fail; any other sends it back to quarantine
    actor: str  # who released it
    reason: str  # why
    at: Annotated[datetime | None, Stored(filled="default now()")] = None  # when it was released


TABLE = Table("exemptions", Exemption, key=("dataset", "source", "partition", "row_hash"))
_OF_INTERVAL = "where dataset = %s and source = %s and partition = %s"


def of(quarantine: Partition) -> list[Exemption]:
    """Those of an interval of a source."""
    with connect() as connection:
        return TABLE.select(connection, f"{_OF_INTERVAL} order by row_hash", _named(quarantine))


def counts(dataset: str) -> dict[tuple[str, str], int]:
    """How many rows are released, by source and partition."""
    query = f"select source, partition, count(*) from {TABLE.name} where dataset = %s group by 1, 2 order by 1, 2"
    with connect() as connection:
        rows = connection.execute(query.encode(), [dataset]).fetchall()
    return {(source, partition): count for source, partition, count in rows}


def grant(exemptions: Sequence[Exemption]) -> None:
    """Let rows pass; of one that may pass already, the newest word counts."""
    with connect() as connection:
        TABLE.insert(connection, exemptions, replace=True)


def withdraw(quarantine: Partition) -> int:
    """Let no row of an interval pass any more; returns how many could."""
    with connect() as connection:
        deleted = connection.execute(f"delete from {TABLE.name} {_OF_INTERVAL}".encode(), _named(quarantine))
    return deleted.rowcount


def forget(dataset: str, hashes: Sequence[str]) -> int:
    """Let rows pass no more, by their hashes; returns how many could."""
    with connect() as connection:
        query = f"delete from {TABLE.name} where dataset = %s and row_hash = any(%s)"
        return connection.execute(query.encode(), [dataset, list(hashes)]).rowcount


def waived(exemptions: Sequence[Exemption]) -> Mapping[str, frozenset[str]]:
    """Hash of a row → the expectations that it may fail."""
    return {each.row_hash: frozenset(each.reasons) for each in exemptions}


def row_hashes(rows: pa.Table, columns: Sequence[str]) -> list[str]:
    """The hash of each row, by its values of the declared columns."""
    return [_row_hash(row) for row in rows.select(sorted(columns)).to_pylist()]


def _row_hash(row: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(row, sort_keys=True, default=str).encode()).hexdigest()


def _named(quarantine: Partition) -> list[str]:
    assert quarantine.table.layer == QUARANTINE.layer
    return [quarantine.table.of, quarantine.table.name, quarantine.key]
