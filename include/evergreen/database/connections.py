"""Connections to Evergreen's databases, and advisory locks by key."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import psycopg
from psycopg import Connection

from evergreen.answers import Remote, of_postgres
from evergreen.database import migrations
from evergreen.errors import ServiceUnavailable
from evergreen.settings import settings

OWN = "evergreen"  # the database whose tables are all Evergreen's: migrations are for it alone
_TAKE = "select pg_advisory_lock(hashtextextended(%s, 0))"
_TRY = "select pg_try_advisory_lock(hashtextextended(%s, 0))"
_GIVE_BACK = "select pg_advisory_unlock(hashtextextended(%s, 0))"


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
        with psycopg.connect(address, connect_timeout=10, autocommit=autocommit) as connection:
            yield connection
    except psycopg.OperationalError as error:
        raise of_postgres(f"talking to the database {settings().database_prefix}{name}", error, remote(name)) from error


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
