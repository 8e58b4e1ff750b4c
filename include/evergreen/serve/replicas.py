"""The model servers that run, in Postgres: who is there, and what each has loaded.

A replica writes its own rows, and whoever deploys reads them. Nobody tells a replica anything: what it should serve it
reads from the ledger.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from psycopg import Connection

from evergreen.database import Stored, Table, connect
from evergreen.history.ledger import CHANNEL

BEAT_SECONDS = 1.0  # between two signs of life
LIVE_SECONDS = 5.0  # after its last sign of life, a replica counts as gone: nobody waits for it
_MISSED = "1 hour"  # after its last sign of life, nobody names it any more

State = Literal["serves", "loaded", "waits", "failed"]


@dataclass(frozen=True)
class Replica:
    """A model server that runs, or that ended without saying so."""

    id: str  # its machine, its port and its process
    models: tuple[str, ...]  # JSON: the models whose folders it has
    seen_at: datetime  # its last sign of life, by the database's clock
    # when it came, by the database's clock
    since: Annotated[datetime | None, Stored(filled="default now()")] = None


@dataclass(frozen=True)
class Loading:
    """What a replica says of a version."""

    replica: str  # `id` of `replicas`
    model: str  # the model's name
    version: int  # the version's number
    # of a version that serves: `champion`, `last known good`, `retired`; beside it `challenger`, `shadow`
    role: str | None
    # `serves`; `loaded`: beside what serves; `waits`: for what it is loaded from; `failed`
    state: State
    reason: str | None  # why it waits or failed
    intent: str | None  # id of the ledger's `deploying` for which it was loaded
    # when the row was written, by the database's clock
    at: Annotated[datetime | None, Stored(filled="default now()")] = None
    # per cent of the entities that a version beside the champion answers; null: of any other
    share: Annotated[int | None, Stored("integer")] = None


REPLICAS = Table("replicas", Replica, key=("id",))
LOADINGS = Table("loadings", Loading, key=("replica", "model", "version"))


@dataclass(frozen=True)
class Said:
    """What the replicas of a model say of one of its versions."""

    live: dict[str, Loading | None]  # by replica; None: nothing yet
    missed: dict[str, datetime]  # those without a sign of life: cut off, or ended without saying so

    @property
    def behind(self) -> dict[str, Loading | None]:
        """The live ones that do not serve it, or only beside another version."""
        return {
            name: each
            for name, each in self.live.items()
            if each is None or each.state != "serves" or each.share is not None
        }


def reasons(said: Mapping[str, Loading | None], state: State) -> dict[str, str | None]:
    """Why replicas are in a state, of those that are in it."""
    return {name: each.reason for name, each in said.items() if each is not None and each.state == state}


def said(model: str, version: int) -> Said:
    """What those replicas say that have the model's folder.

    Raises:
        ServiceUnavailable: the database does not answer.
    """
    with connect() as connection:
        loadings = LOADINGS.select(connection, "where model = %s and version = %s", [model, version])
        known = connection.execute(
            f"select id, seen_at, seen_at > now() - interval '{LIVE_SECONDS} s' from replicas"
            f" where models ? %s and seen_at > now() - interval '{_MISSED}' order by id",
            [model],
        ).fetchall()
    by_replica = {each.replica: each for each in loadings}
    return Said(
        {replica: by_replica.get(replica) for replica, _, live in known if live},
        {replica: seen for replica, seen, live in known if not live},
    )


def ask_again(model: str) -> None:
    """Let each replica try at once what it could not load of a model."""
    with connect() as connection:
        connection.execute("select pg_notify(%s, %s)", [CHANNEL, model])


def enter(connection: Connection, replica: str) -> None:
    """A replica that begins: what one of its name said before is forgotten, and what was gone long ago."""
    gone = f"select id from replicas where seen_at < now() - interval '{_MISSED}'"
    connection.execute(f"delete from loadings where replica = %s or replica in ({gone})", [replica])
    connection.execute(f"delete from replicas where id = %s or id in ({gone})", [replica])


def beat(connection: Connection, replica: str, models: Iterable[str]) -> None:
    """A sign of life."""
    now = connection.execute("select now()").fetchall()[0][0]
    REPLICAS.insert(connection, [Replica(replica, tuple(models), now)], replace=True)


def leave(connection: Connection, replica: str) -> None:
    """A replica that ends."""
    connection.execute("delete from loadings where replica = %s", [replica])
    connection.execute("delete from replicas where id = %s", [replica])


def say(connection: Connection, replica: str, loadings: Iterable[Loading], gone: Iterable[tuple[str, int]]) -> None:
    """Write what changed: of some versions what is said now, of others that nothing is."""
    for model, version in gone:
        connection.execute(
            "delete from loadings where replica = %s and model = %s and version = %s", [replica, model, version]
        )
    LOADINGS.insert(connection, loadings, replace=True)
