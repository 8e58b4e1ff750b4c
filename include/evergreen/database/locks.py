"""Advisory locks that end with a transaction; `connections` has those that last for a block."""

from __future__ import annotations

from psycopg import Connection

PATIENCE = "60s"  # for others, and for the tables they use; then the database counts as silent, and a task tries again


def alone(connection: Connection, key: str) -> None:
    """Until the connection's transaction ends, nobody else is alone with the key; waits for who is.

    Raises:
        psycopg.errors.LockNotAvailable: somebody was for all of `PATIENCE`.
    """
    connection.execute(f"set local lock_timeout = '{PATIENCE}'")
    connection.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", [key])
