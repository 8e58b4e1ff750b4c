"""Advisory locks by key."""

from __future__ import annotations

import threading

import psycopg
import pytest

from evergreen import database
from evergreen.errors import ServiceUnavailable
from evergreen.settings import Settings


def test_one_is_inside_for_each_key_and_database(home: Settings) -> None:
    with database.locked("a"):
        assert not database.is_free("a")
        assert database.is_free("b") and database.is_free("a", "optuna")
        with database.locked_at_once("a") as mine:
            assert not mine
    assert database.is_free("a")
    with database.locked_at_once("a") as mine:
        assert mine and not database.is_free("a")
    with pytest.raises(RuntimeError), database.locked("a"):
        raise RuntimeError
    assert database.is_free("a"), "after an error too"


def test_others_wait(home: Settings) -> None:
    order: list[str] = []
    inside = threading.Event()

    def second() -> None:
        inside.wait()
        with database.locked("a"):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with database.locked("a"):
        inside.set()
        thread.join(0.3)
        order.append("first")
    thread.join(30)
    assert order == ["first", "second"]


def test_a_lock_that_was_lost_is_told(home: Settings) -> None:
    """Whoever lost its connection may not have been alone; what it did is tried again."""
    with (
        psycopg.connect(home.database_url("evergreen"), autocommit=True) as admin,
        pytest.raises(ServiceUnavailable),
        database.locked("a"),
    ):
        admin.execute(
            "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and pid <> pg_backend_pid()"
            " and database = (select oid from pg_database where datname = current_database())"
        )
