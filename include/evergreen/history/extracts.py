"""What of the ledger goes out of the house with a model: its own entries whole, and of all others the two hashes alone
that hold the chain together."""

from __future__ import annotations

import json
from typing import Any

from evergreen import database
from evergreen.history import ledger
from evergreen.history.chain import Link
from evergreen.history.events import Event
from evergreen.history.ledger import TABLE

_HASHES = "select number, previous, hash from ledger where number >= %s order by number"


def of(model: str) -> tuple[list[Link], list[dict[str, Any]]]:
    """The model's entries, and from the first of them on the number and the hashes of every entry."""
    with database.connect() as connection:
        own = TABLE.select(connection, "where model = %s order by number", [model])
        rows = connection.execute(_HASHES, [own[0].number]).fetchall() if own else []
    return own, [{"number": number, "previous": previous, "hash": each} for number, previous, each in rows]


def registration(model: str, version: int) -> str | None:
    """The newest entry that registered a version, or adopted it: `number:hash`."""
    with database.connect() as connection:
        links = TABLE.select(
            connection, "where model = %s and event = any(%s) order by number desc", [model, ["registered", "adopted"]]
        )
    found = (link for link in links if json.loads(link.body)["version"] == version)
    return next((f"{link.number}:{link.hash}" for link in found), None)


def hash_of(number: int) -> str | None:
    """The hash of an entry; None: there is none."""
    with database.connect() as connection:
        row = connection.execute("select hash from ledger where number = %s", [number]).fetchone()
    return None if row is None else str(row[0])


def events(model: str, kind: str) -> list[Event]:
    """The model's events of a kind."""
    return [entry.event for entry in ledger.entries(model, kind)]
