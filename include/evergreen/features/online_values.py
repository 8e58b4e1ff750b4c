"""A model's features in the online store: written from feature partitions, withdrawn where a
partition was corrected, read for requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg
import pyarrow as pa
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.types import Int64

from evergreen.errors import PermanentError
from evergreen.features import packing
from evergreen.features.objects import view_name
from evergreen.features.online_store import STORED
from evergreen.features.repository import answering, feature_store
from evergreen.lake.rewriting import typed
from evergreen.spec.columns import EVENT, KNOWN_AT
from evergreen.spec.dataset import DatasetSpec
from evergreen.spec.keyed import Key
from evergreen.spec.kinds import KINDS
from evergreen.spec.schema import ModelSpec

_ROWS_A_PIECE = 100_000  # that are packed at once: bounds the memory that is needed beside the packed ones


def write(spec: DatasetSpec, view: str, rows: pa.Table) -> None:
    """Write rows of a feature partition (key, features, event_timestamp, known_at) to the online store; older ones than
    the stored are ignored.

    Not by `FeatureStore.materialize`: it marks the view as materializing and appends the interval in the shared
    registry at each call, which runs side by side would overwrite. Not by `write_to_online_store`: it ignores a table
    in which every feature is null, and the stale values before an outage would live on.
    """
    store, name = feature_store(), view_name(spec.name, view)
    with answering(f"writing {name} to the online store"):
        store.provider.online_store.write(store.config, name, _stored(spec, view, rows))


def replace(spec: DatasetSpec, view: str, as_of: datetime, rows: pa.Table) -> list[Key]:
    """Write the rows of a partition, whose event time is `as_of`, as `write` does; returns the keys of the entities
    whose online row is of that partition, but which it does not have: it was corrected."""
    store, name = feature_store(), view_name(spec.name, view)
    with answering(f"writing {name} to the online store"):
        others = store.provider.online_store.replace(store.config, name, as_of, _stored(spec, view, rows))
    about = spec.entity_of(view)
    return [about.key_in(packing.named(entity)) for entity in others]


def withdraw(spec: DatasetSpec, view: str, as_of: datetime, keys: Sequence[Key], instead: pa.Table | None) -> None:
    """Remove the online rows that entities have of a partition, and write what
    earlier ones say instead, both or none."""
    store, name, about = feature_store(), view_name(spec.name, view), spec.entity_of(view)
    with answering(f"withdrawing corrected rows of {name} from the online store"):
        entities = [packing.entity(about.values(key)) for key in keys]
        rows = STORED.empty_table() if instead is None else _stored(spec, view, instead)
        store.provider.online_store.withdraw(store.config, name, as_of, entities, rows)


def erase(columns: frozenset[str], key: str, *, apply: bool) -> int:
    """Remove an entity's rows from the tables of every view that is about it, of hand-written ones too; returns how
    many there are.

    Args:
        columns: the join keys that name it, alone or with others.
    """
    store, count = feature_store(), 0
    with answering("erasing an entity from the online store"):
        for view in store.registry.list_feature_views(store.project):
            for column in view.entity_columns:
                value = typed(key, pa.int64() if column.dtype == Int64 else pa.string())
                if column.name in columns and value is not None:
                    part, alone = {column.name: value}, len(view.entity_columns) == 1
                    count += store.provider.online_store.erase(store.config, view.name, part, alone=alone, apply=apply)
    return count


def _stored(spec: DatasetSpec, view: str, rows: pa.Table) -> pa.Table:
    """The rows of feature partitions as the online store takes them."""
    about, version = spec.entity_of(view).columns, feature_store().config.entity_key_serialization_version
    fields = {name: KINDS[kind].feast_field for name, kind in spec.features[view].features.items()}
    pieces = [
        pa.table(
            [
                packing.keys({key: piece[key] for key in about}, version),
                packing.pack(fields, piece),
                piece[EVENT],
                piece[KNOWN_AT],
            ],
            STORED.names,
        ).cast(STORED)
        for piece in (rows.slice(start, _ROWS_A_PIECE) for start in range(0, rows.num_rows, _ROWS_A_PIECE))
    ]
    return pa.concat_tables(pieces) if pieces else STORED.empty_table()


def read(spec: ModelSpec, requests: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The newest features of each request's entities, in the order of the requests.

    Args:
        requests: key column → value of each request; one that is null, or that
            the store does not know, has no features.

    Returns:
        `{"features": {name: value or None}, "features_at": datetime or None, "views_at": {view: datetime or None}}` a
        request; `features_at` is the newest event time among the views, None when the store knows nothing of its
        entities.

    Raises:
        PermanentError: the model was never applied, so the store has no tables for it.
    """
    if not spec.features:
        return [{"features": {}, "features_at": None, "views_at": {}} for _ in requests]
    if not requests:
        return []
    store = feature_store()
    with answering(f"reading online features of {spec.model}"):
        wanted = {
            view_name(spec.dataset_of(view), view): ((*spec.entity_of(view).columns,), list(declared.features))
            for view, declared in spec.features.items()
        }
        entities = {keys: [_entity(keys, request) for request in requests] for keys, _ in wanted.values()}
        try:
            views = store.provider.online_store.read(store.config, wanted, entities)
        except psycopg.errors.UndefinedTable as error:
            raise PermanentError(
                f"reading online features of {spec.model}",
                found=str(error).strip().splitlines()[0],
                expected="the model's views in the online store",
                next_step=f"ingest an interval of {', '.join(spec.data or [spec.model])}, or `feast apply`",
            ) from error
    answers = []
    for rows in zip(*views, strict=True):
        features = {
            name: stored.get(name)
            for (_, stored), (_, names) in zip(rows, wanted.values(), strict=True)
            for name in names
        }
        times = [at and at.astimezone(UTC) for at, _ in rows]
        answers.append(
            {
                "features": features,
                "features_at": max((at for at in times if at is not None), default=None),
                "views_at": dict(zip(spec.features, times, strict=True)),
            }
        )
    return answers


def _entity(keys: Sequence[str], request: Mapping[str, Any]) -> EntityKey | None:
    values = {key: request[key] for key in keys}
    return None if None in values.values() else packing.entity(values)


def moments(spec: DatasetSpec, view: str, keys: Sequence[Key]) -> list[datetime | None]:
    """The event time of the row that each entity has online, in the order of the keys; None: it has none."""
    store, name, about = feature_store(), view_name(spec.name, view), spec.entity_of(view)
    if not keys:
        return []
    columns = (*about.columns,)
    entities = {columns: [packing.entity(about.values(key)) for key in keys]}
    with answering(f"looking up the moments of {name} in the online store"):
        try:
            (rows,) = store.provider.online_store.read(store.config, {name: (columns, [])}, entities, lambda *_: {})
        except psycopg.errors.UndefinedTable:  # nothing was ever brought online
            return [None] * len(keys)
    return [at and at.astimezone(UTC) for at, _ in rows]
