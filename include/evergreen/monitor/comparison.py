"""Distances between a window and the reference, of all rows.

Normed Wasserstein for numbers, Jensen-Shannon for categories, nulls left out; the report (drift_report) uses the same.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from evergreen.spec.kinds import KINDS, FeatureType
from evergreen.spec.problem import is_output
from evergreen.spec.schema import ModelSpec


def distances(spec: ModelSpec, window: pd.DataFrame, reference: pd.DataFrame) -> dict[str, float]:
    """Column → distance, of every feature and of the predictions; a column without values on one side has none."""
    kinds = watched(spec, reference) | dict.fromkeys(outputs(window, reference), "float")
    measured = {}
    for name, kind in kinds.items():
        ours, theirs = window[name].dropna(), reference[name].dropna()
        if len(ours) and len(theirs):
            measured[name] = _numbers(ours, theirs) if KINDS[kind].numeric else _categories(ours, theirs)
    return measured


def missing(window: pd.DataFrame, reference: pd.DataFrame) -> dict[str, float]:
    """Feature → growth of its share of nulls; negative where there are fewer.

    One that is no longer computed is null everywhere.
    """
    features = [name for name in map(str, reference) if not is_output(name)]
    now, then = window.reindex(columns=features).isna().mean(), reference[features].isna().mean()
    return {name: float(now[name] - then[name]) for name in features}


def watched(spec: ModelSpec, reference: pd.DataFrame) -> dict[str, FeatureType]:
    """The features that the version learned from; one that the spec has gained
    since is watched with the next version."""
    return {name: kind for name, kind in spec.feature_types.items() if name in reference}


def outputs(window: pd.DataFrame, reference: pd.DataFrame) -> list[str]:
    """The columns of predictions that both sides have: of a version that learned other classes
    than are declared now, the common ones."""
    return [name for name in map(str, reference) if is_output(name) and name in window]


def _numbers(window: pd.Series[float], reference: pd.Series[float]) -> float:
    scale = max(float(np.std(reference.astype(float))), 0.001)
    return float(wasserstein_distance(reference.astype(float), window.astype(float))) / scale


def _categories(window: pd.Series[str], reference: pd.Series[str]) -> float:
    names = sorted(set(window) | set(reference))
    shares = [side.value_counts(normalize=True).reindex(names, fill_value=0.0) for side in (reference, window)]
    return float(jensenshannon(*shares))
