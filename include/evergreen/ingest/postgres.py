"""The rows of a query from Postgres.

The query is somebody's text, and the connection may allow more than it ought to. So the server itself parses it alone
first, by the extended protocol, which takes one statement; then it runs within a COPY, which takes a query and nothing
else, in a read-only transaction with bounds in time. What that does not stop is in docs/sources.md: functions that act
outside of the transaction.
"""

from __future__ import annotations

import io
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.csv
from psycopg.conninfo import conninfo_to_dict

from evergreen.answers import of_postgres
from evergreen.connections import Connection
from evergreen.ingest import delimited, limits
from evergreen.ingest.origin import Origin
from evergreen.ingest.query import MINUTES, Query, unreadable
from evergreen.sql import literal

_NULL = "\\N"
# Settings of the transaction, so that they also hold behind a connection pool: times are written as ISO 8601.
_SETTINGS = (
    "set local datestyle to 'ISO'; set local intervalstyle to 'iso_8601';"
    f" set local statement_timeout to '{MINUTES}min'; set local lock_timeout to '1min';"
    " set local idle_in_transaction_session_timeout to '5min'"
)
# A database that vanishes without a word is noticed within two minutes, also while it computes.
_WATCHED = {"connect_timeout": 10, "keepalives_idle": 60, "keepalives_interval": 15, "keepalives_count": 4}


def rows(connection: Connection, query: Query) -> pa.Table:
    """What a query returns, in its order; see `ingest.database`. Every cell is fetched as Postgres writes it."""
    parameters, origin = _parameters(connection, query.origin), query.origin
    try:
        with psycopg.connect(**parameters) as session:
            session.read_only = True
            session.execute(f"set local timezone to {literal(query.zone)}; {_SETTINGS}")
            content = _copied(session, query)
    except psycopg.errors.QueryCanceled as error:
        raise query.too_long(str(error).strip()) from error
    except psycopg.OperationalError as error:
        raise of_postgres(origin.reading, error, connection.remote) from error
    except psycopg.Error as error:
        raise query.refused(str(error).strip()) from error
    try:
        return delimited.text_columns(
            content,
            _header(content),
            pa.csv.ParseOptions(newlines_in_values=True),
            null_values=[_NULL],
            quoted_strings_can_be_null=False,
        )
    except pa.ArrowInvalid as error:
        raise origin.unreadable(
            f"a row of more than {limits.ROW >> 20} MiB, or text that is not UTF-8",
            "shorter rows of sound text",
            declare="",
        ) from error


def _copied(session: psycopg.Connection, query: Query) -> bytes:
    """The rows of a query as CSV: nulls apart from empty texts, no Python object a cell."""
    client, moments = psycopg.ClientCursor(session), query.moments()
    statement = query.written(lambda name: client.mogrify("%s", [moments[name]]))
    _parsed_alone(session, statement, query)
    # The line break ends a comment in the query's last line. What parses alone cannot end the parenthesis.
    copy = f"copy ({statement}\n) to stdout with (format csv, header, null '{_NULL}', encoding 'UTF8')"
    content = bytearray()
    with session.cursor().copy(copy.encode()) as rows:
        for block in rows:
            content += block
            if len(content) > limits.batch():
                raise query.origin.too_large(f"rows of more than {limits.batch():,} bytes, as CSV")
    return bytes(content)


def _parsed_alone(session: psycopg.Connection, statement: str, query: Query) -> None:
    """The server parses the very text that will run, and runs nothing.

    Raises:
        psycopg.Error: it is no SQL, or more than one statement.
        BatchUnreadable: it returns no rows.
    """
    server = session.pgconn
    for answer in (server.prepare(b"", statement.encode()), server.describe_prepared(b"")):
        if answer.status != psycopg.pq.ExecStatus.COMMAND_OK:
            raise psycopg.errors.error_from_result(answer)
    if answer.nfields == 0:
        raise query.no_rows()


def _header(content: bytes) -> list[str]:
    return [str(name) for name in pa.csv.read_csv(io.BytesIO(content.split(b"\n", 1)[0] + b"\n")).column_names]


def _parameters(connection: Connection, origin: Origin) -> dict[str, Any]:
    """What `psycopg.connect` is told; of the extras that an Airflow connection
    has, those that Postgres' client knows."""
    try:
        stated = conninfo_to_dict(f"postgresql://{connection.uri.netloc}{connection.uri.path}")
        if not str(stated.get("port", "0")).replace(",", "").isdigit():  # a password with a slash in it, as a rule
            raise ValueError("port")
    except (psycopg.Error, ValueError):
        raise unreadable(connection.name, origin) from None  # the cause may show a password
    known = {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()}
    return _WATCHED | stated | {key: str(value) for key, value in connection.extra.items() if key in known}
