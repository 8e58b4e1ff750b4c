"""Erasures that have begun and not ended: the one place that knows whose they are. A row goes when its erasure has
ended; the ledger keeps the rest."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import psycopg

from evergreen import database
from evergreen.database import Stored, Table


@dataclass(frozen=True)
class Begun:
    """An erasure that has begun and not ended."""

    entity: str  # the kind of entity, such as `customer`
    key: Annotated[str, Stored(noted=False)]  # the entity's key, as text; nothing else keeps it
    id: str  # the erasure's, by which the ledger and a rebuild name it; random, and tells nothing of the key
    actor: str  # who began it
    reason: str  # why
    # when it began, by the database's clock
    at: Annotated[datetime | None, Stored(filled="default now()")] = None


TABLE = Table("erasures", Begun, key=("entity", "key"))


def begin(entity: str, key: str, *, actor: str, reason: str) -> Begun:
    """Begin an erasure, or go on with the one of that key that did not end."""
    with database.connect() as connection:
        TABLE.insert(connection, [Begun(entity, key, uuid.uuid4().hex[:16], actor, reason)])
        (begun,) = TABLE.select(connection, "where entity = %s and key = %s", [entity, key])
    return begun


def under_way() -> frozenset[str]:
    """The ids of the erasures that have not ended."""
    with database.connect() as connection:
        return frozenset(id for (id,) in connection.execute("select id from erasures").fetchall())


def end(begun: Begun) -> None:
    """Nothing is left to do: forget whose it was, also in the table's file."""
    with database.connect(autocommit=True) as connection:
        connection.execute("delete from erasures where id = %s", [begun.id])
        try:
            connection.execute("vacuum erasures")
        except psycopg.errors.InsufficientPrivilege:  # Postgres does it by itself, later
            return
