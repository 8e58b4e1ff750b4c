"""The rows of an interval from a Postgres database, by a query of the model's folder.

The query is somebody's text, and the connection may allow more than it ought to. So the server itself parses it alone
first, by the extended protocol, which takes one statement; then it runs within a COPY, which takes a query and nothing
else, in a read-only transaction with bounds in time. What that does not stop is in docs/sources.md: functions that act
outside of the transaction.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import psycopg
import pyarrow as pa
import pyarrow.csv
from psycopg.conninfo import conninfo_to_dict

from evergreen.answers import Remote, of_postgres
from evergreen.errors import ConnectionUnknown, ServiceUnavailable
from evergreen.ingest import delimited, limits, parse
from evergreen.ingest.cells import Cells, Tell
from evergreen.ingest.columns import as_declared
from evergreen.ingest.origin import Origin
from evergreen.interval import Interval
from evergreen.spec.dataset import Source

_NULL = "\\N"
_SCHEMES = ("postgresql", "postgres")
_MINUTES = 20  # the query may take; the task that runs it has 30
# Settings of the transaction, so that they also hold behind a connection pool: times are written in UTC, as ISO 8601.
_SETTINGS = (
    "set local timezone to 'UTC'; set local datestyle to 'ISO'; set local intervalstyle to 'iso_8601';"
    f" set local statement_timeout to '{_MINUTES}min'; set local lock_timeout to '1min';"
    " set local idle_in_transaction_session_timeout to '5min'"
)
# A database that vanishes without a word is noticed within two minutes, also while it computes.
_WATCHED = {"connect_timeout": 10, "keepalives_idle": 60, "keepalives_interval": 15, "keepalives_count": 4}


def read(
    connections: Callable[[str], str], source: Source, query: str, interval: Interval, origin: Origin, tell: Tell
) -> pa.Table:
    """What a query returns for an interval, in the query's order, as `parse.parse` gives the rows of files.

    Every cell is fetched as Postgres writes it and cast like that of a file. The transaction is read-only.

    Args:
        connections: the URI of a connection by its id; raises LookupError or ValueError.
        query: one SELECT, bounded by the parameters %(start)s and %(end)s.
        tell: hears what the source's owner should know of rows that can be read.

    Raises:
        ConnectionUnknown: there is no such connection, or it is not one to Postgres.
        ServiceUnavailable: the database does not answer, or not in time.
        BatchUnreadable: the database refuses the query, it is more than one SELECT, or it
            returns other columns than the declared ones.
    """
    parameters = _parameters(connections, str(source.connection), origin)
    try:
        with psycopg.connect(**parameters) as connection:
            connection.read_only = True
            connection.execute(_SETTINGS)
            content = _copied(connection, query, interval, origin)
    except psycopg.errors.QueryCanceled as error:
        raise ServiceUnavailable(
            origin.reading,
            found=str(error).strip(),
            expected=f"all rows within {_MINUTES} minutes",
            next_step=(
                f"{origin.correction}: an index on the time it compares, or fewer rows; or clear this task when the "
                "database has less to do"
            ),
        ) from error
    except psycopg.OperationalError as error:
        there = f"the connection {source.connection}"
        raise of_postgres(
            origin.reading, error, Remote(f"the database of {there}", there, there, start="see that it runs")
        ) from error
    except psycopg.Error as error:
        raise origin.unreadable(str(error).strip(), "one SELECT that the database runs", declare="") from error
    try:
        cells = delimited.text_columns(
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
    named = as_declared(cells.column_names, source, origin)
    table = cells.rename_columns([named[name] for name in cells.column_names])
    return parse.typed(Cells(table), source, pa.array(range(table.num_rows), pa.int64()), origin, tell)


def _copied(connection: psycopg.Connection, query: str, interval: Interval, origin: Origin) -> bytes:
    """The rows of a query as CSV: nulls apart from empty texts, no Python object a cell."""
    bounds = {"start": interval.start, "end": interval.end}
    statement = psycopg.ClientCursor(connection).mogrify(query.strip().removesuffix(";"), bounds)
    _parsed_alone(connection, statement, origin)
    # The line break ends a comment in the query's last line. What parses alone cannot end the parenthesis.
    copy = f"copy ({statement}\n) to stdout with (format csv, header, null '{_NULL}', encoding 'UTF8')"
    content = bytearray()
    with connection.cursor().copy(copy.encode()) as rows:
        for block in rows:
            content += block
            if len(content) > limits.batch():
                raise origin.too_large(f"rows of more than {limits.batch():,} bytes, as CSV")
    return bytes(content)


def _parsed_alone(connection: psycopg.Connection, statement: str, origin: Origin) -> None:
    """The server parses the very text that will run, and runs nothing.

    Raises:
        psycopg.Error: it is no SQL, or more than one statement.
        BatchUnreadable: it returns no rows.
    """
    server = connection.pgconn
    for answer in (server.prepare(b"", statement.encode()), server.describe_prepared(b"")):
        if answer.status != psycopg.pq.ExecStatus.COMMAND_OK:
            raise psycopg.errors.error_from_result(answer)
    if answer.nfields == 0:
        raise origin.unreadable("a statement that returns no rows", "one SELECT", declare="")


def _header(content: bytes) -> list[str]:
    return [str(name) for name in pa.csv.read_csv(io.BytesIO(content.split(b"\n", 1)[0] + b"\n")).column_names]


def _parameters(connections: Callable[[str], str], name: str, origin: Origin) -> dict[str, Any]:
    """What `psycopg.connect` is told; of the extras that an Airflow connection
    has, those that Postgres' client knows."""

    def unknown(found: str) -> ConnectionUnknown:
        return ConnectionUnknown(
            origin.reading,
            found=found,
            expected=f"a connection {name} to Postgres",
            next_step=(
                "make it in Airflow's UI (Admin, Connections), as "
                f"AIRFLOW_CONN_{name.upper()}=postgresql://user:password@host:5432/database, or in "
                "airflow_settings.yaml for a local start; then clear this task"
            ),
        )

    try:
        uri = urlsplit(connections(name))
    except LookupError as error:
        raise unknown(f"no connection {name}") from error
    except ValueError:
        raise unknown(f"a connection {name} that cannot be read") from None  # the cause may show a password
    scheme = uri.scheme.partition("+")[0]
    if scheme not in _SCHEMES:
        raise unknown(f"a connection {name} of type {scheme or 'unknown'}")
    try:
        stated = conninfo_to_dict(f"postgresql://{uri.netloc}{uri.path}")
        if not str(stated.get("port", "0")).replace(",", "").isdigit():  # a password with a slash in it, as a rule
            raise ValueError("port")
        extra = dict(parse_qsl(uri.query))
        extra |= json.loads(extra.pop("__extra__", "{}"))  # how Airflow writes extras that are no flat texts
    except (psycopg.Error, ValueError, TypeError):
        raise unknown(f"a connection {name} whose URI cannot be read") from None  # likewise
    known = {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()}
    return _WATCHED | stated | {key: str(value) for key, value in extra.items() if key in known}
