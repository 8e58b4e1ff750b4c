"""Connections to Evergreen's databases, and advisory locks by key.

A process keeps the connections that it opened for its next uses: two for locks, and one for the work within them.
Opening one takes Postgres and us some milliseconds of CPU, and a stage asks for dozens.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import psycopg
from psycopg import Connection
from psycopg.pq import TransactionStatus

from evergreen.answers import Remote, of_postgres
from evergreen.database import migrations
from evergreen.errors import ServiceUnavailable
from evergreen.settings import settings

log = logging.getLogger(__name__)

OWN = "evergreen"  # the database whose tables are all Evergreen's: migrations are for it alone
_KEPT = 3  # connections, of all databases: what goes online holds two locks and tells the catalogue
_FRESH = 30.0  # seconds after which one is used no more: what lies between may have dropped it, and would not say so
_TAKE = "select pg_advisory_lock(hashtextextended(%s, 0))"
_TRY = "select pg_try_advisory_lock(hashtextextended(%s, 0))"
_GIVE_BACK = "select pg_advisory_unlock(hashtextextended(%s, 0))"


@dataclass(frozen=True)
class _Kept:
    address: str
    connection: Connection
    since: float  # by the monotonic clock


_keeping = threading.Lock()
_kept: list[_Kept] = []  # the one that was used last comes last
_parents: list[_Kept] = []  # their end would end the session of the process that we are forked from


@contextmanager
def connect(name: str = OWN, *, autocommit: bool = False) -> Iterator[Connection]:
    """A connection to one of Evergreen's databases; commits at the end of the block, rolls back on an error.

    Raises:
        ServiceUnavailable: the server does not answer, or goes away during the block.
        RequestRefused: it does not know our login, does not let it into this database,
            or not make the tables that are missing.
        StoreNewer: a newer release has written to it.
    """
    with _connected(name, url(name), autocommit) as connection:
        yield connection


@contextmanager
def _connected(name: str, address: str, autocommit: bool) -> Iterator[Connection]:
    try:
        connection = _idle(address)
        if connection is None:
            connection = psycopg.connect(address, connect_timeout=10, prepare_threshold=None)
        connection.autocommit = autocommit
        try:
            yield connection
            if not autocommit:
                connection.commit()
        except BaseException:
            _abandon(connection)
            raise
        _keep(address, connection)
    except psycopg.OperationalError as error:
        raise of_postgres(f"talking to the database {settings().database_prefix}{name}", error, remote(name)) from error


def _abandon(connection: Connection) -> None:
    """Close a connection after an error. Its locks are free when this returns, and not when the server sees its end."""
    try:
        connection.rollback()
        connection.autocommit = True
        connection.execute("select pg_advisory_unlock_all()")
    except psycopg.Error as error:  # the session ended, or is in the middle of a statement
        log.debug("closing a connection as it is: %s", error)
    connection.close()


def _idle(address: str) -> Connection | None:
    """A kept connection that still lives; the server may have ended it, or have been started anew."""
    while (kept := _taken(address)) is not None:
        if time.monotonic() - kept.since < _FRESH:
            try:
                kept.connection.autocommit = True
                kept.connection.execute("")
                return kept.connection
            except psycopg.OperationalError as error:
                log.debug("a kept connection had ended: %s", error)
        kept.connection.close()
    return None


def _taken(address: str) -> _Kept | None:
    with _keeping:
        found = next((kept for kept in reversed(_kept) if kept.address == address), None)
        if found is not None:
            _kept.remove(found)
    return found


def _keep(address: str, connection: Connection) -> None:
    """Keep a connection that is as if new, in place of the one that was used longest ago."""
    if connection.info.transaction_status != TransactionStatus.IDLE:
        connection.close()
        return
    with _keeping:
        _kept.append(_Kept(address, connection, time.monotonic()))
        oldest = _kept.pop(0) if len(_kept) > _KEPT else None
    if oldest is not None:
        oldest.connection.close()


def _end() -> None:
    for kept in _kept:
        kept.connection.close()


def _forked() -> None:
    """A forked process has connections of its own: its parent's are forgotten, and not closed."""
    global _keeping
    _keeping = threading.Lock()
    _parents.extend(_kept)
    _kept.clear()


os.register_at_fork(after_in_child=_forked)
atexit.register(_end)


def url(name: str = OWN) -> str:
    """The URL of one of Evergreen's databases, for a connection with options of its own; raises as `connect` does.

    A process looks at the tables of `evergreen` once, at its first use.
    """
    address = settings().database_url(name)
    if name == OWN:
        _look(address)
    return address


@cache  # of what raised nothing
def _look(address: str) -> None:
    with _connected(OWN, address, True) as connection:
        migrations.bring_up(connection)


def migrate() -> list[str]:
    """Give the database `evergreen` the tables of this release; harmless when it has them.

    Every process does so at its first use. Run it before, with a login that may make tables, where the others' may not.

    Returns:
        The migrations that it took, by name and in order; raises as `connect` does.
    """
    with _connected(OWN, settings().database_url(OWN), True) as connection:
        return [migration.name for migration in migrations.bring_up(connection)]


def remote(name: str) -> Remote:
    """One of Evergreen's databases, as errors speak of it."""
    here = settings()
    setting = here.database_setting(name)
    return Remote(f"the database at {here.database_url(name).rpartition('@')[2]}", f"the login in {setting}", setting)


@contextmanager
def locked(key: str, database: str = OWN) -> Iterator[None]:
    """Only one process at a time is inside, for each key and database; others wait. A killed
    process's lock goes with its connection.

    No transaction is open meanwhile: one of minutes would hold back the database's clean-up, and servers end idle ones.

    Raises:
        ServiceUnavailable: the server does not answer, or the lock was lost with its connection during the block.
    """
    with connect(database, autocommit=True) as connection:
        connection.execute(_TAKE, [key])
        yield
        _give_back(connection, key)


@contextmanager
def locked_at_once(key: str, database: str = OWN) -> Iterator[bool]:
    """As `locked`, without waiting: whether nobody else is inside."""
    with connect(database, autocommit=True) as connection:
        mine = _is_true(connection, _TRY, key)
        yield mine
        if mine:
            _give_back(connection, key)


def is_free(key: str, database: str = OWN) -> bool:
    """Whether nobody is inside a lock at this moment."""
    with locked_at_once(key, database) as mine:
        return mine


def _give_back(connection: Connection, key: str) -> None:
    if not _is_true(connection, _GIVE_BACK, key):
        raise ServiceUnavailable(
            f"giving back the lock {key}",
            found="the database had taken it away",
            expected="a lock that is kept while a connection lives",
            next_step="reach Postgres itself: a pooler that gives each statement another session has no locks; "
            "a task is retried by itself",
        )


def _is_true(connection: Connection, query: str, key: str) -> bool:
    row = connection.execute(query, [key]).fetchone()
    return row is not None and bool(row[0])
