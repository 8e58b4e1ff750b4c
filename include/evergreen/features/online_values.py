"""A model's features in the online store: written from feature partitions, withdrawn where a
partition was corrected, read for requests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Any

import psycopg
import pyarrow as pa
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Map, Value

from evergreen.errors import PermanentError
from evergreen.features.objects import view_name
from evergreen.features.online_store import Packed
from evergreen.features.repository import answering, feature_store
from evergreen.spec.columns import EVENT, KNOWN_AT
from evergreen.spec.dataset import DatasetSpec
from evergreen.spec.kinds import KINDS
from evergreen.spec.schema import ModelSpec

_ROWS_A_WRITE = 10_000  # bounds the Python objects that are made of them


def write(spec: DatasetSpec, view: str, rows: pa.Table) -> list[bytes]:
    """Write rows of a feature partition (key, features, event_timestamp, known_at) to the online store; older ones than
    the stored are ignored.

    Not by `FeatureStore.materialize`: it marks the view as materializing and appends the interval in the shared
    registry at each call, which runs side by side would overwrite. Not by `write_to_online_store`: it ignores a table
    in which every feature is null, and the stale values before an outage would live on.

    Returns:
        The entities' keys as they are stored, for `others`.
    """
    store, name = feature_store(), view_name(spec.name, view)
    written: list[bytes] = []
    for batch in rows.to_batches(max_chunksize=_ROWS_A_WRITE):
        with answering(f"writing {name} to the online store"):
            written += store.provider.online_store.write(store.config, name, _rows(spec, view, batch))
    return written


def others(spec: DatasetSpec, view: str, as_of: datetime, but: Sequence[bytes]) -> list[str | int]:
    """Keys of the entities whose online row is of a partition (its event time is
    `as_of`), but for those that were written."""
    store, name = feature_store(), view_name(spec.name, view)
    with answering(f"looking for corrected rows of {name} in the online store"):
        entities = store.provider.online_store.others(store.config, name, as_of, but)
    return [_python(entity.entity_values[0]) for entity in entities]


def withdraw(
    spec: DatasetSpec, view: str, as_of: datetime, keys: Sequence[str | int], instead: Iterable[pa.Table]
) -> None:
    """Remove the online rows that entities have of a partition, and write what
    earlier ones say instead, both or none."""
    store, name, key = feature_store(), view_name(spec.name, view), spec.entity_of(view).key
    with answering(f"withdrawing corrected rows of {name} from the online store"):
        entities = [_entity(key, value) for value in keys]
        rows = chain.from_iterable(_rows(spec, view, table) for table in instead)
        store.provider.online_store.withdraw(store.config, name, as_of, entities, rows)


def _rows(spec: DatasetSpec, view: str, rows: pa.Table | pa.RecordBatch) -> Iterator[Packed]:
    """The rows of feature partitions as the online store takes them."""
    key = spec.entity_of(view).key
    entities = (_entity(key, value) for value in rows[key].to_pylist())
    times = (rows[time].to_pylist() for time in (EVENT, KNOWN_AT))
    return zip(entities, _packed(spec, view, rows), *times, strict=True)


def _packed(spec: DatasetSpec, view: str, rows: pa.Table | pa.RecordBatch) -> Iterator[bytes]:
    """Each row's features as a serialized `Map`; null and NaN as a value without a kind, which is Feast's null."""
    fields = [(name, KINDS[kind].feast_field) for name, kind in spec.features[view].features.items()]
    for row in zip(*(rows[name].to_pylist() for name, _ in fields), strict=True):
        packed = Map()
        for (name, field), value in zip(fields, row, strict=True):
            stored = packed.val[name]
            if value is not None and value == value:
                setattr(stored, field, value)
        yield packed.SerializeToString()


def read(spec: ModelSpec, requests: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The newest features of each request's entities, in the order of the requests.

    Args:
        requests: key column → value of each request; one that is null, or that
            the store does not know, has no features.

    Returns:
        `{"features": {name: value or None}, "features_at": datetime or None}` a request; `features_at` is the newest
        event time among the views, None when the store knows nothing of its entities.

    Raises:
        PermanentError: the model was never applied, so the store has no tables for it.
    """
    if not requests:
        return []
    store = feature_store()
    with answering(f"reading online features of {spec.model}"):
        wanted = {view_name(spec.dataset_of(view), view): spec.entity_of(view).key for view in spec.features}
        entities = {key: [_entity(key, request[key]) for request in requests] for key in wanted.values()}
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
    names = [list(declared.features) for declared in spec.features.values()]
    for rows in zip(*views, strict=True):
        features = {
            name: _python(stored.get(name))
            for (_, stored), of_view in zip(rows, names, strict=True)
            for name in of_view
        }
        newest = max((at for at, _ in rows if at is not None), default=None)
        answers.append(
            {
                "features": features,
                "features_at": newest and newest.astimezone(UTC),
            }
        )
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
