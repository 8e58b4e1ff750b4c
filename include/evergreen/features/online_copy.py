"""The online store's tables in a process's memory: requests are answered from them without a round trip, and also while
the store itself does not answer.

A thread copies each table whole, and again when its writer tells that it was changed (`online_tables.tell`, in the
writer's own transaction). Every moment it asks the store something: what was told before has been heard by the answer.
While such an answer is at most `FRESH` seconds old, and a table was copied since it was last told of, the copy is as
good as the store `FRESH` seconds ago, mostly some milliseconds. Otherwise the store is read, as long as it answers.

Beside that Postgres' counters of changes are looked at, up to ten seconds late: by them it notices a writer that tells
nothing. Tables that do not fit are not copied.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg import sql
from psycopg_pool import PoolTimeout

from evergreen.features import online_address, online_rows, online_tables
from evergreen.features.online_rows import Row
from evergreen.features.packed import MARK
from evergreen.settings import settings

log = logging.getLogger(__name__)

FRESH = 2.0  # seconds that the copy may be behind the store which answers
_EVERY = 0.25  # seconds between two looks at what was changed
_PAUSE = 10  # times as long as a copy took, until the table is copied again: one that is always written is read instead
_PATIENCE = 0.5  # seconds that a request waits for a store that may be away, where there is a copy
_OF_A_ROW = 300  # bytes beside its key and its features

Mark = tuple[int, ...]  # changes when a table does
_CHANGES = """
select name, coalesce(pg_relation_filenode(o), 0), coalesce(pg_stat_get_tuples_inserted(o), 0),
    coalesce(pg_stat_get_tuples_updated(o), 0), coalesce(pg_stat_get_tuples_deleted(o), 0)
from (select name, to_regclass(name) as o from unnest(%s::text[]) as name) as tables where o is not null
"""


@dataclass(frozen=True)
class _Copy:
    mark: Mark
    told: int  # how often it had been told of when the copying began
    rows: Mapping[bytes, tuple[datetime, bytes]] | None  # None: it does not fit
    size: int = 0  # bytes
    due: float = 0.0  # by the monotonic clock: it is not copied again before


class OnlineCopy:
    """Copies of tables; thread-safe.

    Args:
        most: bytes of all of them; 0: nothing is copied.
        tables: Feast's names of the views that are asked for by now.
        away: whether the store is known not to answer.
    """

    def __init__(self, most: int, tables: Callable[[], Iterable[str]], away: Callable[[], bool]) -> None:
        self._most, self._tables, self._away = most, tables, away
        self._copies: dict[str, _Copy] = {}
        self._told: Counter[str] = Counter()  # view → how often its writers have told that it was changed
        self._heard = -math.inf  # by the monotonic clock: what was told before has been heard
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="copy of the online store", daemon=True)

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return sum(copy.size for copy in self._copies.values())

    def start(self) -> None:
        """Copy, and follow what is changed."""
        if self._most:
            self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stopped.set()

    def has(self, tables: Iterable[str]) -> bool:
        """Whether all of these tables are copied."""
        copies = self._copies
        return all(table in copies and copies[table].rows is not None for table in tables)

    def fresh(self, tables: Iterable[str]) -> bool:
        """Whether the copies of all of these tables are as the store was at most `FRESH` seconds ago."""
        copies, told = self._copies, self._told
        return time.monotonic() - self._heard < FRESH and all(
            (copy := copies.get(table)) is not None and copy.rows is not None and copy.told == told[table]
            for table in tables
        )

    def rows(self, tables: Sequence[str], keys: Sequence[Sequence[bytes | None]]) -> list[Row]:
        """As `online_rows.rows`; of the copies while they are fresh, and while the store does not answer.

        Raises:
            psycopg.Error, PoolTimeout: the store does not answer and is not copied, or has no such table.
        """
        if not self.has(tables):
            return online_rows.rows(tables, keys)
        if not self.fresh(tables) and not self._away():
            try:
                return online_rows.rows(tables, keys, _PATIENCE)
            except (psycopg.OperationalError, PoolTimeout) as error:
                log.debug("the copies answer: %s", error)
        return self.held(tables, keys)

    def held(self, tables: Sequence[str], keys: Sequence[Sequence[bytes | None]]) -> list[Row]:
        """The rows that the copies of tables have, all of which are copied."""
        return [
            (number, key, *row)
            for number, (table, wanted) in enumerate(zip(tables, keys, strict=True))
            for key in wanted
            if key is not None and (row := (self._copies[table].rows or {}).get(key)) is not None
        ]

    def packed(self, tables: Sequence[str], keys: Sequence[Sequence[bytes | None]]) -> list[Row]:
        """The same, where our own way has written them: Feast's takes seconds to read the first one.

        Raises:
            ValueError: it has not.
        """
        rows = self.held(tables, keys)
        if any(features[:1] != MARK for *_, features in rows):
            raise ValueError("a row in Feast's own form")
        return rows

    def _follow(self) -> None:
        while not self._stopped.is_set():
            try:
                repository = settings().project / "feature_repo"
                store = online_address.of(repository, settings().database_url("feast"))
                with psycopg.connect(
                    store.address,
                    autocommit=True,
                    connect_timeout=5,
                    tcp_user_timeout=5_000,
                    keepalives_idle=5,
                    keepalives_interval=5,
                    keepalives_count=2,
                    options="-c statement_timeout=60s",
                ) as connection:
                    connection.execute(f"listen {online_tables.CHANGED}")
                    self._told.update([*self._copies])  # whatever was told meanwhile nobody heard
                    while not self._stopped.is_set():
                        self._look(connection, store.project)
                        self._hear(connection, _EVERY)
            except psycopg.OperationalError as error:
                log.debug("the online store cannot be copied: %s", error)
            except Exception:  # whatever it is, the following goes on
                log.exception("copying the online store")
            self._stopped.wait(_EVERY)

    def _hear(self, connection: psycopg.Connection, patience: float) -> None:
        """What writers told since the last time, also while something else was asked; waits for it so many seconds."""
        for told in connection.notifies(timeout=patience, stop_after=1):
            self._told[told.payload] += 1

    def _look(self, connection: psycopg.Connection, project: str) -> None:
        """Copy what was changed, and forget what nobody asks for."""
        wanted = {view: online_tables.of(project, view) for view in self._tables()}
        named, began = {table.as_string(connection): view for view, table in wanted.items()}, time.monotonic()
        marks = {
            named[name]: tuple(map(int, mark)) for name, *mark in connection.execute(_CHANGES, [[*named]]).fetchall()
        }
        self._hear(connection, 0)
        self._heard = began
        self._copies = {view: copy for view, copy in self._copies.items() if view in marks}
        for view, mark in marks.items():
            known, told, now = self._copies.get(view), self._told[view], time.monotonic()
            if known is None or ((known.mark, known.told) != (mark, told) and now >= known.due):
                others = self.size - (known.size if known is not None else 0)
                try:
                    rows, size = self._copied(connection, wanted[view], self._most - others)
                except psycopg.errors.Error as error:
                    if connection.broken:
                        raise
                    log.warning("%s is not copied: %s", view, str(error).strip())
                    rows, size = None, 0
                copy = _Copy(mark, told, rows, size, now + (1 + _PAUSE) * (time.monotonic() - now))
                if copy.rows is None and (known is None or known.rows is not None):
                    log.warning("%s is not copied: it does not fit into %d bytes", view, self._most)
                self._copies = {**self._copies, view: copy}

    @staticmethod
    def _copied(
        connection: psycopg.Connection, table: sql.Identifier, room: int
    ) -> tuple[Mapping[bytes, tuple[datetime, bytes]] | None, int]:
        """The rows of a table, and their size in bytes; none, where they do not fit."""
        rows: dict[bytes, tuple[datetime, bytes]] = {}
        size = 0
        statement = sql.SQL("copy (select entity_key, event_ts, features from {}) to stdout (format binary)")
        with connection.cursor() as cursor, cursor.copy(statement.format(table)) as copied:
            copied.set_types(["bytea", "timestamptz", "bytea"])
            for key, at, packed in copied.rows():
                size += len(key) + len(packed) + _OF_A_ROW
                if size > room:
                    return None, 0
                rows[key] = (at, packed)
        return rows, size
