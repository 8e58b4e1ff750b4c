"""The online store's tables in Postgres, one per feature view."""

from __future__ import annotations

import hashlib
import logging

from psycopg import Connection, sql
from psycopg.errors import InsufficientPrivilege

from evergreen.database.locks import alone

log = logging.getLogger(__name__)

CHANGED = "evergreen_online"  # the channel on which Postgres tells which view's rows were changed
_LONGEST_NAME = 63  # bytes of an identifier in Postgres


def of(project: str, view: str) -> sql.Identifier:
    """Feast's name for a view's table in a project, versioned views not being in use; a long one with a hash, for
    Postgres would cut it and let two views share a table."""
    name = f"{project}_{view}"
    if len(name.encode()) > _LONGEST_NAME:
        name = f"{name[:46]}_{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    return sql.Identifier(name)


def view_name(dataset: str, view: str) -> str:
    """What a dataset's view is called in Feast, where all datasets share one project."""
    return f"{dataset}__{view}"


def there(connection: Connection, table: sql.Identifier) -> bool:
    """Whether a table is there."""
    found = connection.execute("select to_regclass(%s)", [table.as_string(connection)]).fetchone()
    return found is not None and found[0] is not None


def make(connection: Connection, table: sql.Identifier) -> None:
    """Make a view's table where it is not there. Two that make it at once take turns."""
    if there(connection, table):
        return
    alone(connection, table.as_string(connection))
    connection.execute(
        # Every interval rewrites every row: half-empty pages keep its new version beside the old one.
        sql.SQL(
            "create table if not exists {} (entity_key bytea primary key, features bytea not null,"
            " event_ts timestamptz not null, created_ts timestamptz) with (fillfactor = 50)"
        ).format(table)
    )
    note_nothing(connection, table)


def tell(connection: Connection, view: str) -> None:
    """Let whoever keeps a copy of a view's rows hear that they were changed, as soon as the transaction has ended."""
    connection.execute("select pg_notify(%s, %s)", [CHANGED, view])


def note_nothing(connection: Connection, table: sql.Identifier) -> None:
    """Let Postgres note no keys and features in its statistics, where they would outlive their rows, and forget those
    that it had noted: to give a column its own type again makes it forget, and writes no row."""
    noted = (
        "select from pg_attribute where attrelid = %s::regclass and attname = 'entity_key'"
        " and attstattarget is distinct from 0"
    )
    if connection.execute(noted, [table.as_string(connection)]).fetchone() is None:
        return
    try:
        connection.execute(
            sql.SQL(
                "alter table {} alter entity_key type bytea, alter entity_key set statistics 0,"
                " alter features type bytea, alter features set statistics 0"
            ).format(table)
        )
    except InsufficientPrivilege:
        log.warning("Postgres' statistics of %s may quote keys: its owner has to apply", table.as_string(connection))
