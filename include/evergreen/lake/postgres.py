"""Evergreen's own database: what must be exact, small and shared stands there (catalogue, predictions, audit trail)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import psycopg

from evergreen.answers import Remote, of_postgres
from evergreen.settings import settings


@contextmanager
def connect(name: str = "evergreen") -> Iterator[psycopg.Connection]:
    """A connection to one of Evergreen's databases; commits at the end of the block, rolls back on an error.

    Raises:
        ServiceUnavailable: the server does not answer, or goes away during the block.
        RequestRefused: it does not know our login, or does not let it into this database.
    """
    url = settings().database_url(name)
    try:
        with psycopg.connect(url, connect_timeout=10) as connection:
            yield connection
    except psycopg.OperationalError as error:
        raise of_postgres(f"talking to the database {settings().database_prefix}{name}", error, remote(name)) from error


def remote(name: str) -> Remote:
    """One of Evergreen's databases, as errors speak of it."""
    here = settings()
    setting = here.database_setting(name)
    return Remote(f"the database at {here.database_url(name).rpartition('@')[2]}", f"the login in {setting}", setting)


def ensure_table(ddl: str) -> None:
    """Run `create table if not exists …` in Evergreen's database, once a process."""
    _ensure(settings().database_url("evergreen"), ddl)


@cache
def _ensure(url: str, ddl: str) -> None:
    with connect() as connection:
        # `if not exists` alone fails when two processes create the same table at the same time.
        connection.execute("select pg_advisory_xact_lock(hashtext('evergreen tables'))")
        connection.execute(ddl.encode())
