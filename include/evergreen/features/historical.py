"""A model's features as they were known at given times."""

from __future__ import annotations

import pandas as pd
from deltalake.exceptions import TableNotFoundError

from evergreen.errors import EvidenceMissing
from evergreen.features.repository import answering, feature_store
from evergreen.spec.schema import ModelSpec


def read(spec: ModelSpec, entity_rows: pd.DataFrame) -> pd.DataFrame:
    """Feast's point-in-time join: for each row (the entities' keys, event_timestamp) the features known at that time.

    Returns:
        The rows, in their order, with one column per feature of the views.

    Raises:
        EvidenceMissing: a view has no table yet.
    """
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
