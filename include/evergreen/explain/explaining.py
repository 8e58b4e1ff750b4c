"""What answers are made of: those of the prediction log, and a few to evaluation rows for a version's card."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from evergreen.errors import EvergreenError, EvidenceMissing, TransientError
from evergreen.handovers.explanation import ExplainedRow, Explanation
from evergreen.model import calibrating
from evergreen.model.contributions import Floats, adds_up, explain, scale_of
from evergreen.model.rows import inputs, predict
from evergreen.registry import loading, pipelines, records, signatures
from evergreen.registry.contents import Explanations
from evergreen.registry.rules import Version
from evergreen.serve import predictions
from evergreen.serve.predictions import Prediction
from evergreen.spec.schema import ModelSpec

log = logging.getLogger(__name__)

_AS_LOGGED = 1e-4  # a graph answers in single precision


@dataclass(frozen=True)
class Explained:
    """A prediction with what it was made of, or why nothing is said of that."""

    prediction: Prediction
    scale: str
    explanation: Explanation | None
    reason: str  # of no explanation; empty: there is one


@dataclass(frozen=True)
class _Loaded:
    """A version, and the inputs of its reference, which say what is usual."""

    spec: ModelSpec
    pipeline: Pipeline
    background: pd.DataFrame

    @classmethod
    def of(cls, model: str, version: Version) -> _Loaded:
        candidate = records.candidate(version.run_id)
        signatures.check(model, version, candidate)
        spec = loading.spec(model, version)
        return cls(spec, pipelines.pipeline(version.run_id), loading.background(spec, candidate))

    def explained(self, row: pd.DataFrame, decided: object) -> tuple[str, Explanation | None, str]:
        """The scale, and the explanation of a row of inputs; where its parts do not add up, why there is none."""
        scale, score = raw(self.spec, self.pipeline, decided)
        made = explain(row, self.background, score, self.spec.search.seed)
        if not adds_up(made):
            return scale, None, f"the parts miss the score by {made.off:.3g}: they are not shown"
        return scale, made, ""


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


def of_version(model: str, version: Version) -> Explanations:
    """A version's highest, median and lowest answer to the evaluation rows that are kept as its reference; of several
    classes by the probability of the class that is answered.

    Raises:
        TransientError: what the version is read from does not answer.
    """
    try:
        return Explanations(rows=tuple(_examples(_Loaded.of(model, version))))
    except TransientError:
        raise
    except Exception as error:  # noqa: BLE001  whatever a family's library raises: no version waits for this
        log.warning("version %d of %s is not explained: %s: %s", version.number, model, type(error).__name__, error)
        # The words of a library may have a value of a row.
        told = error.found if isinstance(error, EvergreenError) else f"{type(error).__name__}, see the log of `card`"
        return Explanations(rows=(), reason=told)


def _examples(loaded: _Loaded) -> Iterator[ExplainedRow]:
    problem = loaded.spec.problem
    answered = predict(loaded.pipeline, loaded.background)
    ranked, decided = answered.max(axis=1) if problem.by_class else answered, problem.classes_of(answered)
    order = np.argsort(-ranked, kind="stable").tolist()
    if not order:
        return
    for which, at in {"highest": order[0], "median": order[len(order) // 2], "lowest": order[-1]}.items():
        (answer,) = problem.answers(answered[[at]])
        explained = loaded.explained(loaded.background.iloc[[at]], None if decided is None else decided[at])
        yield ExplainedRow(which, answer, *explained)


def _explained(model: str, logged: list[Prediction]) -> Iterator[Explained]:
    for number in sorted({each.version for each in logged}):
        loaded = _Loaded.of(model, records.version(model, number))
        yield from (_one(loaded, each) for each in logged if each.version == number)


def _one(loaded: _Loaded, logged: Prediction) -> Explained:
    spec, names = loaded.spec, list(loaded.spec.feature_types)
    scale, _ = raw(spec, loaded.pipeline, logged.decided)
    if set(logged.features) != set(names):
        return Explained(logged, scale, None, "the log has other inputs than the version takes")
    row = inputs(spec.feature_types, pd.DataFrame.from_records([dict(logged.features)], columns=names))
    again = spec.problem.answers(predict(loaded.pipeline, row))[0]
    answered = logged.answered
    if answered is None or not _same(again, answered):
        return Explained(logged, scale, None, f"the version answers {again} to it now, and answered {answered}")
    return Explained(logged, *loaded.explained(row, logged.decided))


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
