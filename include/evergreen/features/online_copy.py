"""The online store's tables in a process's memory, for while the store itself does not answer.

The store is read as long as it answers, so that nobody sees older features than were written. A thread copies each
table whole, again whenever it was changed. So what is answered without the store is what stood in it up to ten seconds
before it fell silent: Postgres counts a writer's changes that late. Tables that do not fit are not copied.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg import sql
from psycopg_pool import PoolTimeout

from evergreen.features import online_address, online_rows, online_tables
from evergreen.features.online_rows import Row
from evergreen.settings import settings

log = logging.getLogger(__name__)

_EVERY = 1.0  # seconds between two looks at what was changed
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
    rows: Mapping[bytes, tuple[datetime, bytes]] | None  # None: it does not fit
    size: int = 0  # bytes


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

    def rows(self, tables: Sequence[str], keys: Sequence[Sequence[bytes | None]]) -> list[Row]:
        """As `online_rows.rows`; of the copies while the store does not answer.

        Raises:
            psycopg.Error, PoolTimeout: the store does not answer and is not copied, or has no such table.
        """
        if not self.has(tables):
            return online_rows.rows(tables, keys)
        if not self._away():
            try:
                return online_rows.rows(tables, keys, _PATIENCE)
            except (psycopg.OperationalError, PoolTimeout) as error:
                log.debug("the copies answer: %s", error)
        return [
            (number, key, *row)
            for number, (table, wanted) in enumerate(zip(tables, keys, strict=True))
            for key in wanted
            if key is not None and (row := (self._copies[table].rows or {}).get(key)) is not None
        ]

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
                    while not self._stopped.wait(_EVERY if self._copies else 0):
                        self._look(connection, store.project)
                        if not self._copies:
                            self._stopped.wait(_EVERY)  # no model serves yet
            except psycopg.OperationalError as error:
                log.debug("the online store cannot be copied: %s", error)
            except Exception:  # whatever it is, the following goes on
                log.exception("copying the online store")
            self._stopped.wait(_EVERY)

    def _look(self, connection: psycopg.Connection, project: str) -> None:
        """Copy what was changed, and forget what nobody asks for."""
        wanted = {view: online_tables.of(project, view) for view in self._tables()}
        named = {table.as_string(connection): view for view, table in wanted.items()}
        marks = {
            named[name]: tuple(map(int, mark)) for name, *mark in connection.execute(_CHANGES, [[*named]]).fetchall()
        }
        self._copies = {view: copy for view, copy in self._copies.items() if view in marks}
        for view, mark in marks.items():
            known = self._copies.get(view)
            if known is None or known.mark != mark:
                others = self.size - (known.size if known is not None else 0)
                try:
                    copy = self._copied(connection, wanted[view], mark, self._most - others)
                except psycopg.errors.Error as error:
                    if connection.broken:
                        raise
                    log.warning("%s is not copied: %s", view, str(error).strip())
                    copy = _Copy(mark, None)
                if copy.rows is None and (known is None or known.rows is not None):
                    log.warning("%s is not copied: it does not fit into %d bytes", view, self._most)
                self._copies = {**self._copies, view: copy}

    @staticmethod
    def _copied(connection: psycopg.Connection, table: sql.Identifier, mark: Mark, room: int) -> _Copy:
        rows: dict[bytes, tuple[datetime, bytes]] = {}
        size = 0
        statement = sql.SQL("copy (select entity_key, event_ts, features from {}) to stdout (format binary)")
        with connection.cursor() as cursor, cursor.copy(statement.format(table)) as copied:
            copied.set_types(["bytea", "timestamptz", "bytea"])
            for key, at, packed in copied.rows():
                size += len(key) + len(packed) + _OF_A_ROW
                if size > room:
                    break
                rows[key] = (at, packed)
        return _Copy(mark, None) if size > room else _Copy(mark, rows, size)
