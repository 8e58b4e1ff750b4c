"""Feast for one model: its objects, who applies them, writing and reading features.

The objects are built from the spec, never declared twice. Stages apply their own model's objects when they are missing or
different; `feast apply` in feature_repo/ does the same for every model, and for hand-written definitions (docs/feast.md).
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any

import pandas as pd
import psycopg
import psycopg_pool
import pyarrow as pa
import sqlalchemy.exc
from deltalake.exceptions import TableNotFoundError
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource
from feast.data_format import DeltaFormat
from feast.errors import FeatureServiceNotFoundException
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Map, Value

from evergreen import database
from evergreen.answers import of_postgres
from evergreen.errors import EvidenceMissing, PermanentError
from evergreen.features.online_store import Packed
from evergreen.lake import tables
from evergreen.lake.schema import FEATURES
from evergreen.settings import settings
from evergreen.spec.columns import EVENT, KNOWN_AT
from evergreen.spec.kinds import KINDS
from evergreen.spec.schema import ModelSpec

log = logging.getLogger(__name__)

_DEFINITION = (
    "evergreen.definition"  # tag of a model's FeatureService: fingerprint of everything that was applied with it
)
_REGISTRY = "feast registry"  # key of the lock that whoever changes the registry holds
_ROWS_A_WRITE = 10_000  # bounds the Python objects that are made of them

_opening = threading.Lock()
_opened: dict[tuple[int, str, str], FeatureStore] = {}  # at most one


def feature_store() -> FeatureStore:
    """The Feast store of feature_repo/; one per process, shared by its threads.

    Raises:
        ServiceUnavailable: the database does not answer.
    """
    key = (os.getpid(), settings().database_url("feast"), str(settings().project / "feature_repo"))
    with _opening:
        if key not in _opened:
            for (process, *_), store in _opened.items():
                if process == os.getpid():  # else a forked parent's, whose connections are not ours to close
                    store.provider.online_store.disconnect()
                    store.registry.write_engine.dispose()
            _opened.clear()
            _opened[key] = _open(key[2])
        return _opened[key]


def _open(repository: str) -> FeatureStore:
    store = FeatureStore(repo_path=repository)
    # The registry creates its tables when it is opened; processes that do so at once would collide.
    with _service("opening the Feast registry"), database.locked(_REGISTRY, "feast"):
        _ = store.registry
    return store


def objects(spec: ModelSpec) -> list[Any]:
    """The model's Feast objects: its views' entities, one view a feature view, and the service that names all its features."""
    declared_entities = {view: spec.entity_of(view) for view in spec.features}
    entities = {
        entity.name: Entity(
            name=entity.name,
            join_keys=[entity.key],
            value_type=KINDS[entity.type].value_type(),
        )
        for entity in declared_entities.values()
    }
    views = [
        FeatureView(
            name=view_name(spec, view),
            entities=[entities[declared_entities[view].name]],
            ttl=timedelta(0),  # no expiry: the look-back is part of the query, and training and serving read alike
            schema=[
                Field(name=name, dtype=KINDS[kind].feast_type())
                for name, kind in {
                    declared_entities[view].key: declared_entities[view].type,
                    **declared.features,
                }.items()
            ],
            source=FileSource(
                name=view_name(spec, view),
                path=tables.table_path(FEATURES.of(spec.model, view)),
                file_format=DeltaFormat(),
                timestamp_field=EVENT,
                created_timestamp_column=KNOWN_AT,
            ),
            tags={"model": spec.model},
            owner=spec.owner.email,
        )
        for view, declared in spec.features.items()
    ]
    fingerprint = hashlib.sha256()
    for item in (*entities.values(), *views):
        declared = item.to_proto().spec
        if isinstance(item, FeatureView):
            declared.batch_source.ClearField("meta")  # when it was built
        fingerprint.update(declared.SerializeToString(deterministic=True))
    tags = {"model": spec.model, _DEFINITION: fingerprint.hexdigest()}
    service = FeatureService(
        name=spec.model, features=views, description=spec.description, owner=spec.owner.email, tags=tags
    )
    return [*entities.values(), *views, service]


def view_name(spec: ModelSpec, view: str) -> str:
    """What a view of the spec is called in Feast, where all models share one project."""
    return f"{spec.model}__{view}"


def ensure_applied(spec: ModelSpec) -> bool:
    """Apply the model's own objects where they are missing or differ from the spec; says whether it did.

    It adds and changes, and never deletes: what a model no longer declares goes with the next `feast apply`.
    """
    *declared, service = objects(spec)
    store = feature_store()
    with _service(f"applying the Feast objects of {spec.model}"):
        if _applied(store, service):
            return False
        with database.locked(_REGISTRY, "feast"):
            store.refresh_registry()
            if _applied(store, service):
                return False
            store.apply(declared)
            store.apply([service])  # last: its tag says that the views and their online tables are in place
    log.info("Feast objects of %s applied: %s", spec.model, ", ".join(item.name for item in (*declared, service)))
    return True


def _applied(store: FeatureStore, service: FeatureService) -> bool:
    try:
        found = store.get_feature_service(service.name, allow_cache=True)
    except FeatureServiceNotFoundException:
        return False
    return bool(found.tags.get(_DEFINITION) == service.tags[_DEFINITION])


def write_online(spec: ModelSpec, view: str, rows: pa.Table) -> list[bytes]:
    """Write rows of a feature partition (key, features, event_timestamp, known_at) to the online store; older ones than the
    stored are ignored.

    Not by `FeatureStore.materialize`: it marks the view as materializing and appends the interval in the shared registry at
    each call, which runs side by side would overwrite. Not by `write_to_online_store`: it ignores a table in which every
    feature is null, and the stale values before an outage would live on.

    Returns:
        The entities' keys as they are stored, for `others_online`.
    """
    store, name = feature_store(), view_name(spec, view)
    written: list[bytes] = []
    for batch in rows.to_batches(max_chunksize=_ROWS_A_WRITE):
        with _service(f"writing {name} to the online store"):
            written += store.provider.online_store.write(store.config, name, _rows(spec, view, batch))
    return written


def others_online(spec: ModelSpec, view: str, as_of: datetime, but: Sequence[bytes]) -> list[str | int]:
    """Keys of the entities whose online row is of a partition (its event time is `as_of`), but for those that were written."""
    store, name = feature_store(), view_name(spec, view)
    with _service(f"looking for corrected rows of {name} in the online store"):
        found = store.provider.online_store.others(store.config, name, as_of, but)
    return [_python(entity.entity_values[0]) for entity in found]


def withdraw_online(
    spec: ModelSpec, view: str, as_of: datetime, keys: Sequence[str | int], instead: Iterable[pa.Table]
) -> None:
    """Remove the online rows that entities have of a partition, and write what earlier ones say instead, both or none."""
    store, name, key = feature_store(), view_name(spec, view), spec.entity_of(view).key
    with _service(f"withdrawing corrected rows of {name} from the online store"):
        entities = [_entity(key, value) for value in keys]
        rows = chain.from_iterable(_rows(spec, view, table) for table in instead)
        store.provider.online_store.withdraw(store.config, name, as_of, entities, rows)


def _rows(spec: ModelSpec, view: str, rows: pa.Table | pa.RecordBatch) -> Iterator[Packed]:
    """The rows of feature partitions as the online store takes them."""
    key = spec.entity_of(view).key
    entities = (_entity(key, value) for value in rows[key].to_pylist())
    times = (rows[time].to_pylist() for time in (EVENT, KNOWN_AT))
    return zip(entities, _packed(spec, view, rows), *times, strict=True)


def _packed(spec: ModelSpec, view: str, rows: pa.Table | pa.RecordBatch) -> Iterator[bytes]:
    """Each row's features as a serialized `Map`; null and NaN as a value without a kind, which is Feast's null."""
    fields = [(name, KINDS[kind].feast_field) for name, kind in spec.features[view].features.items()]
    for row in zip(*(rows[name].to_pylist() for name, _ in fields), strict=True):
        packed = Map()
        for (name, field), value in zip(fields, row, strict=True):
            stored = packed.val[name]
            if value is not None and value == value:
                setattr(stored, field, value)
        yield packed.SerializeToString()


def online_features(spec: ModelSpec, requests: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The newest features of each request's entities, in the order of the requests.

    Args:
        requests: key column → value of each request; one that is null, or that the store does not know, has no features.

    Returns:
        `{"features": {name: value or None}, "features_at": datetime or None}` a request; `features_at` is the newest event
        time among the views, None when the store knows nothing of its entities.

    Raises:
        PermanentError: the model was never applied, so the store has no tables for it.
    """
    if not requests:
        return []
    store = feature_store()
    with _service(f"reading online features of {spec.model}"):
        wanted = {view_name(spec, view): spec.entity_of(view).key for view in spec.features}
        entities = {key: [_entity(key, request[key]) for request in requests] for key in wanted.values()}
        try:
            views = store.provider.online_store.read(store.config, wanted, entities)
        except psycopg.errors.UndefinedTable as error:
            raise PermanentError(
                f"reading online features of {spec.model}", found=str(error).strip().splitlines()[0],
                expected="the model's views in the online store", next_step=f"run {spec.model}__ingest for an interval, or `feast apply`",
            ) from error  # fmt: skip
    answers = []
    names = [list(declared.features) for declared in spec.features.values()]
    for found in zip(*views, strict=True):
        features = {
            name: _python(stored.get(name))
            for (_, stored), of_view in zip(found, names, strict=True)
            for name in of_view
        }
        newest = max((at for at, _ in found if at is not None), default=None)
        answers.append({
            "features": features, "features_at": newest and newest.astimezone(UTC),
        })  # fmt: skip
    return answers


def _entity(key: str, value: str | int | None) -> EntityKey | None:
    if value is None:
        return None
    stored = Value(int64_val=value) if isinstance(value, int) else Value(string_val=value)
    return EntityKey(join_keys=[key], entity_values=[stored])


def _python(value: Value | None) -> Any:
    """A stored value as a Python object; Feast stores a null as a value without a kind."""
    kind = value.WhichOneof("val") if value is not None else None
    return getattr(value, kind) if kind else None


def historical_features(spec: ModelSpec, entity_rows: pd.DataFrame) -> pd.DataFrame:
    """Feast's point-in-time join: for each row (the entities' keys, event_timestamp) the features known at that time.

    Returns:
        The rows, in their order, with one column per feature of the views.

    Raises:
        EvidenceMissing: a view has no table yet.
    """
    doing = f"reading historical features of {spec.model}"
    store = feature_store()
    with _service(doing):
        service = store.get_feature_service(spec.model, allow_cache=True)
        try:
            job = store.get_historical_features(
                entity_df=entity_rows, features=service, filter_by_created_timestamp=True
            )
        except TableNotFoundError as error:
            raise EvidenceMissing(
                doing, found=f"no feature table yet: {error}", expected="every view ingested for at least one interval",
                next_step=f"run {spec.model}__ingest for the model's first days",
            ) from error  # fmt: skip
    found: pd.DataFrame = job.to_df()
    return found[[*entity_rows.columns, *spec.stored_types]]


@contextmanager
def _service(doing: str) -> Iterator[None]:
    """What Postgres' silence and its refusals mean: Feast reaches it by psycopg and, for the registry, by SQLAlchemy."""
    try:
        yield
    except (psycopg.OperationalError, sqlalchemy.exc.OperationalError, psycopg_pool.PoolTimeout) as error:
        raise of_postgres(doing, error, database.remote("feast")) from error
