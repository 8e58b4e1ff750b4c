"""The explanation of a prediction that was answered, from what the log has of it and the version that answered it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import pandas as pd
from sklearn.pipeline import Pipeline

from evergreen.errors import EvidenceMissing
from evergreen.model import calibrating
from evergreen.model.contributions import Explanation, Floats, adds_up, explain, scale_of
from evergreen.model.rows import inputs, predict
from evergreen.registry import artifacts, loading, pipelines, records
from evergreen.registry.contents import Reference
from evergreen.serve import predictions
from evergreen.serve.predictions import Prediction
from evergreen.spec.schema import ModelSpec

_AS_LOGGED = 1e-4  # a graph answers in single precision


@dataclass(frozen=True)
class Explained:
    """A prediction with what it was made of, or why nothing is said of that."""

    prediction: Prediction
    scale: str
    explanation: Explanation | None
    reason: str  # of no explanation; empty: there is one


def of_request(model: str, request_id: str) -> list[Explained]:
    """Every prediction of a request.

    Raises:
        EvidenceMissing: the log has no such request.
        ArtifactUntrusted, ModelUnloadable: its version cannot be loaded.
    """
    logged = predictions.of_request(model, request_id)
    if not logged:
        raise EvidenceMissing(
            f"explaining the request {request_id} of {model}",
            found="nothing of it in the prediction log",
            expected="the request_id of an answer, as long as the log keeps it (retention.log in model.yaml)",
            next_step="take the request_id of the answer itself",
        )
    return list(_explained(model, logged))


def _explained(model: str, logged: list[Prediction]) -> Iterator[Explained]:
    for number in sorted({each.version for each in logged}):
        version = records.version(model, number)
        spec, pipeline = loading.spec(model, version), pipelines.pipeline(version.run_id)
        reference = artifacts.load(records.candidate(version.run_id), Reference).rows
        background = inputs(spec.feature_types, reference.reindex(columns=list(spec.feature_types)))
        for each in logged:
            if each.version == number:
                yield _one(spec, pipeline, background, each)


def _one(spec: ModelSpec, pipeline: Pipeline, background: pd.DataFrame, logged: Prediction) -> Explained:
    names = list(spec.feature_types)
    scale, score = raw(spec, pipeline, logged.decided)
    if set(logged.features) != set(names):
        return Explained(logged, scale, None, "the log has other inputs than the version takes")
    row = inputs(spec.feature_types, pd.DataFrame.from_records([dict(logged.features)], columns=names))
    again = spec.problem.answers(predict(pipeline, row))[0]
    answered = logged.answered
    if answered is None or not _same(again, answered):
        return Explained(logged, scale, None, f"the version answers {again} to it now, and answered {answered}")
    made = explain(row, background, score, spec.search.seed)
    if not adds_up(made):
        return Explained(logged, scale, None, f"the parts miss the score by {made.off:.3g}: they are not shown")
    return Explained(logged, scale, made, "")


def _same(one: object, other: object) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return set(one) == set(other) and all(abs(one[name] - other[name]) <= _AS_LOGGED for name in one)
    if isinstance(one, int | float) and isinstance(other, int | float):
        return bool(abs(one - other) <= _AS_LOGGED * max(1.0, abs(other)))
    return False


def raw(spec: ModelSpec, pipeline: Pipeline, decided: object = None) -> tuple[str, Callable[[pd.DataFrame], Floats]]:
    """The scale on which parts may add up, and the score on it; of several classes that of the one decided on."""
    if spec.problem.kind == "binary":
        # A map of probabilities rises with the score, and parts add up before it alone.
        before = calibrating.uncalibrated(pipeline)
        scale = "log-odds" if hasattr(before, "decision_function") else "probability"
        return f"{scale} before calibration" if before is not pipeline else scale, partial(calibrating.scores, before)
    return scale_of(spec, decided, partial(predict, pipeline))
