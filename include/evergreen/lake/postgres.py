"""Evergreen's own database: what must be exact, small and shared stands there (catalogue, predictions, audit trail)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import psycopg

from evergreen.errors import ServiceUnavailable
from evergreen.settings import settings


@contextmanager
def connect(name: str = "evergreen") -> Iterator[psycopg.Connection]:
    """A connection to one of Evergreen's databases; commits at the end of the block, rolls back on an error.

    Raises:
        ServiceUnavailable: the server does not answer, or goes away during the block.
    """
    url = settings().database_url(name)
    try:
        with psycopg.connect(url, connect_timeout=10) as connection:
            yield connection
    except psycopg.OperationalError as error:
        raise ServiceUnavailable(
            f"talking to the database {settings().database_prefix}{name}",
            found=str(error).strip(),
            expected=f"an answer from {url.rpartition('@')[2]}",
            next_step="start it (`make up`), or set EVERGREEN_DATABASE; then clear this task",
        ) from error


def ensure_table(ddl: str) -> None:
    """Run `create table if not exists …` in Evergreen's database, once a process."""
    _ensure(settings().database_url("evergreen"), ddl)


@cache
def _ensure(url: str, ddl: str) -> None:
    with connect() as connection:
        # `if not exists` alone fails when two processes create the same table at the same time.
        connection.execute("select pg_advisory_xact_lock(hashtext('evergreen tables'))")
        connection.execute(ddl.encode())
