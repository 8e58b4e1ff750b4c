"""Files that pass from one task of a run to the next: Parquet below `<home>/staging`, whole or not there."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from evergreen.settings import settings


def path(model: str, partition: str, name: str) -> Path:
    """Where a run's file stands."""
    return settings().home / "staging" / model / partition / f"{name}.parquet"


def write(file: Path, table: pa.Table) -> str:
    """Write a file at once, whoever writes it beside us; returns its path as text, for XCom."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.{uuid4().hex}")
    pq.write_table(table, partial)
    partial.rename(file)
    return str(file)


def read(file: str) -> pa.Table:
    """The table of a file."""
    return pq.read_table(file)
