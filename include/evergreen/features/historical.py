"""A model's features as they were known at given times."""

from __future__ import annotations

from datetime import timedelta

import pandas as pd
from deltalake.exceptions import TableNotFoundError
from feast import FeatureView

from evergreen.errors import EvidenceMissing
from evergreen.features import objects, online_tables
from evergreen.features.offline_store import DeltaOfflineStore
from evergreen.features.repository import answering, feature_store
from evergreen.spec.dataset import DatasetSpec, Reference
from evergreen.spec.schema import ModelSpec


def read(spec: ModelSpec, entity_rows: pd.DataFrame) -> pd.DataFrame:
    """Feast's point-in-time join: for each row (the entities' keys, event_timestamp) the features known at that time.

    Returns:
        The rows, in their order, with one column per feature of the views.

    Raises:
        EvidenceMissing: a view has no table yet.
    """
    if not spec.features:
        return entity_rows
    doing = f"reading historical features of {spec.model}"
    store = feature_store()
    with answering(doing):
        service = store.get_feature_service(spec.model, allow_cache=True)
        try:
            job = store.get_historical_features(
                entity_df=entity_rows, features=service, filter_by_created_timestamp=True
            )
        except TableNotFoundError as error:
            raise EvidenceMissing(
                doing,
                found=f"no feature table yet: {error}",
                expected="every view ingested for at least one interval",
                next_step=f"ingest the first days of {', '.join(spec.datasets)}",
            ) from error
    features: pd.DataFrame = job.to_df()
    return features[[*entity_rows.columns, *spec.stored_types]]


def read_as_declared(spec: ModelSpec, entity_rows: pd.DataFrame, oldest: timedelta | None = None) -> pd.DataFrame:
    """The same join by the spec alone, whatever is registered of the model by now: for the spec of an old version.

    Args:
        oldest: feature rows that are older at a row's moment are not looked for, whatever their view allows.
    """
    if not spec.features:
        return entity_rows
    of_datasets = [each for dataset in _datasets(spec) for each in objects.of_dataset(dataset)]
    references = {
        online_tables.view_name(spec.dataset_of(view), view): list(declared.features)
        for view, declared in spec.features.items()
    }
    views = [each for each in of_datasets if isinstance(each, FeatureView) and each.name in references]
    if oldest is not None:
        for view in views:
            view.ttl = min(view.ttl or oldest, oldest)
    store = feature_store()
    with answering(f"reading historical features of {spec.model} as a version declares them"):
        job = DeltaOfflineStore.get_historical_features(
            store.config,
            views,
            [f"{view}:{feature}" for view, features in references.items() for feature in features],
            entity_rows,
            store.registry,
            store.project,
            filter_by_created_timestamp=True,
        )
    features: pd.DataFrame = job.to_df()
    return features[[*entity_rows.columns, *spec.stored_types]]


def _datasets(spec: ModelSpec) -> list[DatasetSpec]:
    """What a spec says of the views that it uses: one that was read back knows its datasets by this alone."""
    if not spec.data:
        return [spec.own_data()]
    own = Reference.model_construct(**{name: value for name, value in spec.entity.__dict__.items() if name != "name"})
    entities = {spec.entity.name: own, **spec.references}
    return [
        DatasetSpec.of_model(
            spec.folder,
            dataset=name,
            owner=spec.owner,
            entities=entities,
            sources={},
            features={view: spec.features[view] for view in tables.views if view in spec.features},
        )
        for name, tables in spec.data.items()
    ]
