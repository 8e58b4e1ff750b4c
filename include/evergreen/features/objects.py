"""Feast's objects of a model: built from its spec, never declared twice, and applied where they are missing or differ.

Stages apply their own model's; `feast apply` in feature_repo/ does the same for every model, and for hand-written
definitions (docs/feast.md).
"""

from __future__ import annotations

import hashlib
import logging
from datetime import timedelta
from typing import Any

from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource
from feast.data_format import DeltaFormat
from feast.errors import FeatureServiceNotFoundException

from evergreen import database
from evergreen.features.repository import REGISTRY, answering, feature_store
from evergreen.lake import tables
from evergreen.lake.schema import FEATURES
from evergreen.spec.columns import EVENT, KNOWN_AT
from evergreen.spec.kinds import KINDS
from evergreen.spec.schema import ModelSpec

log = logging.getLogger(__name__)

# Tag of a model's FeatureService: fingerprint of everything that was applied with it.
_DEFINITION = "evergreen.definition"


def objects(spec: ModelSpec) -> list[Any]:
    """The model's Feast objects: its views' entities, one view a feature view, and
    the service that names all its features."""
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
    with answering(f"applying the Feast objects of {spec.model}"):
        if _applied(store, service):
            return False
        with database.locked(REGISTRY, "feast"):
            store.refresh_registry()
            if _applied(store, service):
                return False
            store.apply(declared)
            store.apply([service])  # last: its tag says that the views and their online tables are in place
    log.info("Feast objects of %s applied: %s", spec.model, ", ".join(item.name for item in (*declared, service)))
    return True


def _applied(store: FeatureStore, service: FeatureService) -> bool:
    try:
        registered = store.get_feature_service(service.name, allow_cache=True)
    except FeatureServiceNotFoundException:
        return False
    return bool(registered.tags.get(_DEFINITION) == service.tags[_DEFINITION])
