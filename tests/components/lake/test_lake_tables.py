"""Delta tables on the disk: a partition is replaced as a whole or not at all, whoever writes beside it or is killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from deltalake.exceptions import CommitFailedError

from evergreen.errors import ColumnChanged, TransientError, WriteConflict
from evergreen.lake import tables
from evergreen.lake.schema import RAW
from evergreen.settings import PROJECT, settings

from . import held_writer

TABLE = RAW.of("shop", "visits")


@pytest.fixture(autouse=True)
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A fresh lake on the disk."""
    monkeypatch.setenv("EVERGREEN_HOME", str(tmp_path / "home"))
    settings.cache_clear()
    yield
    settings.cache_clear()


def rows(*values: float, **more: list[Any]) -> pa.Table:
    return pa.table({"value": pa.array(values, pa.float64()), **more})


def stored(partition: str | None = None) -> list[tuple[str, float]]:
    table = tables.read(TABLE, partitions=None if partition is None else [partition])
    assert table is not None
    return sorted(zip(table["partition"].to_pylist(), table["value"].to_pylist(), strict=True))


def test_a_partition_is_replaced_and_the_others_stay() -> None:
    tables.replace(TABLE.at("a"), rows(1, 2))
    tables.replace(TABLE.at("b"), rows(3))
    tables.replace(TABLE.at("a"), rows(4))
    assert stored() == [("a", 4), ("b", 3)]
    assert stored("b") == [("b", 3)]


def test_the_partition_of_the_call_wins_over_a_column_of_that_name() -> None:
    tables.replace(TABLE.at("a"), rows(1, partition=["somewhere else"]))
    assert stored() == [("a", 1)]


def test_no_rows_empty_a_partition_and_no_other() -> None:
    tables.replace(TABLE.at("a"), rows(1, 2))
    tables.replace(TABLE.at("b"), rows(3))
    tables.replace(TABLE.at("a"), rows())
    assert stored() == [("b", 3)]
    assert stored("a") == []


def test_a_table_may_begin_with_an_empty_partition() -> None:
    tables.replace(TABLE.at("a"), rows())
    assert stored() == []
    tables.replace(TABLE.at("b"), rows(3))
    assert stored() == [("b", 3)]


@pytest.mark.parametrize(
    ("stored_as", "now"), [([1, 2], [12.5]), ([True], [2]), ([1.5], [2]), (["a"], [1]), ([1], ["a"])]
)
def test_a_column_of_another_type_is_refused_and_nothing_is_cut(stored_as: list[Any], now: list[Any]) -> None:
    """Delta itself would write 12.5 as 12 into a column of whole numbers."""
    tables.replace(TABLE.at("a"), pa.table({"amount": stored_as}))
    before = tables.read(TABLE)
    with pytest.raises(ColumnChanged, match="amount: ") as refused:
        tables.replace(TABLE.at("b"), pa.table({"amount": now}))
    assert "shop/raw/visits" in refused.value.doing and "a new name" in refused.value.next_step
    assert tables.read(TABLE) == before


def test_a_new_column_joins_the_table_and_is_null_before() -> None:
    tables.replace(TABLE.at("a"), rows(1))
    tables.replace(TABLE.at("b"), rows(2, kind=["web"]))
    table = tables.read(TABLE)
    assert table is not None
    assert {row["partition"]: row["kind"] for row in table.to_pylist()} == {"a": None, "b": "web"}


def test_a_version_stays_readable_after_its_partition_was_replaced() -> None:
    first = tables.replace(TABLE.at("a"), rows(1))
    second = tables.replace(TABLE.at("a"), rows(2))
    assert (first, second, tables.version(TABLE)) == (1, 2, 2)
    old = tables.read(TABLE, version=first)
    assert old is not None and old["value"].to_pylist() == [1]


def test_types_come_back_as_they_were_written() -> None:
    moment = datetime(2026, 1, 5, 12, 30, tzinfo=UTC)
    written = pa.table(
        {
            "at": pa.array([moment, None], pa.timestamp("us", "UTC")),
            "text": pa.array(["x", None]),
            "whole": pa.array([1, None], pa.int64()),
            "yes": pa.array([True, None]),
            "day": pa.array([moment.date(), None]),
        }
    )
    tables.replace(TABLE.at("a"), written)
    table = tables.read(TABLE)
    assert table is not None
    assert table.drop_columns(["partition"]).schema == written.schema
    assert table.drop_columns(["partition"]).to_pylist() == written.to_pylist()


def test_what_is_not_there() -> None:
    assert tables.read(TABLE) is None
    assert tables.version(TABLE) is None
    tables.replace(TABLE.at("a"), rows(1))
    for partitions in ([], ["nowhere"], ["it's not here"]):
        table = tables.read(TABLE, partitions=partitions, columns=["value"])
        assert table is not None
        assert (table.column_names, table.num_rows) == (["value"], 0), f"partitions {partitions}"


@pytest.mark.filterwarnings("error")
def test_the_cost_of_one_partition_does_not_grow_with_their_number() -> None:
    """Measured: 4 ms of 5 partitions and of 300; 4 and 115 when every file is looked at,
    7 and 360 when each is read."""

    def cost(partitions: int) -> float:
        name = f"of_{partitions}"
        data = pa.table({"value": range(partitions), "partition": [f"p{n}" for n in range(partitions)]})
        write_deltalake(tables.table_path(RAW.of("shop", name)), data, partition_by=["partition"])
        taken = []
        for _ in range(9):
            begin = time.perf_counter()
            table = tables.read(RAW.of("shop", name), partitions=["p3"])
            taken.append(time.perf_counter() - begin)
            assert table is not None and table["value"].to_pylist() == [3]
        return min(taken)

    few, many = cost(5), cost(300)
    assert many < 5 * few, f"one partition of 5 takes {1000 * few:.1f} ms, one of 300 {1000 * many:.1f} ms"


def test_writers_of_different_partitions_do_not_disturb_each_other() -> None:
    """All at once, also at the table's creation."""
    names = [f"p{number}" for number in range(6)]
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(lambda name: tables.replace(TABLE.at(name), rows(1, 2)), names))
    assert stored() == [(name, value) for name in names for value in (1, 2)]


def test_writers_of_one_partition_leave_the_rows_of_one_of_them() -> None:
    tables.replace(TABLE.at("a"), rows(0))
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda value: tables.replace(TABLE.at("a"), rows(value, value)), (1.0, 2.0, 3.0)))
    read_back = stored()
    assert len(read_back) == 2 and read_back[0] == read_back[1], f"the rows of several writers: {read_back}"


def test_a_writer_that_always_loses_says_so_and_may_be_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    def lose(*_: Any) -> int:
        raise CommitFailedError("somebody was faster")

    monkeypatch.setattr(tables, "_replace", lose)
    monkeypatch.setattr(tables.time, "sleep", lambda _: None)
    with pytest.raises(
        WriteConflict, match=r"(?s)replacing partition a of .*shop/raw/visits.*somebody was faster"
    ) as caught:
        tables.replace(TABLE.at("a"), rows(1))
    assert isinstance(caught.value, TransientError)


@pytest.mark.parametrize("begin", ["no table", "an older copy"])
def test_a_writer_killed_after_its_data_files_and_before_its_commit_leaves_nothing_and_a_retry_one_copy(
    begin: str,
) -> None:
    path = Path(tables.table_path(TABLE))
    if begin == "an older copy":
        tables.replace(TABLE.at("a"), held_writer.rows(1.0))
        tables.replace(TABLE.at("b"), rows(9))
    before, others = tables.version(TABLE), _files(path)
    with _held_writer("a", 2.0) as writer:
        orphans = _settled(path, others)
        writer.send_signal(signal.SIGKILL)
        assert writer.wait(30) == -signal.SIGKILL
    # It did land in between: there are data files, whole ones, and no version names them.
    assert orphans, "the writer was killed before it wrote a data file: nothing was tested"
    assert all(file.read_bytes()[-4:] == b"PAR1" for file in orphans), "a data file is not whole"
    assert tables.version(TABLE) == (before or 0), "the killed writer had committed: nothing was tested"
    assert not {file.name for file in orphans} & _named_by_commits(path)

    if begin == "an older copy":
        assert _values("a") == [1.0] * held_writer.ROWS, "a reader after the kill sees the old rows, all of them"
    else:
        made = tables.read(TABLE)
        assert made is not None and made.num_rows == 0, "the table was made, and is empty"

    tables.replace(TABLE.at("a"), held_writer.rows(2.0))
    table = tables.read(TABLE, partitions=["a"])
    assert table is not None
    assert sorted(table["number"].to_pylist()) == list(range(held_writer.ROWS)), "not exactly one copy of the rows"
    assert _values("a") == [2.0] * held_writer.ROWS
    assert _values("b") == ([9.0] if begin == "an older copy" else [])


def _values(partition: str) -> list[float]:
    table = tables.read(TABLE, partitions=[partition])
    return [] if table is None else table["value"].to_pylist()


class _held_writer:
    """The script beside this file, once it says that it holds."""

    def __init__(self, partition: str, value: float) -> None:
        self.command = [sys.executable, "-m", "tests.components.lake.held_writer", TABLE.name, partition, str(value)]

    def __enter__(self) -> subprocess.Popen[str]:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(PROJECT / "include"), str(PROJECT)])}
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True, env=environment, cwd=PROJECT)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "held\n"
        return self.process

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


def _files(path: Path) -> set[Path]:
    return set(path.rglob("*.parquet"))


def _settled(path: Path, known: set[Path]) -> set[Path]:
    """The data files that are new since `known`, once no more of them appear."""
    settled: set[Path] = set()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        time.sleep(0.3)
        now = _files(path) - known
        if now and now == settled:
            return settled
        settled = now
    return settled


def _named_by_commits(path: Path) -> set[str]:
    actions = [
        json.loads(line) for file in (path / "_delta_log").glob("*.json") for line in file.read_text().splitlines()
    ]
    return {Path(action["add"]["path"]).name for action in actions if "add" in action}


def test_a_random_history_of_writes_reads_like_a_dictionary() -> None:
    """Replacing, emptying and growing partitions in any order: the table holds what was last said of each."""
    chance, said = random.Random(7), {}
    for number in range(25):
        partition = chance.choice("abc")
        said[partition] = [float(number)] * chance.choice([0, 1, 3])
        tables.replace(TABLE.at(partition), rows(*said[partition]))
    assert stored() == sorted((partition, value) for partition, values in said.items() for value in values)


def test_writers_who_make_a_table_at_once_do_not_append_to_one_another() -> None:
    for number in range(20):
        start = Barrier(4)

        def write(partition: str, table: str = f"t{number}", start: Barrier = start) -> None:
            start.wait()
            tables.replace(RAW.of("m", table).at(partition), pa.table({"x": [1, 2]}))

        with ThreadPoolExecutor(4) as pool:
            for written in [
                pool.submit(write, day) for day in ("2026-01-01", "2026-01-01", "2026-01-02", "2026-01-03")
            ]:
                written.result()
        whole = tables.read(RAW.of("m", f"t{number}"))
        assert whole is not None
        days = sorted(whole["partition"].to_pylist())
        assert days == sorted(2 * ["2026-01-01", "2026-01-02", "2026-01-03"]), f"table {number}"
