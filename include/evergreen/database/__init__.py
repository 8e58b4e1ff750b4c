"""Postgres: connections, locks by key, tables from dataclasses, and numbered
migrations of the tables that are Evergreen's own.

What must be exact, small and shared stands in the database `evergreen`. Whoever opens it
finds its tables as this release has them.
"""

from __future__ import annotations

from evergreen.database.connections import connect, is_free, locked, locked_at_once, migrate, remote, url
from evergreen.database.locks import PATIENCE, alone
from evergreen.database.table import Stored, Table

__all__ = [
    "PATIENCE",
    "Stored",
    "Table",
    "alone",
    "connect",
    "is_free",
    "locked",
    "locked_at_once",
    "migrate",
    "remote",
    "url",
]
