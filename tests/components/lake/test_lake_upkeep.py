"""Tables are kept small: partitions dropped, files put together, old files removed; what is needed reads as before."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from evergreen.errors import VersionGone
from evergreen.lake import hashing, tables, upkeep
from evergreen.lake.schema import RAW
from tests.delta_log import age

pytestmark = pytest.mark.usefixtures("lake")
TABLE = RAW.of("shop", "visits")
KEPT = timedelta(days=30)


def hashed(version: int | None = None) -> str:
    rows = tables.read(TABLE, version=version)
    assert rows is not None
    return hashing.content_hash(rows)


def test_old_files_go_but_for_those_of_needed_versions() -> None:
    hashes = {}
    for commit in range(24):  # over two checkpoints
        version = tables.replace(TABLE.at(f"2026-01-0{1 + commit % 4}"), pa.table({"value": [commit]}))
        hashes[version] = hashed(version)
    for checkpoint in (Path(tables.table_path(TABLE)) / "_delta_log").glob("*checkpoint*"):
        checkpoint.unlink()  # it tells of today, and what it sums up is there
    age(Path(tables.table_path(TABLE)), timedelta(days=365))
    newest = tables.replace(TABLE.at("2026-01-01"), pa.table({"value": [99]}))  # what it replaces is old since today
    hashes[newest] = hashed()
    needed = {3, 11, 17}
    looked = upkeep.vacuum(TABLE, KEPT, needed | {999}, apply=False)
    assert looked and hashed(5) == hashes[5], "a look removes nothing"
    assert sorted(upkeep.vacuum(TABLE, KEPT, needed | {999}, apply=True)) == sorted(looked)
    assert upkeep.vacuum(TABLE, KEPT, needed, apply=True) == []
    for version in (*needed, newest - 1, newest):
        assert hashed(version) == hashes[version] and not tables.missing(TABLE, version)
    with pytest.raises(VersionGone):
        hashed(5)
    assert tables.missing(TABLE, 5)


def test_small_files_are_put_together_and_no_hash_changes() -> None:
    for value in range(5):
        version = tables.replace(TABLE.at("2026-01-01"), pa.table({"value": [value]}))
    path = tables.table_path(TABLE)
    for value in range(5):
        write_deltalake(path, pa.table({"value": [value], "partition": ["2026-01-01"]}), mode="append")
    before, old = hashed(), hashed(version)
    assert upkeep.scattered(TABLE) == 1
    assert upkeep.compact(TABLE) == 5
    assert (hashed(), hashed(version), upkeep.scattered(TABLE)) == (before, old, 0)
    assert len(DeltaTable(path).file_uris()) == 1
    assert upkeep.compact(TABLE) == 0


def test_dropped_partitions_are_gone_now_and_there_before() -> None:
    for day in (1, 2, 3):
        version = tables.replace(TABLE.at(f"2026-01-0{day}"), pa.table({"value": [day]}))
    upkeep.drop(TABLE, ["2026-01-01", "2026-01-02"])
    assert tables.counts(TABLE) == {"2026-01-03": 1}
    rows = tables.read(TABLE, version=version)
    assert rows is not None and rows.num_rows == 3
