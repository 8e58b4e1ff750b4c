"""Databases in memory that a process keeps: the next use finds one that is open, and nothing in it."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from evergreen.spec import lent as kept
from evergreen.spec.lent import lent, lent_to_query

OPTIONS = {"threads": 1, "enable_external_access": False}
ROOM = 60_000_000


@pytest.fixture(autouse=True)
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """What is opened from now on; nothing is kept yet."""
    monkeypatch.setattr(kept, "_kept", [])
    made: list[object] = []
    connect = duckdb.connect
    monkeypatch.setattr(duckdb, "connect", lambda **given: made.append(given) or connect(**given))
    yield made
    kept._kept.clear()


def test_the_next_use_finds_the_same_database_with_nothing_in_it(opened: list[object]) -> None:
    for _ in range(3):
        with lent(OPTIONS) as connection:
            assert connection.sql("show tables").fetchall() == []
            connection.register("cells", pa.table({"a": [1]}))
            connection.execute("create temp table values_of as select * from cells")
            assert len(connection.sql("show tables").fetchall()) == 2
    assert len(opened) == 1


def test_other_options_have_a_database_of_their_own_and_so_has_whoever_works_beside(opened: list[object]) -> None:
    with lent(OPTIONS) as one, lent(OPTIONS) as other:
        one.execute("create table of_one as select 1")  # not even a table of the database itself
        assert other.sql("show tables").fetchall() == []
    with lent(OPTIONS | {"threads": 2}):
        pass
    assert len(opened) == 3


def test_after_an_error_it_is_not_used_again(opened: list[object]) -> None:
    with pytest.raises(duckdb.Error), lent(OPTIONS) as connection:
        connection.execute("select no_such_column")
    with lent(OPTIONS):
        pass
    assert len(opened) == 2


def test_no_more_than_a_few_are_kept(opened: list[object]) -> None:
    for memory in range(ROOM, ROOM + 9):
        with lent_to_query(memory):
            pass
    assert len(opened) == 9 and len(kept._kept) == kept._KEPT


def test_what_a_query_has_no_room_for_is_put_aside_each_time_and_is_gone_after_it(
    opened: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for _ in range(3):
        with lent_to_query(ROOM) as connection:
            columns = "range, md5(range::varchar) as text, md5(text) as other"
            connection.execute(f"create temp table wide as select {columns} from range(1500000)")
            aside = sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file())
            assert aside > 5_000_000, "nothing had to be put aside: the test tries nothing"
        assert not list(tmp_path.iterdir())
    assert len(opened) == 1


def test_a_forked_process_opens_its_own_and_ends() -> None:
    code = """
import os
from evergreen.spec.lent import lent
for _ in range(2):
    with lent({"threads": 1}) as connection:
        assert connection.sql("select 42").fetchall() == [(42,)]
    child = os.fork()  # which ends as Python does: everything that it was given is closed
    if child:
        assert os.waitpid(child, 0)[1] == 0
        break
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_threads_do_not_share_one() -> None:
    both, found = threading.Barrier(2), []

    def look() -> None:
        with lent(OPTIONS) as connection:
            connection.execute("create table mine as select 1")
            both.wait(30)
            found.append(connection.sql("show tables").fetchall())

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == [[("mine",)], [("mine",)]]
