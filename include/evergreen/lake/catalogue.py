"""Which partitions of the lake are published, with what content (docs/adr/0001).

A row is written after the Delta commit of its partition, so it never promises what is not there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa

from evergreen.lake import postgres

_DDL = """
create table if not exists partitions (
    model text, layer text, name text, partition text,
    rows bigint not null, content_hash text not null, inputs_hash text,
    table_version bigint not null, known_at timestamptz not null,
    primary key (model, layer, name, partition)
)"""


@dataclass(frozen=True)
class Partition:
    """One published partition."""

    model: str
    layer: str
    name: str
    partition: str
    rows: int
    content_hash: str
    inputs_hash: str | None  # of what it was computed from; None for what came from outside
    table_version: int
    known_at: datetime


_COLUMNS = ", ".join(field.name for field in fields(Partition))


def record(*entries: Partition) -> None:
    """Say that partitions are published; replaces what was said of them before. All or none."""
    postgres.ensure_table(_DDL)
    with postgres.connect() as connection, connection.cursor() as cursor:
        cursor.executemany(
            f"insert into partitions ({_COLUMNS}) values (%s, %s, %s, %s, %s, %s, %s, %s, %s)"
            " on conflict (model, layer, name, partition) do update set rows = excluded.rows,"
            " content_hash = excluded.content_hash, inputs_hash = excluded.inputs_hash,"
            " table_version = excluded.table_version, known_at = excluded.known_at",
            [astuple(entry) for entry in entries],
        )


def published(model: str, layer: str, name: str, partitions: Sequence[str] | None = None) -> dict[str, Partition]:
    """The published partitions of a table, by key; only the given ones when some are given."""
    postgres.ensure_table(_DDL)
    with postgres.connect() as connection:
        rows = connection.execute(
            f"select {_COLUMNS} from partitions where model = %s and layer = %s and name = %s"
            " and (%s::text[] is null or partition = any(%s)) order by partition",
            [model, layer, name, *[None if partitions is None else list(partitions)] * 2],
        ).fetchall()
    return {row[3]: Partition(*row) for row in rows}


def content_hash(table: pa.Table) -> str:
    """A hash of columns, types and rows; the order of rows and columns, and chunking, do not matter.

    Each row is hashed by pandas (fixed key, the same in every process); rows are combined by sums, which have no order.
    """
    names = sorted(table.column_names)
    digest = hashlib.sha256(repr([(name, str(table.schema.field(name).type)) for name in names]).encode())
    if table.num_rows:
        frame = table.select(names).to_pandas(integer_object_nulls=True)  # as floats, long numbers would look alike
        hashes = pd.util.hash_pandas_object(frame, index=False).to_numpy(np.uint64)
        mixed = hashes * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
        for part in (len(hashes), int(hashes.sum(dtype=np.uint64)), int((mixed * mixed).sum(dtype=np.uint64))):
            digest.update(part.to_bytes(8, "little"))
    return digest.hexdigest()[:32]
