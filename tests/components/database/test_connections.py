"""A process keeps its connections for their next use, and never one that is not as good as new."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator

import psycopg
import pytest

from evergreen import database
from evergreen.database import connections
from evergreen.settings import Settings


@pytest.fixture(autouse=True)
def none_kept(home: Settings) -> Iterator[None]:
    connections._end()
    connections._kept.clear()
    yield


def _session() -> int:
    with database.connect() as connection:
        return connection.info.backend_pid


def test_a_connection_is_opened_once_and_one_more_within_a_lock(home: Settings) -> None:
    first = _session()
    assert {_session() for _ in range(20)} == {first}
    within = set()
    for _ in range(5):
        with database.locked("a"):
            within.add(_session())
    assert len(within | {first}) == 2
    with psycopg.connect(home.database_url("evergreen")) as admin:
        open_now = admin.execute(
            "select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
        ).fetchall()
    assert {pid for (pid,) in open_now} == within | {first}


def test_a_connection_that_the_server_ended_is_replaced(home: Settings) -> None:
    first = _session()
    with psycopg.connect(home.database_url("evergreen"), autocommit=True) as admin:
        admin.execute("select pg_terminate_backend(%s)", [first])
    assert _session() != first


def test_one_that_was_unused_for_long_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    first = _session()
    monkeypatch.setattr(connections, "_FRESH", 0.0)
    assert _session() != first


def test_what_an_error_leaves_is_rolled_back_and_unlocked() -> None:
    with database.connect() as connection:
        connection.execute("create table left_over (id int)")
    failed = 0
    with pytest.raises(ZeroDivisionError), database.locked("a"), database.connect() as connection:
        connection.execute("insert into left_over values (1)")
        failed = connection.info.backend_pid
        raise ZeroDivisionError
    assert database.is_free("a")
    with database.connect() as connection:
        assert connection.info.backend_pid != failed
        assert connection.execute("select * from left_over").fetchall() == []


@pytest.mark.parametrize("autocommit", [True, False])
def test_each_use_commits_as_it_asks_for(autocommit: bool) -> None:
    with database.connect(autocommit=not autocommit) as connection:
        connection.execute("create table if not exists counted (id int)")
    with database.connect(autocommit=autocommit) as connection:
        connection.execute("insert into counted values (1)")
        with database.connect() as other:
            seen = other.execute("select count(*) from counted").fetchone()
        assert seen == (int(autocommit),)


def _report(answer: multiprocessing.SimpleQueue[int]) -> None:
    answer.put(_session())


def test_a_forked_process_has_connections_of_its_own() -> None:
    first = _session()
    context = multiprocessing.get_context("fork")
    answer = context.SimpleQueue()
    child = context.Process(target=_report, args=(answer,))
    child.start()
    theirs = answer.get()
    child.join(30)
    assert child.exitcode == 0
    assert theirs != first
    assert _session() == first, "the child ended its parent's connection"
