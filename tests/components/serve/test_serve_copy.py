"""The copy of the online store in a server's memory: it answers while it is as new as the store, and only then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from evergreen.features import online_copy, online_rows
from evergreen.features.online_copy import OnlineCopy
from evergreen.features.online_rows import Features
from evergreen.settings import settings

from .cable import Cable
from .conftest import CUSTOMERS, ServedModel, customer, put_online, until

ASKED = [{"customer_id": customer(number)} for number in range(CUSTOMERS)]


@contextmanager
def following(tables: list[str], most: int = 10_000_000, *, away: bool = False) -> Iterator[OnlineCopy]:
    """A copy that follows during the block."""
    copy = OnlineCopy(most, lambda: tables, lambda: away)
    copy.start()
    try:
        yield copy
    finally:
        copy.stop()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Grows with each read of the store."""
    seen: list[Any] = []
    read = online_rows.rows

    def counted(*asked: Any) -> list[online_rows.Row]:
        seen.append(asked)
        return read(*asked)

    monkeypatch.setattr(online_rows, "rows", counted)
    return seen


def test_a_fresh_copy_answers_without_the_store_and_hears_of_each_write(
    alone: ServedModel, reads: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        online_copy, "_CHANGES", online_copy._CHANGES.replace("coalesce(pg_stat", "0 * coalesce(pg_stat")
    )
    monkeypatch.setattr(online_copy, "FRESH", 60.0)  # nothing but a notification makes it read the store
    tables = Features(alone.spec).tables
    with following(tables) as copy:
        reader = Features(alone.spec, copy.rows)
        until(lambda: copy.fresh(tables), "it is copied")
        first = reader.read(ASKED)
        assert not reads, "nobody asked the store"
        assert reader.read([{"customer_id": "nobody"}])[0]["features_at"] is None
        assert first == Features(alone.spec).read(ASKED)
        put_online(alone.spec, 3, [customer(number) for number in range(CUSTOMERS)][::-1])
        now = Features(alone.spec).read(ASKED)
        assert now != first

        def followed() -> bool:
            reads.clear()
            return reader.read(ASKED) == now and not reads

        until(followed, "what was written is in the copy", 20)


def test_a_copy_that_hears_nothing_is_fresh_for_a_moment_only(
    alone: ServedModel, reads: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    cable = Cable(alone.settings.database_url("feast"))
    tables = Features(alone.spec).tables
    with following(tables) as copy:
        until(lambda: copy.fresh(tables), "it is copied")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVERGREEN_DATABASE_FEAST", cable.url)
        settings.cache_clear()
        with following(tables) as copy:
            until(lambda: copy.fresh(tables), "it is copied")
            cable.cut()
            until(lambda: not copy.fresh(tables), "it is not fresh", 4 * online_copy.FRESH)
            patch.undo()
            settings.cache_clear()
            Features(alone.spec, copy.rows).read(ASKED)
            assert reads, "the store is read"
            put_online(alone.spec, 3, [customer(number) for number in range(CUSTOMERS)][::-1])
            cable.mend()
            patch.setenv("EVERGREEN_DATABASE_FEAST", cable.url)
            settings.cache_clear()
            patch.setattr(online_copy, "FRESH", 60.0)
            now = Features(alone.spec).read(ASKED)

            def followed() -> bool:
                reads.clear()
                return Features(alone.spec, copy.rows).read(ASKED) == now and not reads

            until(followed, "what was told meanwhile is in the copy", 30)
    settings.cache_clear()


def test_a_writer_that_tells_nothing_is_noticed(alone: ServedModel) -> None:
    tables = Features(alone.spec).tables
    with following(tables) as copy:
        reader = Features(alone.spec, copy.rows)
        until(lambda: copy.fresh(tables), "it is copied")
        with psycopg.connect(alone.settings.database_url("feast"), autocommit=True) as connection:
            for (table,) in connection.execute(
                "select tablename from pg_tables where tablename like %s", [f"%{alone.name}%"]
            ).fetchall():
                connection.execute(f'delete from "{table}"')
        until(lambda: all(each["features_at"] is None for each in reader.read(ASKED)), "nobody is known", 20)


def test_a_copy_is_bounded_and_is_as_the_store_was_when_that_fell_silent(
    alone: ServedModel, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = Features(alone.spec).tables
    with following(tables, away=True) as copy:
        until(lambda: copy.has(tables), "it is copied")
        expected = Features(alone.spec).read(ASKED)
        monkeypatch.setattr(copy, "_heard", 0.0)
        assert Features(alone.spec, copy.rows).read(ASKED) == expected
        with following(tables, copy.size - 1, away=True) as tight:
            until(lambda: "is not copied: it does not fit" in caplog.text, "one does not fit")
            assert not tight.has(tables) and tight.size < copy.size, "what does not fit is not copied"
            assert not tight.fresh(tables)
