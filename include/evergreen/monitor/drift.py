"""Distances between a window and the reference, and the Evidently report that shows them.

The decision uses all rows; the report shows a sample of at most `report_rows` of each side. Both use the same definitions, so on
the same rows they say the same: normed Wasserstein for numbers, Jensen-Shannon for categories, nulls left out.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from evergreen.spec.schema import FeatureType, ModelSpec

PREDICTION = "prediction"
_SEED = 0


def distances(spec: ModelSpec, window: pd.DataFrame, reference: pd.DataFrame) -> dict[str, float]:
    """Column → distance, of every feature and the prediction; a column without values on one side has none."""
    found = {}
    for name, kind in {**_features(spec, reference), PREDICTION: "float"}.items():
        ours, theirs = window[name].dropna(), reference[name].dropna()
        if len(ours) and len(theirs):
            found[name] = _categories(ours, theirs) if kind == "category" else _numbers(ours, theirs)
    return found


def missing(window: pd.DataFrame, reference: pd.DataFrame) -> dict[str, float]:
    """Feature → growth of its share of nulls; negative where there are fewer. One that is no longer computed is null everywhere."""
    features = [name for name in map(str, reference) if name != PREDICTION]
    now, then = window.reindex(columns=features).isna().mean(), reference[features].isna().mean()
    return {name: float(now[name] - then[name]) for name in features}


def _features(spec: ModelSpec, reference: pd.DataFrame) -> dict[str, FeatureType]:
    """The features that the version learned from; one that the spec has gained since is watched with the next version."""
    return {name: kind for name, kind in spec.feature_types.items() if name in reference}


def _numbers(window: pd.Series[float], reference: pd.Series[float]) -> float:
    scale = max(float(np.std(reference.astype(float))), 0.001)
    return float(wasserstein_distance(reference.astype(float), window.astype(float))) / scale


def _categories(window: pd.Series[str], reference: pd.Series[str]) -> float:
    names = sorted(set(window) | set(reference))
    shares = [side.value_counts(normalize=True).reindex(names, fill_value=0.0) for side in (reference, window)]
    return float(jensenshannon(*shares))


def report(spec: ModelSpec, window: pd.DataFrame, reference: pd.DataFrame, path: Path) -> None:
    """Write the Evidently report: one HTML file, readable without a network."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    features = _features(spec, reference)
    numbers = [name for name, kind in features.items() if kind != "category"] + [PREDICTION]
    categories = [name for name, kind in features.items() if kind == "category"]
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=categories)
    sides = [_sample(side[[*numbers, *categories]], spec.monitoring.report_rows) for side in (window, reference)]
    # A column without values cannot be drawn; `distances` and `missing` have told about it.
    drawn = [name for name in [*numbers, *categories] if all(side[name].notna().any() for side in sides)]
    bound = spec.monitoring.feature_drift
    preset = DataDriftPreset(
        columns=drawn, drift_share=spec.monitoring.drifted_share,
        num_method="wasserstein", num_threshold=bound, cat_method="jensenshannon", cat_threshold=bound,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numpy and plotly on constant columns, inside Evidently
        snapshot = Report([preset]).run(*(Dataset.from_pandas(side, definition) for side in sides))
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        snapshot.save_html(str(partial))
    partial.rename(path)


def _sample(side: pd.DataFrame, rows: int) -> pd.DataFrame:
    return side if len(side) <= rows else side.sample(rows, random_state=_SEED)
