"""Feast's objects of datasets and models: built from what is declared, never declared twice, and applied where they are
missing or differ.

Stages apply those of their own dataset or model; `feast apply` in feature_repo/ does the same for all, and for
hand-written definitions (docs/feast.md).
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from datetime import timedelta

from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource
from feast.data_format import DeltaFormat
from feast.errors import FeatureServiceNotFoundException, FeatureViewNotFoundException

from evergreen import database
from evergreen.features.online_tables import view_name
from evergreen.features.repository import REGISTRY, answering, feature_store
from evergreen.lake import tables
from evergreen.lake.schema import FEATURES
from evergreen.spec.columns import EVENT, KNOWN_AT
from evergreen.spec.dataset import DatasetSpec, Freshness
from evergreen.spec.kinds import KINDS
from evergreen.spec.schema import ModelSpec

log = logging.getLogger(__name__)

# Tag of a FeatureView and of a FeatureService: fingerprint of everything that was applied with it.
_DEFINITION = "evergreen.definition"


def of_dataset(spec: DatasetSpec) -> list[Entity | FeatureView]:
    """The dataset's Feast objects: its entities that have features, and one view a feature view."""
    about = {view: _entities(spec, view) for view in spec.features}
    entities = {entity.name: entity for of_view in about.values() for entity in of_view}
    return [*entities.values(), *(_view(spec, view, of_view) for view, of_view in about.items())]


def _entities(spec: DatasetSpec, view: str) -> list[Entity]:
    """Whose features a view has: an entity of Feast's, which has one join key, for each column of the key."""
    about = spec.entity_of(view)
    return [
        Entity(
            name=about.name if len(about.columns) == 1 else f"{about.name}__{column}",
            join_keys=[column],
            value_type=KINDS[kind].value_type(),
        )
        for column, kind in about.columns.items()
    ]


def _view(spec: DatasetSpec, view: str, entities: Sequence[Entity]) -> FeatureView:
    name, about = view_name(spec.name, view), spec.entity_of(view)
    built = FeatureView(
        name=name,
        entities=[*entities],
        ttl=_expiry(spec.features[view].freshness),
        schema=[
            Field(name=column, dtype=KINDS[kind].feast_type())
            for column, kind in {**about.columns, **spec.features[view].features}.items()
        ],
        source=FileSource(
            name=name,
            path=tables.table_path(FEATURES.of(spec.name, view)),
            file_format=DeltaFormat(),
            timestamp_field=EVENT,
            created_timestamp_column=KNOWN_AT,
        ),
        tags={"dataset": spec.name},
        owner=spec.owner.email,
    )
    fingerprint = hashlib.sha256()
    for entity in entities:
        fingerprint.update(entity.to_proto().spec.SerializeToString(deterministic=True))
    declared = built.to_proto().spec
    declared.batch_source.ClearField("meta")  # when it was built
    fingerprint.update(declared.SerializeToString(deterministic=True))
    built.tags[_DEFINITION] = fingerprint.hexdigest()
    return built


def _expiry(freshness: Freshness | None) -> timedelta:
    """What the server leaves out for its age a training has not seen either. Zero, which is Feast's word for no expiry,
    where nothing is left out: the look-back is part of the query."""
    return freshness.bound if freshness is not None and freshness.beyond == "nulls" else timedelta(0)


def of_model(spec: ModelSpec) -> FeatureService:
    """The service that names all features that a model uses, of the views of its datasets."""
    views = {
        each.name: each
        for dataset in spec.datasets.values()
        for each in of_dataset(dataset)
        if isinstance(each, FeatureView)
    }
    used: list[FeatureView] = []
    fingerprint = hashlib.sha256()
    for view, declared in spec.features.items():
        whole = views[view_name(spec.dataset_of(view), view)]
        used.append(whole[[*declared.features]])
        fingerprint.update(repr((whole.tags[_DEFINITION], [*declared.features])).encode())
    tags = {"model": spec.model, _DEFINITION: fingerprint.hexdigest()}
    return FeatureService(
        name=spec.model, features=used, description=spec.description, owner=spec.owner.email, tags=tags
    )


def ensure_applied(spec: DatasetSpec | ModelSpec) -> bool:
    """Apply the Feast objects of a dataset, or of a model and its datasets, where they are missing or differ from what
    is declared; says whether it did.

    It adds and changes, and never deletes: what is no longer declared goes with the next `feast apply`.
    """
    if isinstance(spec, DatasetSpec):
        return _ensure_applied(spec.name, of_dataset(spec))
    changed = [ensure_applied(dataset) for dataset in spec.datasets.values()]
    services = [of_model(spec)] if spec.features else []  # what requests say is none of Feast's
    return _ensure_applied(spec.name, services) or any(changed)


def _ensure_applied(name: str, wanted: Sequence[Entity | FeatureView | FeatureService]) -> bool:
    store = feature_store()
    with answering(f"applying the Feast objects of {name}"):
        if _applied(store, wanted):
            return False
        with database.locked(REGISTRY, "feast"):
            store.refresh_registry()
            if _applied(store, wanted):
                return False
            store.apply([*wanted])
    log.info("Feast objects of %s applied: %s", name, ", ".join(item.name for item in wanted))
    return True


def _applied(store: FeatureStore, wanted: Sequence[Entity | FeatureView | FeatureService]) -> bool:
    """Whether the registry has them all, as they are wanted; an entity comes with the views that are about it."""
    try:
        for item in wanted:
            if isinstance(item, FeatureView):
                tags = store.get_feature_view(item.name, allow_registry_cache=True).tags
            elif isinstance(item, FeatureService):
                tags = store.get_feature_service(item.name, allow_cache=True).tags
            else:
                continue
            if tags.get(_DEFINITION) != item.tags[_DEFINITION]:
                return False
    except (FeatureServiceNotFoundException, FeatureViewNotFoundException):
        return False
    return True
