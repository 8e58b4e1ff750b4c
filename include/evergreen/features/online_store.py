"""Feast's online store on Postgres, where an older value never replaces a newer one.

Feast's own takes whatever is written last, so a backfill of an old interval would overwrite today's features; and it
keeps a row an entity *and feature*, which makes every write and read as many times larger as a view has features.
Connections come from `evergreen.settings`, so `feature_store.yaml` holds no address and no password.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from feast import Entity, FeatureView
from feast.infra.key_encoding_utils import deserialize_entity_key, serialize_entity_key
from feast.infra.online_stores.online_store import OnlineStore
from feast.infra.utils.postgres.connection_utils import _get_conn_kwargs, _get_conninfo
from feast.infra.utils.postgres.postgres_config import PostgreSQLConfig
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Map, Value
from feast.repo_config import RepoConfig
from psycopg import Connection, OperationalError, sql
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import ConnectionPool, PoolTimeout
from pydantic import model_validator

from evergreen.features import registry_engine  # noqa: F401 - Feast imports the online store's class alone
from evergreen.settings import settings

Row = tuple[EntityKey, dict[str, Value], datetime, datetime | None]
Packed = tuple[EntityKey, bytes, datetime, datetime | None]
_LONGEST_NAME = 63  # bytes of an identifier in Postgres
_PATIENCE = (
    5.0  # seconds that a read or a write waits for a connection: clients wait for reads, and tasks are tried again
)
_EARLIEST = datetime.min.replace(tzinfo=UTC)


class NewestWinsPostgresOnlineStoreConfig(PostgreSQLConfig):
    """`online_store:` of feature_store.yaml; every address that it leaves out comes from Evergreen's settings."""

    type: Literal["evergreen.features.online_store.NewestWinsPostgresOnlineStore"]

    @model_validator(mode="before")
    @classmethod
    def _from_settings(cls, given: dict[str, Any]) -> dict[str, Any]:
        database = conninfo_to_dict(settings().database_url("feast"))
        return {
            "host": database["host"],
            "port": int(database.get("port") or 5432),
            "database": database["dbname"],
            "user": database["user"],
            "password": database.get("password", ""),
            "sslmode": database.get("sslmode", "prefer"),
        } | given


class NewestWinsPostgresOnlineStore(OnlineStore):
    """A table per view, a row per entity, its features packed into one serialized `Map`; safe to share between threads.

    A row is replaced where the stored event time is older, or equal and not known later: writing an interval again is
    harmless, and intervals may be written in any order.
    """

    def __init__(self) -> None:
        self._opening = threading.Lock()
        self._pool: ConnectionPool | None = None

    def disconnect(self) -> None:
        """Give the connections back; the next use opens new ones."""
        with self._opening:
            if self._pool is not None:
                self._pool.close()
            self._pool = None

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
        partial: bool,
    ) -> None:
        """Make the tables of the views that are kept, drop those of the others."""
        self._drop(config, tables_to_delete)
        with self._connections(config).connection() as connection:
            for view in tables_to_keep:
                connection.execute(
                    # Every interval rewrites every row: half-empty pages keep its new version beside the old one.
                    sql.SQL(
                        "create table if not exists {} (entity_key bytea primary key, features bytea not null,"
                        " event_ts timestamptz not null, created_ts timestamptz) with (fillfactor = 50)"
                    ).format(_table(config, view.name))
                )

    def teardown(self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Entity]) -> None:
        """Drop the views' tables."""
        self._drop(config, tables)

    def online_write_batch(
        self, config: RepoConfig, table: FeatureView, data: list[Row], progress: Callable[[int], Any] | None
    ) -> None:
        """Feast's way to write: `feast materialize`, `write_to_online_store`."""
        packed = [(entity, Map(val=values).SerializeToString(), at, known) for entity, values, at, known in data]
        self.write(config, table.name, packed)
        if progress:
            progress(len(data))

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[tuple[datetime | None, dict[str, Value] | None]]:
        """Feast's way to read: `get_online_features`."""
        (rows,) = self.read(config, {table.name: "its"}, {"its": entity_keys})
        return [
            (
                at,
                {name: value for name, value in values.items() if not requested_features or name in requested_features},
            )
            if at is not None
            else (None, None)
            for at, values in rows
        ]

    def write(self, config: RepoConfig, view: str, rows: Iterable[Packed]) -> list[bytes]:
        """Upsert rows in one statement; returns their entities' keys, as they are stored.

        Args:
            view: its Feast name.
            rows: each an entity, its features as a serialized `Map`, their event time, and when they became known.
        """
        with self._connections(config).connection() as connection:
            return self._upsert(connection, config, view, rows)

    def _upsert(self, connection: Connection, config: RepoConfig, view: str, rows: Iterable[Packed]) -> list[bytes]:
        newest: dict[bytes, tuple[bytes, datetime, datetime | None]] = {}
        for entity, features, at, known in rows:
            row, key = (features, _utc(at), None if known is None else _utc(known)), _key(config, entity)
            if key not in newest or _order(newest[key]) <= _order(row):  # a statement may touch a row once
                newest[key] = row
        # In key order: two writers of the same entities wait for each other instead of deadlocking.
        stored = [(key, *newest[key]) for key in sorted(newest)]
        query = sql.SQL(  # %b: arrays of bytes as text would be escaped one by one
            "insert into {table} as stored (entity_key, features, event_ts, created_ts)"
            " select * from unnest(%b::bytea[], %b::bytea[], %b::timestamptz[], %b::timestamptz[])"
            " on conflict (entity_key) do update"
            " set features = excluded.features, event_ts = excluded.event_ts, created_ts = excluded.created_ts"
            " where (excluded.event_ts, coalesce(excluded.created_ts, '-infinity'))"
            " >= (stored.event_ts, coalesce(stored.created_ts, '-infinity'))"
        ).format(table=_table(config, view))
        if stored:
            connection.execute(query, [list(column) for column in zip(*stored, strict=True)])
        return list(newest)

    def others(self, config: RepoConfig, view: str, at: datetime, but: Sequence[bytes]) -> list[EntityKey]:
        """Whose rows are of an event time, but for some entities, whose keys `write` returned."""
        query = sql.SQL(
            "select entity_key from {table} where event_ts = %s and not exists"
            " (select from unnest(%b::bytea[]) as kept where kept = entity_key)"
        ).format(table=_table(config, view))
        with self._connections(config).connection() as connection:
            rows = connection.execute(query, [at, list(but)], binary=True).fetchall()
        return [deserialize_entity_key(bytes(key), config.entity_key_serialization_version) for (key,) in rows]

    def withdraw(
        self, config: RepoConfig, view: str, at: datetime, entities: Iterable[EntityKey], instead: Iterable[Packed]
    ) -> None:
        """Remove the rows that entities have of an event time, and write others instead, both or none."""
        query = sql.SQL("delete from {table} where event_ts = %s and entity_key = any(%b::bytea[])").format(
            table=_table(config, view)
        )
        with self._connections(config).connection() as connection, connection.transaction():
            connection.execute(query, [at, [_key(config, entity) for entity in entities]])
            self._upsert(connection, config, view, instead)

    def read(
        self, config: RepoConfig, views: Mapping[str, str], entities: Mapping[str, Sequence[EntityKey | None]]
    ) -> list[list[tuple[datetime | None, Mapping[str, Value]]]]:
        """The rows of several views in one round trip.

        `get_online_features` answers the same and takes several times longer, most of it to rebuild its definitions.

        Args:
            views: Feast name → the key whose entities it is about.
            entities: key → the entities to look up; None: there is none.

        Returns:
            for each view, for each of its entities: the event time (None when it is not there), and feature → value.
        """
        stored_keys = {
            key: [None if entity is None else _key(config, entity) for entity in each] for key, each in entities.items()
        }
        distinct = {key: list({each for each in keys if each is not None}) for key, keys in stored_keys.items()}
        selects = [
            sql.SQL(
                "select {number}, entity_key, event_ts, features from {table} where entity_key = any(%b::bytea[])"
            ).format(number=sql.Literal(number), table=_table(config, view))
            for number, view in enumerate(views)
        ]
        query, parameters = sql.SQL(" union all ").join(selects), [distinct[key] for key in views.values()]
        try:
            rows = self._fetch(config, query, parameters)
        except PoolTimeout:
            raise
        except OperationalError:  # the connection is from before the server's last start: so may all others be
            self._connections(config).check()
            rows = self._fetch(config, query, parameters)
        rows_of_views: list[dict[bytes | None, tuple[datetime | None, Mapping[str, Value]]]] = [{} for _ in views]
        for number, entity, at, features in rows:
            rows_of_views[number][entity] = (at, Map.FromString(features).val)
        nothing: tuple[None, Mapping[str, Value]] = (None, {})
        return [
            [of_view.get(entity, nothing) for entity in stored_keys[key]]
            for of_view, key in zip(rows_of_views, views.values(), strict=True)
        ]

    def _fetch(self, config: RepoConfig, query: sql.Composed, parameters: Sequence[list[bytes]]) -> list[Any]:
        """In binary: text would be escaped and parsed."""
        with self._connections(config).connection() as connection:
            return connection.execute(query, parameters, binary=True).fetchall()

    def _drop(self, config: RepoConfig, views: Sequence[FeatureView]) -> None:
        with self._connections(config).connection() as connection:
            for view in views:
                connection.execute(sql.SQL("drop table if exists {}").format(_table(config, view.name)))

    def _connections(self, config: RepoConfig) -> ConnectionPool:
        with self._opening:
            if self._pool is None:
                store: Any = config.online_store
                self._pool = ConnectionPool(
                    _get_conninfo(store),
                    min_size=store.min_conn,
                    max_size=store.max_conn,
                    kwargs=_get_conn_kwargs(store)
                    | {"autocommit": True, "connect_timeout": 5, "tcp_user_timeout": 10_000},
                    timeout=_PATIENCE,
                    # Then the next use tries again, instead of a thread that waits longer after each failure.
                    reconnect_timeout=_PATIENCE,
                    open=True,
                )
            return self._pool


def _table(config: RepoConfig, view: str) -> sql.Identifier:
    """Feast's name for a view's table, versioned views not being in use; a long one with a hash, for Postgres would cut
    it and let two views share a table."""
    name = f"{config.project}_{view}"
    if len(name.encode()) > _LONGEST_NAME:
        name = f"{name[:46]}_{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    return sql.Identifier(name)


def _key(config: RepoConfig, entity: EntityKey) -> bytes:
    key: bytes = serialize_entity_key(entity, config.entity_key_serialization_version)
    return key


def _order(row: tuple[bytes, datetime, datetime | None]) -> tuple[datetime, datetime]:
    """By which the newest of an entity's rows is told."""
    _, at, known = row
    return at, known or _EARLIEST


def _utc(moment: datetime) -> datetime:
    """Feast hands over times without a zone, meaning UTC; Postgres would read them in the server's zone."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
