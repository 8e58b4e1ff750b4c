"""The rows of a query from any other database, by the SQLAlchemy dialect that the user has installed for it.

What a session may do, each kind of database says in its own words: of SQLite's they are known here. To others, the
login of the connection sets the bounds (docs/sources.md), and nothing of the session is ever committed.
"""

from __future__ import annotations

import json
import math
import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from urllib.parse import quote, unquote
from uuid import UUID

import pyarrow as pa
import sqlalchemy
from sqlalchemy import exc
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.pool import NullPool

from evergreen.answers import silence
from evergreen.connections import Connection
from evergreen.errors import ConnectionUnknown
from evergreen.ingest.fetched import as_columns, ending
from evergreen.ingest.origin import Origin
from evergreen.ingest.query import MINUTES, ROWS, Query, unknown, unreadable
from evergreen.spec import source_query
from evergreen.sql import quoted

_EXACT = 2**53  # to which a double tells whole numbers apart
_BUSY = re.compile(r"database (table )?is locked")  # SQLite's word for: later


def rows(connection: Connection, query: Query) -> pa.Table:
    """What a query returns, in its order; see `ingest.database`."""
    for mistake in source_query.writes(query.statement):  # to a database that cannot be asked whether it only reads
        raise query.origin.unreadable(mistake.found, mistake.allowed, declare="", by=mistake.fix)
    engine = _engine(connection, query.origin)
    try:
        session = engine.connect()
    except exc.DBAPIError as error:
        raise silence(query.origin.reading, connection.words(str(error.orig)), connection.remote) from None
    # The cause of what is raised from here on would repeat the query's parameters, and maybe the address.
    try:
        with closing(session):
            return _fetched(session, query)
    except exc.DBAPIError as error:
        raise _told(error, connection, query) from None
    except exc.SQLAlchemyError as error:
        raise query.refused(connection.words(str(error))) from None


def identifiers(connection: Connection, origin: Origin) -> Callable[[str], str]:
    """How a database writes a name in SQL, also one that has an adapter of its own."""
    match connection.kind:
        case "postgres" | "postgresql":
            dialect: Callable[..., sqlalchemy.Dialect] = postgresql.dialect
        case "mysql" | "mariadb":
            dialect = mysql.dialect
        case "duckdb":  # no dialect of it is installed; whatever the case, quoted names are the same ones there
            return quoted
        case _:
            dialect = type(_engine(connection, origin).dialect)
    # By drivers whose parameters begin with one, a per cent sign would be doubled.
    written: Callable[[str], str] = dialect(paramstyle="named").identifier_preparer.quote
    return written


def _fetched(session: sqlalchemy.Connection, query: Query) -> pa.Table:
    # Not by the names of ours: SQLAlchemy would take a text of the query that looks like one of its parameters for it.
    bounds: dict[str, Any] = {f"evergreen_{name}": each for name, each in query.locals().items()}
    in_time: AbstractContextManager[None] = nullcontext()
    if session.dialect.name == "sqlite":
        bounds = {name: str(each) for name, each in bounds.items()}  # it has no times, and compares texts
        in_time = ending(_driver(session).interrupt, MINUTES)
    # A colon that names no parameter of ours is none of SQLAlchemy's.
    text = sqlalchemy.text(query.written(lambda name: f":evergreen_{name}", lambda plain: plain.replace(":", "\\:")))
    with in_time:
        result = session.execution_options(stream_results=True, max_row_buffer=ROWS).execute(text, bounds)
        if not result.returns_rows:
            raise query.no_rows()
        names = list(result.keys())
        return as_columns(names, _blocks(result, names, query), query.origin)


def _driver(session: sqlalchemy.Connection) -> Any:
    return session.connection.driver_connection


def _blocks(result: sqlalchemy.CursorResult, names: Sequence[str], query: Query) -> Iterator[list[list[str | None]]]:
    for block in result.partitions(ROWS):
        yield [[_cell(value, name, query) for value, name in zip(row, names, strict=True)] for row in block]


def _cell(value: Any, name: str, query: Query) -> str | None:
    """A value of Python as the text of a cell."""
    match value:
        case None | str():
            return value
        case bool():
            return "true" if value else "false"
        case float() if math.isfinite(value) and value.is_integer() and abs(value) < _EXACT:
            return str(int(value))
        case int() | float() | UUID():
            return str(value)
        case Decimal():
            return format(value, "f")
        case datetime():
            if value.tzinfo is not None and name == query.event_time and query.zone != "UTC":
                raise query.zone_of_moments(name)
            return value.isoformat(" ")
        case date() | time():
            return value.isoformat()
        case dict() | list():  # of a column of JSON
            return json.dumps(value, ensure_ascii=False)
    raise query.untakeable(name, type(value).__name__, f"CAST({name} AS VARCHAR(100))")


def _told(error: exc.DBAPIError, connection: Connection, query: Query) -> Exception:
    """What the database or its driver says, as our errors."""
    words = connection.words(str(error.orig))
    if isinstance(error.orig, sqlite3.Error):
        if "interrupted" in words:
            return query.too_long(words)
        later = _BUSY.search(words) is not None
    else:
        later = error.connection_invalidated or isinstance(error, exc.OperationalError | exc.InterfaceError)
    return silence(query.origin.reading, words, connection.remote) if later else query.refused(words)


def _engine(connection: Connection, origin: Origin) -> sqlalchemy.Engine:
    """What makes the session; nothing is connected yet."""
    scheme = str(connection.extra.get("sqlalchemy_scheme") or connection.uri.scheme)
    if connection.kind == "sqlite":
        # A file that is not there would be made, and no query may write.
        address = f"file:{quote(connection.database)}?mode=ro"
        return sqlalchemy.create_engine(
            "sqlite://", poolclass=NullPool, creator=lambda: sqlite3.connect(address, uri=True, timeout=60)
        )
    try:
        extra = {name: str(value) for name, value in connection.extra.items() if name != "sqlalchemy_scheme"}
        url = sqlalchemy.URL.create(
            scheme,
            unquote(connection.uri.username) if connection.uri.username else None,
            connection.password or None,
            unquote(connection.uri.hostname) if connection.uri.hostname else None,
            connection.uri.port,
            unquote(connection.uri.path[1:]) or None,
            extra,
        )
    except (ValueError, TypeError):
        raise unreadable(connection.name, origin) from None  # the cause may show a password
    try:
        return sqlalchemy.create_engine(url, poolclass=NullPool, hide_parameters=True)
    except (exc.NoSuchModuleError, ImportError) as error:
        raise _not_installed(connection, origin, scheme, error) from None
    except exc.ArgumentError:
        raise unreadable(connection.name, origin) from None


def _not_installed(connection: Connection, origin: Origin, scheme: str, error: Exception) -> ConnectionUnknown:
    lacks = (
        f"whose driver is not installed: {error}" if isinstance(error, ImportError) else "for which no dialect is there"
    )
    return unknown(
        connection.name,
        origin,
        f"a connection {connection.name} of type {scheme}, {lacks}",
        (
            "install the package that brings SQLAlchemy's dialect of this database and its driver, where tasks run "
            "(docs/sources.md names the common ones), or correct the connection; then clear this task"
        ),
    )
