"""Feast's online store on Postgres, where an older value never replaces a newer one.

Feast's own takes whatever is written last, so a backfill of an old interval would overwrite today's features; and it
keeps a row an entity *and feature*, which makes every write and read as many times larger as a view has features.
Connections come from `evergreen.settings`, so `feature_store.yaml` holds no address and no password.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from feast import Entity, FeatureView
from feast.infra.key_encoding_utils import deserialize_entity_key, serialize_entity_key
from feast.infra.online_stores.online_store import OnlineStore
from feast.infra.utils.postgres.connection_utils import _get_conn_kwargs, _get_conninfo
from feast.infra.utils.postgres.postgres_config import PostgreSQLConfig
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Map, Value
from feast.repo_config import RepoConfig
from psycopg import Connection, sql
from psycopg_pool import ConnectionPool
from pydantic import model_validator

from evergreen.features import (
    online_address,
    online_tables,
    packing,
    registry_engine,  # noqa: F401 - Feast imports the online store's class alone
)
from evergreen.features.packed import Reader
from evergreen.settings import settings

Row = tuple[EntityKey, dict[str, Value], datetime, datetime | None]
_MOMENT = pa.timestamp("us", tz="UTC")
# What is written: an entity's key as Feast serializes it, its features as `packing` packs them (or a serialized `Map`),
# their event time, and when they became known, if that is known.
STORED = pa.schema(
    [("entity_key", pa.large_binary()), ("features", pa.large_binary()), ("event_ts", _MOMENT), ("created_ts", _MOMENT)]
)
_PATIENCE = (
    5.0  # seconds that a read or a write waits for a connection: clients wait for reads, and tasks are tried again
)
_ROWS_A_PIECE = 100_000  # that are made and sent at once: bounds the memory, whatever a partition's size
_COPY_HEAD, _COPY_TAIL = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"  # of Postgres' binary format
_POSTGRES_EPOCH = 946_684_800_000_000  # its 2000-01-01 in microseconds of ours


class NewestWinsPostgresOnlineStoreConfig(PostgreSQLConfig):
    """`online_store:` of feature_store.yaml; every address that it leaves out comes from Evergreen's settings."""

    type: Literal["evergreen.features.online_store.NewestWinsPostgresOnlineStore"]

    @model_validator(mode="before")
    @classmethod
    def _from_settings(cls, given: dict[str, Any]) -> dict[str, Any]:
        return online_address.from_settings(settings().database_url("feast")) | given


class NewestWinsPostgresOnlineStore(OnlineStore):
    """A table per view, a row per entity, its features packed into one value; safe to share between threads.

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
                online_tables.make(connection, online_tables.of(config.project, view.name))
                online_tables.note_nothing(connection, online_tables.of(config.project, view.name))

    def teardown(self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Entity]) -> None:
        """Drop the views' tables."""
        self._drop(config, tables)

    def online_write_batch(
        self, config: RepoConfig, table: FeatureView, data: list[Row], progress: Callable[[int], Any] | None
    ) -> None:
        """Feast's way to write: `feast materialize`, `write_to_online_store`."""
        keys = [_key(config, entity) for entity, *_ in data]
        features = [Map(val=values).SerializeToString() for _, values, *_ in data]
        events, known = [_utc(row[2]) for row in data], [row[3] and _utc(row[3]) for row in data]
        self.write(config, table.name, pa.table([keys, features, events, known], schema=STORED))
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
        reader = Reader(requested_features or [feature.name for feature in table.features])
        query = sql.SQL("select entity_key, event_ts, features from {} where entity_key = any(%b::bytea[])").format(
            online_tables.of(config.project, table.name)
        )
        keys = [_key(config, entity) for entity in entity_keys]
        with self._connections(config).connection() as connection:
            stored = {key: (at, packed) for key, at, packed in connection.execute(query, [keys], binary=True)}
        found = [stored.get(key) for key in keys]
        return [(None, None) if row is None else (row[0], reader.protos(row[1])) for row in found]

    def write(self, config: RepoConfig, view: str, rows: pa.Table) -> None:
        """Write rows, as `STORED` says, in one statement."""
        with self._connections(config).connection() as connection, connection.transaction():
            self._merge(connection, config, view, rows)

    def replace(self, config: RepoConfig, view: str, at: datetime, rows: pa.Table) -> list[EntityKey]:
        """Write rows of an event time; returns the entities whose stored row is of that time, but which are not among
        the rows."""
        query = sql.SQL(
            "select entity_key from {table} as stored where event_ts = %s"
            " and not exists (select from incoming where incoming.entity_key = stored.entity_key)"
        ).format(table=online_tables.of(config.project, view))
        with self._connections(config).connection() as connection, connection.transaction():
            self._merge(connection, config, view, rows)
            others = connection.execute(query, [at], binary=True).fetchall()
        return [deserialize_entity_key(bytes(key), config.entity_key_serialization_version) for (key,) in others]

    def withdraw(
        self, config: RepoConfig, view: str, at: datetime, entities: Iterable[EntityKey], instead: pa.Table
    ) -> None:
        """Remove the rows that entities have of an event time, and write others instead, both or none."""
        query = sql.SQL("delete from {table} where event_ts = %s and entity_key = any(%b::bytea[])").format(
            table=online_tables.of(config.project, view)
        )
        with self._connections(config).connection() as connection, connection.transaction():
            connection.execute(query, [at, [_key(config, entity) for entity in entities]])
            self._merge(connection, config, view, instead)  # tells of both

    def erase(self, config: RepoConfig, view: str, part: Mapping[str, str | int], *, alone: bool, apply: bool) -> int:
        """Remove the rows of the entities that have a join key of this value, whatever their event time; returns how
        many there are.

        Args:
            part: the join key and its value.
            alone: whether the view's entities have no other join key: then there is one row at most.
        """
        table = online_tables.of(config.project, view)
        verb = sql.SQL("delete from {table} where entity_key = any(%b::bytea[]) returning 1")
        look = sql.SQL("select 1 from {table} where entity_key = any(%b::bytea[])")
        with self._connections(config).connection() as connection:
            if not online_tables.there(connection, table):
                return 0
            if apply:
                online_tables.note_nothing(connection, table)
            keys = (
                [_key(config, packing.entity(part))] if alone else list(self._having(connection, config, table, part))
            )
            with connection.transaction():
                found = connection.execute((verb if apply else look).format(table=table), [keys]).fetchall()
                if apply and found:
                    online_tables.tell(connection, view)
            return len(found)

    def _having(
        self, connection: Connection, config: RepoConfig, table: sql.Identifier, part: Mapping[str, str | int]
    ) -> Iterator[bytes]:
        """The stored keys of several join keys of which one has a value: every key is looked at."""
        version = config.entity_key_serialization_version
        for (key,) in connection.execute(sql.SQL("select entity_key from {}").format(table), binary=True):
            if part.items() <= packing.named(deserialize_entity_key(bytes(key), version)).items():
                yield bytes(key)

    def _merge(self, connection: Connection, config: RepoConfig, view: str, rows: pa.Table) -> None:
        """Copy the newest row of each entity into the table `incoming` of this transaction, and merge it in one
        statement.

        In key order, which is the order of the copied rows: two writers of the same entities wait for each other
        instead of deadlocking, and the index is walked from end to end.
        """
        # Feast records a view first and makes its table then; a kill may have come between.
        online_tables.make(connection, online_tables.of(config.project, view))
        connection.execute(
            "create temporary table incoming (entity_key bytea not null, features bytea not null,"
            " event_ts timestamptz not null, created_ts timestamptz) on commit drop"
        )
        newest = _newest(rows)
        with connection.cursor() as cursor, cursor.copy("copy incoming from stdin (format binary)") as copy:
            copy.write(_COPY_HEAD)
            for piece in _pieces(rows, newest):
                copy.write(piece)
            copy.write(_COPY_TAIL)
        connection.execute(
            sql.SQL(
                "insert into {table} as stored (entity_key, features, event_ts, created_ts) select * from incoming"
                " on conflict (entity_key) do update"
                " set features = excluded.features, event_ts = excluded.event_ts, created_ts = excluded.created_ts"
                " where (excluded.event_ts, coalesce(excluded.created_ts, '-infinity'))"
                " >= (stored.event_ts, coalesce(stored.created_ts, '-infinity'))"
            ).format(table=online_tables.of(config.project, view))
        )
        online_tables.tell(connection, view)

    def _drop(self, config: RepoConfig, views: Sequence[FeatureView]) -> None:
        with self._connections(config).connection() as connection:
            for view in views:
                connection.execute(
                    sql.SQL("drop table if exists {}").format(online_tables.of(config.project, view.name))
                )

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


def _key(config: RepoConfig, entity: EntityKey) -> bytes:
    key: bytes = serialize_entity_key(entity, config.entity_key_serialization_version)
    return key


def _newest(rows: pa.Table) -> np.ndarray:
    """Where the newest row of each entity stands, in the order of the keys; of equally new ones the last."""
    keys = rows["entity_key"].combine_chunks()
    order = pc.sort_indices(keys)
    ordered = keys.take(order)
    last = np.append(np.asarray(pc.not_equal(ordered[:-1], ordered[1:])), True)
    if last.all():  # the rows of a partition are of as many entities
        return np.asarray(order)
    order = pc.sort_indices(
        rows.select(["entity_key", "event_ts", "created_ts"]),
        sort_keys=[(name, "ascending", "at_start") for name in ("entity_key", "event_ts", "created_ts")],
    )
    newest: np.ndarray = np.asarray(order)[last]
    return newest


def _pieces(rows: pa.Table, positions: np.ndarray) -> Iterator[memoryview]:
    """The rows at some positions as Postgres' binary format has them, each piece many rows."""
    rows = rows.combine_chunks()  # else each `take` would do so
    for start in range(0, len(positions), _ROWS_A_PIECE):
        piece = rows.take(pa.array(positions[start : start + _ROWS_A_PIECE])).combine_chunks()
        columns = [column.chunk(0) for column in piece.columns]
        fields = [part for column in columns for part in _fields(column)]
        lines = packing.joined([_constant(b"\x00\x04", len(piece)), *fields])
        offsets = np.frombuffer(lines.buffers()[1], "i8", len(lines) + 1, 8 * lines.offset)
        yield memoryview(lines.buffers()[2])[offsets[0] : offsets[-1]]


def _fields(column: pa.Array) -> list[pa.LargeBinaryArray]:
    """A column's values in Postgres' binary format, of each its length before it."""
    if pa.types.is_timestamp(column.type):
        moments = np.zeros(len(column), [("length", ">i4"), ("moment", ">i8")])
        moments["length"] = 8
        moments["moment"] = pc.fill_null(column.cast(pa.int64()), 0).to_numpy() - _POSTGRES_EPOCH
        absent = pa.scalar(b"\xff\xff\xff\xff", pa.large_binary())
        return [pc.if_else(column.is_null(), absent, packing.binary(moments))]
    lengths = np.zeros(len(column), [("length", ">i4")])
    lengths["length"] = pc.binary_length(column).to_numpy()
    return [packing.binary(lengths), column]


def _constant(value: bytes, rows: int) -> pa.LargeBinaryArray:
    return packing.binary(np.full(rows, np.void(value)))


def _utc(moment: datetime) -> datetime:
    """Feast hands over times without a zone, meaning UTC; Postgres would read them in the server's zone."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
