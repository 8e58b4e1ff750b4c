"""Feast's offline store over the lake: point-in-time joins by DuckDB over Delta tables read by `deltalake`.

Feast's own stores for Delta need DuckDB's delta extension, which downloads at run time.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Literal

import duckdb
import pandas as pd
import pyarrow as pa
from feast import FeatureView, OnDemandFeatureView
from feast.data_format import DeltaFormat
from feast.data_source import DataSource
from feast.infra.offline_stores import offline_utils
from feast.infra.offline_stores.file_source import FileSource
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalJob, RetrievalMetadata
from feast.infra.registry.base_registry import BaseRegistry
from feast.repo_config import FeastConfigBaseModel, RepoConfig
from pyarrow.dataset import dataset

from evergreen.lake import tables
from evergreen.spec.columns import EVENT
from evergreen.sql import quoted

# How far before the oldest entity row is read, in turn, as long as one has no feature row: an interval or two of hours
# or days, one of weeks or months; then as far as a row of the view may be old, or all of it.
_REACHES = (timedelta(days=2), timedelta(days=62))
_NEVER = datetime(1000, 1, 1, tzinfo=UTC)  # before all of them


class DeltaOfflineStoreConfig(FeastConfigBaseModel):
    """`offline_store:` of feature_store.yaml."""

    type: Literal["evergreen.features.offline_store.DeltaOfflineStore"]
    threads: int = 2  # of DuckDB; several runs share the machine


class DuckDBRetrievalJob(RetrievalJob):
    """A lazy query: it runs when its result is asked for."""

    def __init__(
        self,
        query: Callable[[], pa.Table],
        metadata: RetrievalMetadata | None = None,
        on_demand_feature_views: list[OnDemandFeatureView] | None = None,
        full_feature_names: bool = False,
    ) -> None:
        self._query = query
        self._metadata = metadata
        self._on_demand_feature_views = on_demand_feature_views or []
        self._full_feature_names = full_feature_names

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        return self._query()

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        frame: pd.DataFrame = self._query().to_pandas()
        return frame

    @property
    def full_feature_names(self) -> bool:
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        return self._on_demand_feature_views

    @property
    def metadata(self) -> RetrievalMetadata | None:
        return self._metadata


class DeltaOfflineStore(OfflineStore):
    """Reads `FileSource`s in Delta format, and Parquet ones of hand-written definitions. It writes nothing: the lake is
    written by Evergreen's stages."""

    supports_filter_by_created_timestamp = True

    def validate_data_source(self, config: RepoConfig, data_source: DataSource) -> None:
        """A table appears with its first partition, so that it is missing is no mistake when it is declared."""

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | str | None,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,
        **_: Any,
    ) -> RetrievalJob:
        """For each entity row and view the newest feature row with event time ≤ the row's own (and, filtered by created
        timestamp, created ≤ it too); columns of the entity rows and their order are kept."""
        if not isinstance(entity_df, pd.DataFrame):
            raise ValueError(f"entity_df is {type(entity_df).__name__}; this offline store joins to a pandas.DataFrame")
        moment = offline_utils.infer_event_timestamp_from_entity_df(dict(entity_df.dtypes))
        rows = entity_df.assign(**{moment: pd.to_datetime(entity_df[moment], utc=True)})
        bounds = (_NEVER, _NEVER) if rows.empty else (rows[moment].min(), rows[moment].max())
        oldest, newest = (pd.Timestamp(bound).to_pydatetime() for bound in bounds)
        views: list[_View] = []
        columns = [f"e.{quoted(name)}" for name in rows.columns]
        for view in feature_views:
            name = view.projection.name_to_use()
            wanted = [ref.split(":", 1)[1] for ref in feature_refs if ref.split(":", 1)[0] == name]
            keys = view.projection.join_key_map or {column.name: column.name for column in view.entity_columns}
            reaches = _reaches(view.ttl)
            nearest = _source(view.batch_source, _within(oldest, reaches[0], newest))  # says now if there is no table
            joined = _View(f"v{len(views)}", view.batch_source, nearest, reaches, keys, wanted)
            views.append(joined)
            for feature in wanted:
                shown = f"{name}__{feature}" if full_feature_names else feature
                value = f"{joined.alias}.{quoted(feature)}"
                if view.ttl:
                    age = f"epoch_us(e.{quoted(moment)}) - epoch_us({joined.alias}._event)"
                    value = f"case when {age} <= {view.ttl // timedelta(microseconds=1)} then {value} end"
                columns.append(f"{value} as {quoted(shown)}")
        entities = pa.Table.from_pandas(rows, preserve_index=False)
        position = entities.schema.get_field_index(moment)
        entities = entities.set_column(
            position, moment, entities[moment].cast(pa.timestamp("us", tz="UTC"))
        )  # as the lake stores them
        entities = entities.append_column("_row", pa.array(range(len(rows)), pa.int64()))

        def join() -> pa.Table:
            with _connected(config) as connection:
                connection.register("entities", entities)
                for view in views:
                    view.join(connection, moment, (oldest, newest), filter_by_created_timestamp)
                joins = " ".join(f"left join {view.alias} on {view.alias}._row = e._row" for view in views)
                query = f"select {', '.join(columns)} from entities e {joins} order by e._row"
                return _in_utc(connection.sql(query).to_arrow_table())

        return DuckDBRetrievalJob(
            join,
            RetrievalMetadata(feature_refs, [c for c in rows.columns if c != moment], oldest, newest),
            OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry),
            full_feature_names,
        )

    @staticmethod
    def pull_all_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> RetrievalJob:
        """Every row with event time in [start_date, end_date]."""
        fields = [
            *join_key_columns,
            *feature_name_columns,
            timestamp_field,
            *([created_timestamp_column] if created_timestamp_column else []),
        ]
        at = quoted(timestamp_field)
        bounds = {"first": start_date, "last": end_date}
        given = {name: bound for name, bound in bounds.items() if bound is not None}
        conditions = [f"{at} {sign} ${name}" for name, sign in (("first", ">="), ("last", "<=")) if name in given]
        where = f" where {' and '.join(conditions)}" if conditions else ""
        query = f"select {', '.join(map(quoted, fields))} from source{where}"
        return DuckDBRetrievalJob(functools.partial(_run, config, query, {"source": _source(data_source)}, given))

    @staticmethod
    def pull_latest_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime,
        end_date: datetime,
    ) -> RetrievalJob:
        """The newest row of each entity with event time in [start_date, end_date]."""
        fields = [
            *join_key_columns,
            *feature_name_columns,
            timestamp_field,
            *([created_timestamp_column] if created_timestamp_column else []),
        ]
        order = ", ".join(f"{quoted(name)} desc" for name in (timestamp_field, created_timestamp_column) if name)
        query = (
            f"select {', '.join(map(quoted, fields))} from source where {quoted(timestamp_field)} between $first "
            f"and $last qualify row_number() over (partition by {', '.join(map(quoted, join_key_columns))} order "
            f"by {order}) = 1"
        )
        bounds = {"first": start_date, "last": end_date}
        return DuckDBRetrievalJob(functools.partial(_run, config, query, {"source": _source(data_source)}, bounds))


@dataclass(frozen=True)
class _View:
    """A view's part of a point-in-time join."""

    alias: str
    source: DataSource | None
    nearest: Any  # the source without what lies further back than the first reach
    reaches: Sequence[timedelta | None]  # how far back it is read, in turn; None: all of it
    keys: Mapping[str, str]  # column of the source → column of the entity rows
    features: Sequence[str]

    def join(
        self, connection: duckdb.DuckDBPyConnection, moment: str, moments: tuple[datetime, datetime], known: bool
    ) -> None:
        """Make a table named `alias` of the feature row of each row of `entities` that has one: _row, _event, features.

        What is newest is nearly always from shortly before the entity rows, so that is read first, and what lies
        before it only for those that are not found there: a row of an older event never counts where there is a newer
        one. So the length of history does not matter, but for an entity that has no row at all of a view whose rows
        never expire.

        Args:
            moment: the column of the entity rows' moments.
            moments: the oldest and the newest of them.
            known: whether a row counts only from when it was known.
        """
        assert self.source is not None
        keys = ", ".join(quoted(own) for own in self.keys.values())
        present = " and ".join(f"{quoted(own)} is not null" for own in self.keys.values())
        connection.execute(
            f"create temp table waiting as select _row, {keys}, {quoted(moment)} as _moment from entities"
            f" where {present or 'true'}"
        )
        on = " and ".join(f"e.{quoted(own)} = v.{quoted(stored)}" for stored, own in self.keys.items())
        columns = ", ".join(f"v.{quoted(feature)}" for feature in self.features)
        select = f"select e._row, v._event{', ' if columns else ''}{columns} from waiting e asof join"
        oldest, until = moments
        for number, reach in enumerate(self.reaches):
            since, _ = within = _within(oldest, reach, until)
            found = _source(self.source, within, self._waiting(connection)) if number else self.nearest
            connection.register("source", found)
            # Nearly all entities are found at once; of what lies before, only those count that are left.
            versions = _versions(self.source, self.keys, self.features, known, waiting=self.keys if number else {})
            rows = f"{select} ({versions}) v on {on or 'true'} and e._moment >= v._available"
            made = f"insert into {self.alias}" if number else f"create temp table {self.alias} as"
            connection.execute(f"{made} {rows}", {"since": since, "until": until})
            connection.execute(f"delete from waiting where _row in (select _row from {self.alias})")
            if not connection.sql("select 1 from waiting limit 1").fetchall():
                break
            until = since - timedelta(microseconds=1)
        connection.execute("drop table waiting")

    def _waiting(self, connection: duckdb.DuckDBPyConnection) -> dict[str, tuple[Any, Any]]:
        """Column of the source → the least and the greatest value that it has in the keys that wait, of columns of the
        same type: Delta knows which files hold none between them."""
        assert self.source is not None
        mapped = {new: old for old, new in self.source.field_mapping.items()}
        bounds = {}
        for name, own in self.keys.items():
            stored, key = mapped.get(name, name), quoted(own)
            ((least, greatest),) = connection.sql(f"select min({key}), max({key}) from waiting").fetchall()
            kind = self.nearest.schema.field(stored).type
            if (pa.types.is_string(kind), type(least)) == (True, str) or (
                pa.types.is_integer(kind) and type(least) is int
            ):
                bounds[stored] = (least, greatest)
        return bounds


def _reaches(ttl: timedelta | None) -> tuple[timedelta | None, ...]:
    """How far before the oldest entity row a view is read, in turn: what is older than it may be is null anyway."""
    last = ttl or None  # none: its rows never expire
    return (*(reach for reach in _REACHES if last is None or reach < last), last)


def _within(oldest: datetime, reach: timedelta | None, until: datetime) -> tuple[datetime, datetime]:
    return (_NEVER if reach is None or reach > oldest - _NEVER else oldest - reach, until)


def _versions(
    source: DataSource,
    keys: Iterable[str],
    features: Iterable[str],
    known: bool,
    *,
    waiting: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """The rows of a source, each with the moment `_available` from which on it is the one to use; of the entities in
    `waiting` alone, where their keys are given: stored name → name there.

    Without regard to when a row was known that is its event time. With it, a row counts from the later of event time
    and known time, and only if nothing newer was known by then: a late row of an old event never replaces a newer one.
    """
    at = quoted(source.timestamp_field)
    created = f"coalesce({quoted(source.created_timestamp_column)}, {at})" if source.created_timestamp_column else at
    available = f"greatest({at}, {created})" if known else at
    order = f"row({at}, {created})"  # of two versions of an event the one known later counts
    mapped = {new: old for old, new in source.field_mapping.items()}
    columns = ", ".join(
        f"{quoted(mapped.get(name, name))} as {quoted(name)}" for name in dict.fromkeys([*keys, *features])
    )
    partition = ", ".join(map(quoted, keys))
    stored = ", ".join(quoted(mapped.get(name, name)) for name in waiting)
    own = ", ".join(map(quoted, waiting.values()))
    only = f"and ({stored}) in (select ({own}) from waiting) " if waiting else ""
    rows = (
        f"select {columns}, {at} as _event, {available} as _available, {order} as _order from source "
        f"where {at} >= $since and {at} <= $until {only}"
        f"qualify row_number() over (partition by {partition}, _available order by _order desc) = 1"
    )
    return f"select * from ({rows}) qualify _order = max(_order) over (partition by {partition} order by _available)"


def _source(
    data_source: DataSource | None,
    within: tables.Within = (None, None),
    between: Mapping[str, tuple[Any, Any]] = MappingProxyType({}),
) -> Any:
    """An Arrow dataset of the source, without the files that hold other times or other values of columns alone; DuckDB
    reads the columns of it that the query needs."""
    if not isinstance(data_source, FileSource):
        raise ValueError(f"this offline store reads a FileSource, not {type(data_source).__name__}")
    if isinstance(data_source.file_format, DeltaFormat):
        times = within if data_source.timestamp_field == EVENT else (None, None)
        return tables.dataset(data_source.path, times, between)
    return dataset(data_source.path, format="parquet")


@contextmanager
def _connected(config: RepoConfig) -> Iterator[duckdb.DuckDBPyConnection]:
    options = {"threads": config.offline_store.threads, "python_enable_replacements": False}
    with duckdb.connect(config=options) as connection:
        connection.execute("set timezone = 'UTC'")  # in which times without a zone, of a Parquet file, are compared
        yield connection


def _run(config: RepoConfig, query: str, sources: dict[str, Any], parameters: dict[str, datetime]) -> pa.Table:
    with _connected(config) as connection:
        for name, source in sources.items():
            connection.register(name, source)
        return _in_utc(connection.sql(query, params=parameters).to_arrow_table())


def _in_utc(table: pa.Table) -> pa.Table:
    """DuckDB labels times with the machine's zone; Feast's are UTC."""
    utc = [
        f.with_type(pa.timestamp(f.type.unit, tz="UTC")) if pa.types.is_timestamp(f.type) else f for f in table.schema
    ]
    return table.cast(pa.schema(utc))
