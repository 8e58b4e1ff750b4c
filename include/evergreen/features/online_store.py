"""Feast's Postgres online store, where an older value never replaces a newer one.

Feast's own upsert takes whatever is written last, so a backfill of an old interval would overwrite today's features.
Connections come from `evergreen.settings`, so `feature_store.yaml` holds no address and no password.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any, Literal

from feast import Entity, FeatureView
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.postgres_online_store.postgres import (
    PostgreSQLOnlineStore,
    PostgreSQLOnlineStoreConfig,
)
from feast.infra.utils.postgres.connection_utils import _get_conn_kwargs, _get_conninfo
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import RepoConfig
from psycopg import Connection, sql
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import ConnectionPool
from pydantic import model_validator
from sqlalchemy.dialects import plugins
from sqlalchemy.engine import URL, CreateEnginePlugin, make_url

from evergreen.settings import settings

Row = tuple[EntityKey, dict[str, Value], datetime, datetime | None]


class NewestWinsPostgresOnlineStoreConfig(PostgreSQLOnlineStoreConfig):
    """`online_store:` of feature_store.yaml; every address that it leaves out comes from Evergreen's settings."""

    type: Literal["evergreen.features.online_store.NewestWinsPostgresOnlineStore"]  # type: ignore[assignment]

    @model_validator(mode="before")
    @classmethod
    def _from_settings(cls, given: dict[str, Any]) -> dict[str, Any]:
        found = conninfo_to_dict(settings().database_url("feast"))
        return {
            "host": found["host"],
            "port": int(found.get("port") or 5432),
            "database": found["dbname"],
            "user": found["user"],
            "password": found.get("password", ""),
            "sslmode": found.get("sslmode", "prefer"),
        } | given


class NewestWinsPostgresOnlineStore(PostgreSQLOnlineStore):
    """One row an entity and feature; safe to share between threads.

    A value is replaced where the stored event time is older, or equal and not known later: writing an interval again is
    harmless, and intervals may be written in any order.
    """

    _conn_pool: ConnectionPool | None = None

    def __init__(self) -> None:
        self._opening = threading.Lock()

    def close(self) -> None:
        """Give the connections back; the next use opens new ones."""
        with self._opening:
            if self._conn_pool is not None:
                self._conn_pool.close()
            self._conn_pool = None

    @contextlib.contextmanager
    def _get_conn(self, config: RepoConfig, autocommit: bool = False) -> Iterator[Connection]:
        """A pooled connection, given back also after an error (the parent class keeps it)."""
        with self._opening:
            if self._conn_pool is None:
                store = config.online_store
                self._conn_pool = ConnectionPool(
                    _get_conninfo(store),
                    min_size=store.min_conn,
                    max_size=store.max_conn,
                    kwargs=_get_conn_kwargs(store),
                    open=True,
                )
            pool = self._conn_pool
        with pool.connection() as connection:
            connection.autocommit = autocommit
            yield connection

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
        partial: bool,
    ) -> None:
        """Create and drop the views' tables, made for updates in place: every interval rewrites every row."""
        super().update(config, tables_to_delete, tables_to_keep, entities_to_delete, entities_to_keep, partial)
        with self._get_conn(config) as connection:
            for view in tables_to_keep:
                name = f"{config.project}_{view.name}"
                # One index repeats the primary key's start, the other searches documents; half-empty pages keep a row's new version
                # beside the old one. Together a third less time to write.
                for index in (f"{name}_ek", f"{name}_fts_idx"):
                    connection.execute(sql.SQL("drop index if exists {}").format(sql.Identifier(index)))
                connection.execute(sql.SQL("alter table {} set (fillfactor = 50)").format(_table(config, view.name)))

    def online_write_batch(
        self, config: RepoConfig, table: FeatureView, data: list[Row], progress: Callable[[int], Any] | None
    ) -> None:
        """Upsert one row an entity and feature in one statement."""
        version = config.entity_key_serialization_version
        rows = [
            (key, name, value.SerializeToString(), at, known)
            for key, values, at, known in sorted(
                (
                    (
                        serialize_entity_key(entity, entity_key_serialization_version=version),
                        values,
                        _utc(at),
                        _utc(known),
                    )
                    for entity, values, at, known in data
                ),
                key=itemgetter(0),
            )  # in key order: two writers of the same entities wait for each other instead of deadlocking
            for name, value in values.items()
        ]
        query = sql.SQL(  # %b: arrays of bytes as text would be escaped one by one
            "insert into {table} as stored (entity_key, feature_name, value, event_ts, created_ts)"
            " select * from unnest(%b::bytea[], %b::text[], %b::bytea[], %b::timestamptz[], %b::timestamptz[])"
            " on conflict (entity_key, feature_name) do update"
            " set value = excluded.value, event_ts = excluded.event_ts, created_ts = excluded.created_ts"
            " where (excluded.event_ts, coalesce(excluded.created_ts, '-infinity'))"
            " >= (stored.event_ts, coalesce(stored.created_ts, '-infinity'))"
        ).format(table=_table(config, table.name))
        if rows:
            with self._get_conn(config) as connection:
                connection.execute(query, [list(column) for column in zip(*rows, strict=True)])
        if progress:
            progress(len(data))

    def read_newest(
        self,
        config: RepoConfig,
        views: Sequence[tuple[str, Sequence[str], str]],
        entities: Mapping[str, Sequence[EntityKey | None]],
    ) -> list[list[tuple[datetime | None, dict[str, Value]]]]:
        """The values of several views in one round trip, one row an entity and view.

        `get_online_features` answers the same and takes several times longer, most of it to rebuild its definitions.

        Args:
            views: each with its Feast name, its features, and the key whose entities it is about.
            entities: key → the entities to look up; None: there is none.

        Returns:
            for each view, for each of its entities: the event time (None when it is not there), and feature → value.
        """
        version = config.entity_key_serialization_version
        asked = {
            key: [
                None if e is None else serialize_entity_key(e, entity_key_serialization_version=version) for e in each
            ]
            for key, each in entities.items()
        }
        distinct = {key: list({each for each in found if each is not None}) for key, found in asked.items()}
        selects = [
            sql.SQL(
                "select {number}, entity_key, max(event_ts), array_agg(feature_name), array_agg(value) from {table}"
                " where entity_key = any(%b::bytea[]) and feature_name = any(%s) group by entity_key"
            ).format(number=sql.Literal(number), table=_table(config, view))
            for number, (view, _, _) in enumerate(views)
        ]
        parameters = [given for _, features, key in views for given in (distinct[key], list(features))]
        with self._get_conn(config, autocommit=True) as connection:
            # Binary: as text each value would be escaped and parsed.
            rows = connection.execute(sql.SQL(" union all ").join(selects), parameters, binary=True).fetchall()
        found: list[dict[bytes | None, tuple[datetime | None, dict[str, Value]]]] = [{} for _ in views]
        for number, entity, at, names, values in rows:
            found[number][entity] = (at, dict(zip(names, map(Value.FromString, values), strict=True)))
        nothing: tuple[None, dict[str, Value]] = (None, {})
        return [
            [of_view.get(entity, nothing) for entity in asked[key]]
            for of_view, (_, _, key) in zip(found, views, strict=True)
        ]


def _table(config: RepoConfig, view: str) -> sql.Identifier:
    """Feast's name for a view's table, versioned views not being in use."""
    return sql.Identifier(f"{config.project}_{view}")


def _utc(moment: datetime | None) -> datetime | None:
    """Feast hands over times without a zone, meaning UTC; Postgres would read them in the server's zone."""
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


class EvergreenDatabase(CreateEnginePlugin):
    """SQLAlchemy's `?plugin=evergreen` on the registry's URL: the address of Evergreen's Feast database.

    Feast reads the registry's URL from feature_store.yaml alone; so `feast plan` works in a plain shell, without a password in
    the file or in the environment.
    """

    def update_url(self, url: URL) -> URL:
        """The URL that is connected to."""
        return make_url(settings().database_url("feast", driver=url.drivername))


plugins.register("evergreen", __name__, "EvergreenDatabase")
