"""The rows of an interval from a database, by a query of the model's folder: which adapter asks it, and what is made of
the cells.

Each adapter is a module with `rows(connection, query)`: one SELECT, run in a session that reads only and ends in time;
cells as the database writes them, within the bound of a batch. It raises ConnectionUnknown, ServiceUnavailable,
RequestRefused and BatchUnreadable, and shows no password.
"""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from evergreen.connections import Connection
from evergreen.ingest import parse
from evergreen.ingest.cells import Cells, Tell
from evergreen.ingest.columns import as_declared
from evergreen.ingest.origin import Origin
from evergreen.ingest.query import Query, connection
from evergreen.interval import Interval
from evergreen.spec.dataset import Source


def read(
    connections: Callable[[str], str], source: Source, query: str, interval: Interval, origin: Origin, tell: Tell
) -> pa.Table:
    """What a query returns for an interval, in the query's order, as `parse.parse` gives the rows of files.

    Args:
        connections: the URI of a connection by its id; raises LookupError or ValueError.
        query: one SELECT, bounded by the parameters %(start)s and %(end)s unless it is of a table for all intervals.
        tell: hears what the source's owner should know of rows that can be read.

    Raises:
        ConnectionUnknown: there is no such connection, or nothing that is installed can read it.
        ServiceUnavailable: the database does not answer, or not in time.
        RequestRefused: it refuses the login.
        BatchUnreadable: the database refuses the query, it is more than one SELECT, or it
            returns other columns than the declared ones.
    """
    if source.whole:
        asked = Query(query, None, "UTC", origin)
    else:
        time = source.columns[source.moment]
        asked = Query(query, (interval.start, interval.end), time.zone, origin, time.arrives_as(source.moment))
    return typed(rows(connections, str(source.connection), asked), source, origin, tell)


def typed(cells: pa.Table, source: Source, origin: Origin, tell: Tell) -> pa.Table:
    """The rows of a query, under the names that it gives its columns, as `read` returns them.

    Raises:
        BatchUnreadable: they have other columns than the declared ones.
    """
    named = as_declared(cells.column_names, source, origin)
    table = cells.rename_columns([named[name] for name in cells.column_names])
    return parse.typed(Cells(table), source, pa.array(range(table.num_rows), pa.int64()), origin, tell)


def rows(connections: Callable[[str], str], name: str, query: Query) -> pa.Table:
    """The rows of a query on a connection, under the names that the query gives its columns; raises as `read` does."""
    there = connection(connections, name, query.origin)
    return _adapter(there)(there, query)


def identifiers(connections: Callable[[str], str], name: str, origin: Origin) -> Callable[[str], str]:
    """How the database of a connection writes a name in SQL: bare, or in its quotes where it has to be.

    Raises:
        ConnectionUnknown: as `read`.
    """
    from evergreen.ingest import dialects

    return dialects.identifiers(connection(connections, name, origin), origin)


def _adapter(there: Connection) -> Callable[[Connection, Query], pa.Table]:
    match there.kind:  # a client that is not installed costs its own databases alone
        case "postgres" | "postgresql":
            from evergreen.ingest import postgres

            return postgres.rows
        case "mysql" | "mariadb":
            from evergreen.ingest import mysql

            return mysql.rows
        case "duckdb":
            from evergreen.ingest import duckdb_file

            return duckdb_file.rows
        case _:
            from evergreen.ingest import dialects

            return dialects.rows
