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
from evergreen.rollout.wanted import Wanted

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
        live, missed = _known(connection, model)
    by_replica = {each.replica: each for each in loadings}
    return Said({replica: by_replica.get(replica) for replica in live}, missed)


@dataclass(frozen=True)
class Following:
    """What the replicas of a model say of all its versions."""

    live: dict[str, list[Loading]]  # by replica
    missed: dict[str, datetime]  # as `Said` has it

    def behind(self, wanted: Wanted) -> dict[str, str]:
        """The live ones that do not serve what is wanted, and how they differ from it."""
        return {name: why for name, told in self.live.items() if (why := _behind(told, wanted)) is not None}


def _behind(told: list[Loading], wanted: Wanted) -> str | None:
    by_version = {each.version: each for each in told}

    def lacking(version: int, what: str) -> str:
        own = by_version.get(version)
        return f"does not serve version {version}{what}{'' if own is None or own.reason is None else f': {own.reason}'}"

    if wanted.champion is not None and not _serves(by_version.get(wanted.champion)):
        return lacking(wanted.champion, "")
    second = wanted.beside
    for each in told:
        if each.role in ("challenger", "shadow") and (second is None or each.version != second.version):
            return f"serves version {each.version} as a {each.role} still"
    if second is None:
        return None
    own = by_version.get(second.version)
    if own is not None and _serves(own) and (own.role, own.share) == (second.role, second.share):
        return None
    share = f" of {second.share} %" if second.role == "challenger" else ""
    return lacking(second.version, f" as a {second.role}{share}")


def _serves(loading: Loading | None) -> bool:
    return loading is not None and loading.state == "serves"


def following(model: str) -> Following:
    """What those replicas say that have the model's folder.

    Raises:
        ServiceUnavailable: the database does not answer.
    """
    with connect() as connection:
        loadings = LOADINGS.select(connection, "where model = %s order by version", [model])
        live, missed = _known(connection, model)
    return Following({name: [each for each in loadings if each.replica == name] for name in live}, missed)


def _known(connection: Connection, model: str) -> tuple[list[str], dict[str, datetime]]:
    """The replicas that have a model's folder: those that live, and those without a sign of life."""
    known = connection.execute(
        f"select id, seen_at, seen_at > now() - interval '{LIVE_SECONDS} s' from replicas"
        f" where models ? %s and seen_at > now() - interval '{_MISSED}' order by id",
        [model],
    ).fetchall()
    live = [replica for replica, _, lives in known if lives]
    return live, {replica: seen for replica, seen, lives in known if not lives}


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
