"""A model's features in the online store: written from feature partitions, and withdrawn where a partition was
corrected. Requests read them by `online_rows`, which needs no Feast."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import psycopg
import pyarrow as pa
from feast.types import Int64

from evergreen.features import online_rows, packed, packing
from evergreen.features.online_store import STORED
from evergreen.features.online_tables import view_name
from evergreen.features.repository import answering, feature_store
from evergreen.lake.rewriting import typed
from evergreen.spec.columns import EVENT, KNOWN_AT
from evergreen.spec.dataset import DatasetSpec
from evergreen.spec.keyed import Key
from evergreen.spec.kinds import KINDS

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


def moments(spec: DatasetSpec, view: str, keys: Sequence[Key]) -> list[datetime | None]:
    """The event time of the row that each entity has online, in the order of the keys; None: it has none."""
    name, about = view_name(spec.name, view), spec.entity_of(view)
    if not keys:
        return []
    stored_keys = [packed.Keys(about.columns).of(about.values(key)) for key in keys]
    with online_rows.answering(f"looking up the moments of {name} in the online store"):
        try:
            moments: dict[bytes | None, datetime] = {
                key: at for _, key, at, _ in online_rows.rows([name], [stored_keys])
            }
        except psycopg.errors.UndefinedTable:  # nothing was ever brought online
            moments = {}
    return [moments.get(key) for key in stored_keys]
