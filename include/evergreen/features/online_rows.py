"""A model's features, read from the online store for requests: a packed row per entity and view, by psycopg alone.

Feast's `get_online_features` answers the same and takes many times longer, most of it to rebuild its definitions; its
import alone takes seconds and a hundred megabytes.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache
from operator import itemgetter
from typing import Any

import psycopg
from psycopg import sql
from psycopg_pool import ConnectionPool, PoolTimeout

from evergreen import database
from evergreen.answers import of_postgres
from evergreen.errors import PermanentError
from evergreen.features import online_address, online_tables
from evergreen.features.packed import Keys, Reader
from evergreen.settings import settings
from evergreen.spec.schema import ModelSpec

_PATIENCE = 5.0  # seconds that a read waits for a connection: clients wait for it

Row = tuple[int, bytes, datetime, bytes]  # number of its table, key, event time, packed features
Rows = Callable[[Sequence[str], Sequence[Sequence[bytes | None]]], list[Row]]  # as `rows`, from wherever they are read


@dataclass(frozen=True, slots=True)
class Known:
    """What the online store knows of the entities of requests, in the order of the requests."""

    names: Sequence[str]  # of the features
    values: Sequence[Sequence[Any]]  # of each entity, in the order of the names; None: null, or not known
    features_at: Sequence[datetime | None]  # the newest event time among the views; None: it knows nothing
    views_at: Sequence[Sequence[datetime | None]]  # of each view, in the spec's order, the event times

    def part(self, start: int, end: int) -> Known:
        """The entities from a place on, up to another one."""
        of_views = [at[start:end] for at in self.views_at]
        return Known(self.names, self.values[start:end], self.features_at[start:end], of_views)


class Features:
    """What the online store knows of the entities that requests to a model name; safe to share.

    Args:
        read: reads the rows; None: from the store.
    """

    def __init__(self, spec: ModelSpec, read: Rows | None = None) -> None:
        self._spec = spec
        self._read = rows if read is None else read
        self.tables = [online_tables.view_name(spec.dataset_of(view), view) for view in spec.features]
        columns = [tuple(spec.entity_of(view).columns) for view in spec.features]
        keys = {names: Keys(names) for names in columns}  # views about the same share theirs
        self._keys = [keys[names] for names in columns]
        self._names = [[*declared.features] for declared in spec.features.values()]
        self._readers = [Reader(names) for names in self._names]

    def read(self, requests: Sequence[Mapping[str, Any]], read: Rows | None = None) -> list[dict[str, Any]]:
        """As `known`, an entity at a time.

        Returns:
            `{"features": {name: value or None}, "features_at": datetime or None, "views_at": {view: datetime or None}}`
            a request.
        """
        known = self.known(requests, read)
        views = dict(zip(self._spec.features, known.views_at, strict=True))
        return [
            {
                "features": dict(zip(known.names, row, strict=True)),
                "features_at": known.features_at[at],
                "views_at": {view: times[at] for view, times in views.items()},
            }
            for at, row in enumerate(known.values)
        ]

    def known(self, requests: Sequence[Mapping[str, Any]], read: Rows | None = None) -> Known:
        """The newest features of each request's entities.

        Args:
            requests: key column → value of each request; one that is null, or that the store does not know, has no
                features.
            read: reads the rows this time; None: as ever.

        Raises:
            PermanentError: the model was never applied, so the store has no tables for it.
            ServiceUnavailable: the database does not answer.
        """
        if not self.tables or not requests:
            nothing: tuple[Any, ...] = (None,) * len(self._order[0])
            return Known(self._order[0], [nothing] * len(requests), [None] * len(requests), [[] for _ in self.tables])
        keys = {each: each.of_all(requests) for each in {*self._keys}}
        wanted = [keys[each] for each in self._keys]
        rows = self._rows([[*dict.fromkeys(each)] for each in wanted], read or self._read)
        times: list[Sequence[datetime | None]] = []
        values: list[Sequence[tuple[Any, ...]]] = []
        for number, (its, reader) in enumerate(zip(wanted, self._readers, strict=True)):
            _, found, moments, packed = _columns([row for row in rows if row[0] == number])
            of_rows = reader.rows(packed)
            if [*found] != its:  # some are not known, or asked for twice, or the store has another order
                at, of = dict(zip(found, moments, strict=True)), dict(zip(found, of_rows, strict=True))
                nothing = (None,) * len(self._names[number])
                moments, of_rows = [at.get(key) for key in its], [of.get(key, nothing) for key in its]
            times.append(moments)
            values.append(of_rows)
        return Known(self._order[0], self._together(values), _newest(times), times)

    def _rows(self, keys: Sequence[Sequence[bytes | None]], read: Rows) -> list[Row]:
        doing = f"reading online features of {self._spec.model}"
        with answering(doing):
            try:
                return read(self.tables, keys)
            except psycopg.errors.UndefinedTable as error:
                raise PermanentError(
                    doing,
                    found=str(error).strip().splitlines()[0],
                    expected="the model's views in the online store",
                    next_step=(
                        f"ingest an interval of {', '.join(self._spec.data or [self._spec.model])}, or `feast apply`"
                    ),
                ) from error

    def _together(self, of_views: Sequence[Sequence[tuple[Any, ...]]]) -> Sequence[Sequence[Any]]:
        """Of each entity the values that all views have of it."""
        first, *others = of_views
        rows = [sum(rest, row) for row, *rest in zip(first, *others, strict=True)] if others else first
        return [*map(self._order[1], rows)]

    @cached_property
    def _order(self) -> tuple[Sequence[str], Callable[[tuple[Any, ...]], Sequence[Any]]]:
        """All features in the order in which `jsonb` has keys, and the values of all views in that order: Postgres need
        not sort those of the log, which would be a tenth of its work."""
        names = [name.encode() for of_view in self._names for name in of_view]
        order = sorted(range(len(names)), key=lambda at: (len(names[at]), names[at]))
        in_order = itemgetter(*order) if len(order) > 1 else tuple
        return [names[at].decode() for at in order], in_order


def _columns(rows: Sequence[Row]) -> Sequence[Sequence[Any]]:
    return [*zip(*rows, strict=True)] or [()] * 4


def _newest(times: Sequence[Sequence[datetime | None]]) -> Sequence[datetime | None]:
    """Of each entity the newest of its views' times, None where there is none."""
    if len(times) == 1:
        return times[0]
    return [at[0] if at.count(at[0]) == len(at) else max(filter(None, at)) for at in zip(*times, strict=True)]


def read(spec: ModelSpec, requests: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """As `Features.read`."""
    return Features(spec).read(requests)


def rows(tables: Sequence[str], keys: Sequence[Sequence[bytes | None]], patience: float = _PATIENCE) -> list[Row]:
    """The rows of several views in one round trip.

    Args:
        tables: Feast's names of the views.
        keys: the serialized keys that are looked for in each; None is none of them.
        patience: seconds that it waits for a connection.

    Raises:
        psycopg.Error, PoolTimeout: the database does not answer, or has no such table.
    """
    store, pool = _opened()
    query = _query(store.project, tuple(tables))
    try:
        return _fetch(pool, query, keys, patience)
    except PoolTimeout:
        raise
    except psycopg.OperationalError:  # the connection is from before the server's last start: so may all others be
        pool.check()
        return _fetch(pool, query, keys, patience)


@lru_cache(256)
def _query(project: str, tables: Sequence[str]) -> bytes:
    """The same text each time, which psycopg lets Postgres prepare."""
    selects = [
        sql.SQL(
            "select {number}, entity_key, event_ts, features from {table} where entity_key = any(%b::bytea[])"
        ).format(number=sql.Literal(number), table=online_tables.of(project, view))
        for number, view in enumerate(tables)
    ]
    return sql.SQL(" union all ").join(selects).as_bytes(None)


def _fetch(pool: ConnectionPool, query: bytes, parameters: Sequence[Any], patience: float) -> list[Any]:
    """In binary: text would be escaped and parsed."""
    with pool.connection(patience) as connection:
        return connection.execute(query, parameters, binary=True).fetchall()


@contextmanager
def answering(doing: str) -> Iterator[None]:
    """What the silence and the refusals of the store's database mean."""
    try:
        yield
    except (psycopg.OperationalError, PoolTimeout) as error:
        raise of_postgres(doing, error, database.remote("feast")) from error


_opening = threading.Lock()
_open: dict[tuple[int, str, str], tuple[online_address.OnlineStore, ConnectionPool]] = {}  # at most one


def _opened() -> tuple[online_address.OnlineStore, ConnectionPool]:
    """The store and its connections: one pool per process, shared by its threads."""
    repository = settings().project / "feature_repo"
    key = (os.getpid(), settings().database_url("feast"), str(repository))
    with _opening:
        if key not in _open:
            for (process, *_), (_, pool) in _open.items():
                if process == os.getpid():  # else a forked parent's, whose connections are not ours to close
                    pool.close()
            _open.clear()
            store = online_address.of(repository, key[1])
            _open[key] = store, _pool(store)
        return _open[key]


def _pool(store: online_address.OnlineStore) -> ConnectionPool:
    return ConnectionPool(
        store.address,
        min_size=1,
        max_size=store.most,
        kwargs={"autocommit": True, "connect_timeout": 5, "tcp_user_timeout": 10_000},
        timeout=_PATIENCE,
        # Then the next use tries again, instead of a thread that waits longer after each failure.
        reconnect_timeout=_PATIENCE,
        open=True,
    )
