"""The rows of a query from MySQL, or what speaks its protocol (MariaDB, Aurora, TiDB), by PyMySQL, which is all Python.

Cells are taken as the server writes them: a zero date (`0000-00-00`), which no client can hold, is then a cell that
cannot be read, and costs its row alone. The session's zone is UTC, so a TIMESTAMP is a moment; a DATETIME has no zone,
and the column's declared one says what it means.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pymysql
from pymysql.constants import FIELD_TYPE
from pymysql.converters import encoders
from pymysql.cursors import SSCursor

from evergreen.answers import login_refused, silence
from evergreen.connections import Connection
from evergreen.ingest.fetched import as_columns
from evergreen.ingest.query import MINUTES, ROWS, Query, unreadable
from evergreen.spec import source_query

Cell = Callable[[str | bytes], str]

_LOGIN = frozenset({1044, 1045, 1130, 1698, 1820, 1862, 3118, 4151})  # unknown, not from here, expired, locked
# Of the server: too many connections, shutting down, network, lock wait, deadlock, killed, no such database (yet);
# of the client: not reached, gone, lost.
_LATER = frozenset(
    {1040, 1049, 1053, 1077, 1079, 1152, 1158, 1159, 1160, 1161, 1203, 1205, 1213, 1226, 1317, 1927}
    | {2002, 2003, 2006, 2013, 2055, 4031}
)
_TOO_LONG = frozenset({1969, 3024})  # MariaDB's and MySQL's word for a query that was ended for its time
_SETTINGS = (
    "set session time_zone = '+00:00', lock_wait_timeout = 60, innodb_lock_wait_timeout = 60, net_write_timeout = 600",
    "set session transaction isolation level repeatable read",
    "set session transaction read only",
)
_CHECKED = ("ssl_verify_cert", "ssl_verify_identity")
_SSL = ("ssl_ca", "ssl_cert", "ssl_key", "ssl_key_password")
# MySQL's own names of how much encryption is asked for; by default the server decides.
_ENCRYPTED: dict[str, dict[str, Any]] = {
    "DISABLED": {"ssl_disabled": True},
    "PREFERRED": {},
    "REQUIRED": {"ssl": {"check_hostname": False, "verify_mode": False}},
    "VERIFY_CA": {"ssl_verify_cert": True},
    "VERIFY_IDENTITY": {"ssl_verify_cert": True, "ssl_verify_identity": True},
}


def rows(connection: Connection, query: Query) -> pa.Table:
    """What a query returns, in its order; see `ingest.database`."""
    parameters = _parameters(connection, query)
    try:
        session = pymysql.connect(**parameters)
    except (pymysql.MySQLError, OSError) as error:
        code, words = _told(error, connection)
        if code in _LOGIN:
            raise login_refused(query.origin.reading, words, connection.remote) from error
        raise silence(query.origin.reading, words, connection.remote) from error
    try:
        return _fetched(session, query, connection)
    except BaseException:
        # PyMySQL reads what is left of a result before it lets go of it, be it a billion rows.
        if session._result is not None:
            session._result.unbuffered_active = False
        raise
    finally:
        session._force_close()


def _fetched(session: pymysql.Connection, query: Query, connection: Connection) -> pa.Table:
    statement = query.written(lambda name: f"'{query.locals()[name]}'", opaque=source_query.MYSQL)
    try:
        with session.cursor() as cursor:
            for setting in (*_SETTINGS, _time_limit(session)):
                cursor.execute(setting)
            cursor.execute("start transaction with consistent snapshot, read only")
            # What can be a part of a SELECT is a query, and only one. The line break ends a comment in its last line.
            cursor.execute("prepare evergreen from %s", [f"select exists ({statement}\n)"])
        rows = session.cursor(SSCursor)
        rows.execute(statement)
        if rows.description is None:
            raise query.no_rows()
        names, kinds = [each[0] for each in rows.description], [each[1] for each in rows.description]
        if query.zone != "UTC" and (query.event_time, FIELD_TYPE.TIMESTAMP) in zip(names, kinds, strict=True):
            raise query.zone_of_moments(str(query.event_time))
        cells = [_cell(name, kind, query) for name, kind in zip(names, kinds, strict=True)]
        return as_columns(names, _blocks(rows, cells), query.origin)
    except pymysql.MySQLError as error:
        code, words = _told(error, connection)
        if code in _TOO_LONG:
            raise query.too_long(words) from error
        if code in _LATER:
            raise silence(query.origin.reading, words, connection.remote) from error
        raise query.refused(words) from error


def _time_limit(session: pymysql.Connection) -> str:
    if "mariadb" in str(session.get_server_info()).lower():
        return f"set session max_statement_time = {MINUTES * 60}"
    return f"set session max_execution_time = {MINUTES * 60_000}"


def _blocks(rows: SSCursor, cells: Sequence[Cell]) -> Iterator[list[tuple[str | None, ...]]]:
    while block := rows.fetchmany(ROWS):
        yield [tuple(map(_called, cells, row)) for row in block]


def _called(cell: Cell, value: str | bytes | None) -> str | None:
    return None if value is None else cell(value)


def _cell(name: str, kind: int, query: Query) -> Cell:
    """What makes the cell of a value that is not null."""

    def of(value: str | bytes) -> str:
        if isinstance(value, str):
            return f"{value}+00:00" if kind == FIELD_TYPE.TIMESTAMP else value
        if kind == FIELD_TYPE.BIT:
            return str(int.from_bytes(value, "big"))
        of_type = "GEOMETRY" if kind == FIELD_TYPE.GEOMETRY else "BINARY or BLOB"
        raise query.untakeable(name, of_type, f"HEX({name}), or CAST({name} AS CHAR) if it holds text")

    return of


def _told(error: Exception, connection: Connection) -> tuple[int | None, str]:
    """The number of an error, where it has one, and its words."""
    match error.args:
        case (int(code), str(words), *_):
            return code, connection.words(f"{words} ({code})")
        case _:
            return None, connection.words(str(error) or type(error).__name__)


def _parameters(connection: Connection, query: Query) -> dict[str, Any]:
    """What PyMySQL is told. Of the extras of an Airflow connection, those that say how it is reached and encrypted."""
    uri, extra = connection.uri, {name.lower().replace("-", "_"): value for name, value in connection.extra.items()}
    try:
        ssl = extra.get("ssl") or {}
        ssl = json.loads(ssl) if isinstance(ssl, str) else ssl
        files = {name: str(extra[name]) for name in _SSL if name in extra}
        files |= {f"ssl_{name}": str(value) for name, value in dict(ssl).items() if f"ssl_{name}" in _SSL}
        flags = {name: str(extra.get(name)).lower() in ("true", "1") for name in _CHECKED if name in extra}
        port = connection.uri.port or 3306  # raises ValueError of what is none, a password with a slash in it as a rule
        encrypted = _ENCRYPTED[str(extra.get("ssl_mode", "PREFERRED")).upper()]
    except (KeyError, ValueError, TypeError):
        raise unreadable(connection.name, query.origin) from None  # the cause may show a password
    return {
        "host": unquote(uri.hostname or "localhost"),
        "port": port,
        "user": unquote(uri.username or ""),
        "password": connection.password.encode(),  # a text would be sent as Latin-1
        "database": unquote(uri.path[1:]) or None,
        "unix_socket": extra.get("unix_socket"),
        "charset": "utf8mb4",
        "conv": encoders,  # and no decoders: cells as the server writes them
        "connect_timeout": 10,
        "read_timeout": (MINUTES + 1) * 60,
        "local_infile": False,
        **files,
        **encrypted,
        **flags,
    }
