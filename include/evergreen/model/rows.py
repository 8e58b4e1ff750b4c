"""The rows of a built training set, as models take them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.pipeline import Pipeline

from evergreen.errors import EvidenceMissing
from evergreen.handovers.train import TrainingSet
from evergreen.lake import staging
from evergreen.spec.columns import EVENT
from evergreen.spec.kinds import KINDS, FeatureType
from evergreen.spec.schema import ModelSpec


@dataclass(frozen=True)
class Rows:
    """The learning or the evaluation rows, in the order of cutoff and key."""

    frame: pd.DataFrame  # the entities' keys, event_timestamp, features, label
    inputs: pd.DataFrame  # the features as the model takes them
    labels: npt.NDArray[np.int64] | npt.NDArray[np.float64]  # as `Problem.labels` makes them
    keys: npt.NDArray[np.object_]  # the entity of each row
    weights: npt.NDArray[np.float64] | None = None  # how much each row counts, on average 1; None: as much as any other

    @property
    def cutoffs(self) -> list[datetime]:
        """The different cutoffs, in order."""
        return [moment.to_pydatetime() for moment in sorted(self.frame[EVENT].unique())]

    def take(self, positions: npt.NDArray[np.intp]) -> Rows:
        """Some of the rows, by their positions."""
        return Rows(
            self.frame.iloc[positions].reset_index(drop=True),
            self.inputs.iloc[positions].reset_index(drop=True),
            self.labels[positions],
            self.keys[positions],
            None if self.weights is None else self.weights[positions],
        )


def without(rows: Rows, dropped: Collection[str]) -> Rows:
    """The same rows for a model that does without some features."""
    return replace(rows, inputs=rows.inputs.drop(columns=[*dropped], errors="ignore"))


def read(spec: ModelSpec, data: TrainingSet, part: Literal["learn", "evaluate"]) -> Rows:
    """One part of a training set."""
    frame = staging.read(data.staged).to_pandas()
    stretch = data.learn if part == "learn" else data.evaluate
    return of(spec, frame[frame[EVENT].between(stretch.start, stretch.end)].reset_index(drop=True))


def of(spec: ModelSpec, frame: pd.DataFrame) -> Rows:
    """The rows of a frame that has the entities' keys, event_timestamp, features and label."""
    return Rows(
        frame,
        inputs(spec.feature_types, frame),
        spec.problem.labels(frame[spec.label.name]),
        spec.entity.names(frame).to_numpy(object),
        weights(spec, frame),
    )


def weights(spec: ModelSpec, frame: pd.DataFrame) -> npt.NDArray[np.float64] | None:
    """How much each row counts, on average 1, so that penalties mean the same; None: as much as any other.

    Raises:
        EvidenceMissing: none counts.
    """
    if spec.label.weight is None:
        return None
    stated = frame[spec.label.weight].to_numpy(np.float64)
    if len(stated) and not stated.any():
        raise EvidenceMissing(
            f"weighing rows of {spec.model}",
            found=f"`{spec.label.weight}` is 0 in all {len(stated)} rows",
            expected="a weight above 0 in some of them",
            next_step=f"correct {spec.label_sql()}, or train as of another moment",
        )
    return stated / stated.mean() if len(stated) else stated


def inputs(features: Mapping[str, FeatureType], frame: pd.DataFrame) -> pd.DataFrame:
    """The model's inputs out of a frame: numbers and booleans as float64, categories
    as text or None, in the spec's order."""
    columns = {name: KINDS[kind].modelled(frame[name]) for name, kind in features.items()}
    return pd.DataFrame(columns, index=frame.index)


def predict(pipeline: Pipeline, inputs: pd.DataFrame) -> npt.NDArray[np.float64]:
    """As scikit-learn's own scorers ask: a number per row (P(1) of two classes, a regressor's value), or of more
    classes a row of their probabilities."""
    if not hasattr(pipeline, "predict_proba"):
        return np.asarray(pipeline.predict(inputs), dtype=np.float64)
    probabilities = np.asarray(pipeline.predict_proba(inputs), dtype=np.float64)
    return probabilities[:, 1] if probabilities.shape[1] == 2 else probabilities
