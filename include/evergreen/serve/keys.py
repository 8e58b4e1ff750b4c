"""Keys of clients, in Postgres: who may ask for predictions of which models.

A key is made up of its id and a secret of 256 random bits, and is shown once. What is kept of it is its digest: without
the secret nobody can be that client, whoever reads the table.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated

from psycopg import Connection

from evergreen.database import Stored, Table, connect
from evergreen.errors import PermanentError
from evergreen.quoting import listed, shown

_FORM = re.compile(r"evg_([0-9a-f]{8})_[0-9a-f]{64}")


@dataclass(frozen=True)
class Key:
    """A client of the model servers."""

    id: str  # the part of the key that may be told
    name: str  # whose it is
    digest: bytes  # SHA-256 of the whole key
    models: tuple[str, ...] | None  # JSON: the models that it may ask; null: all
    made_by: str  # who gave the command
    # when it was made, by the database's clock
    made_at: Annotated[datetime | None, Stored(filled="default now()")] = None
    # when it was revoked, by the database's clock; null: it is good
    revoked_at: Annotated[datetime | None, Stored("timestamptz")] = None


TABLE = Table("client_keys", Key, key=("id",))


def id_of(text: str) -> str | None:
    """The id of what has the form of a key; None: it has not."""
    found = _FORM.fullmatch(text)
    return found and found[1]


def digest(text: str) -> bytes:
    """What is kept of a key. A secret of 256 random bits is guessed by nobody, so that a slow digest protects no
    better."""
    return hashlib.sha256(text.encode()).digest()


def add(name: str, models: Collection[str], actor: str) -> tuple[Key, str]:
    """A new key, and its text, which is kept nowhere.

    Args:
        name: whose it is.
        models: that it may ask; none: all.
    """
    number = secrets.token_hex(4)
    text = f"evg_{number}_{secrets.token_hex(32)}"
    key = Key(number, name, digest(text), tuple(sorted(models)) or None, actor)
    with connect() as connection:
        TABLE.insert(connection, [key])
    return key, text


def known() -> list[Key]:
    """All keys, the oldest first, revoked ones too."""
    with connect() as connection:
        return TABLE.select(connection, "order by made_at, id")


def good(connection: Connection) -> list[Key]:
    """Those that are not revoked."""
    return TABLE.select(connection, "where revoked_at is null")


def revoke(number: str) -> Key:
    """The key of that id, which is good no more.

    Raises:
        PermanentError: there is none, or it was revoked before.
    """
    with connect() as connection:
        done = connection.execute(
            "update client_keys set revoked_at = now() where id = %s and revoked_at is null returning revoked_at",
            [number],
        ).fetchone()
        there = TABLE.select(connection, "where id = %s", [number])
        good_ones = [key.id for key in good(connection)]
    if done is None:
        raise PermanentError(
            f"revoking the key {shown(number)}",
            found=f"it was revoked at {there[0].revoked_at:%Y-%m-%d %H:%M:%S %Z}" if there else "no key of that id",
            expected=f"the id of a good one: {listed(good_ones) or 'there is none'}",
            next_step="`evergreen keys list` shows all",
        )
    return replace(there[0], revoked_at=done[0])
