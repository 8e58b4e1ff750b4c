"""A version in memory: loaded whole, and served only after it has answered once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel

from evergreen.errors import ModelUnloadable
from evergreen.features.online_rows import Features, Rows
from evergreen.registry import loading, records
from evergreen.registry.artifacts import Read
from evergreen.registry.rules import Version
from evergreen.serve.messages import request_type
from evergreen.spec import ago
from evergreen.spec.dataset import Freshness
from evergreen.spec.problem import Problem
from evergreen.spec.schema import ModelSpec

if TYPE_CHECKING:
    import pandas as pd

    from evergreen.runtime.encoding import Values


@dataclass(frozen=True)
class Loaded:
    """A version in memory that has answered once."""

    spec: ModelSpec  # the one that it was trained with: the model's folder may have moved on
    version: Version
    predictor: loading.Predictor
    threshold: float | None = None  # the operating one; None: as its spec has it
    rows: Rows | None = None  # reads the online store; None: by itself
    loaded_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def predict(self, features: Sequence[dict[str, Any]] | Values) -> npt.NDArray[np.float64]:
        """A prediction for each row of features, as `spec.problem` describes them."""
        return self.predictor.answer(features)

    @cached_property
    def problem(self) -> Problem:
        """What it predicts, and by which threshold it decides."""
        return self.spec.problem.at(self.threshold)

    @cached_property
    def inputs(self) -> list[str]:
        """What a request says itself, by name."""
        return list(self.spec.asking.inputs)

    @cached_property
    def dated(self) -> Mapping[str, ago.Dated]:
        """The features and inputs that are timestamps or dates."""
        return ago.inputs(self.spec)

    @cached_property
    def bounds(self) -> Mapping[str, Freshness]:
        """view → how old its features may be, of the views that say so."""
        declared = self.spec.features.items()
        return {view: each.freshness for view, each in declared if each.freshness is not None}

    @cached_property
    def categories(self) -> Mapping[str, frozenset[str]]:
        """The values of each category that the version was trained with."""
        return self.predictor.categories()

    @cached_property
    def background(self) -> pd.DataFrame:
        """Inputs of the version's reference, which say what is usual.

        Raises:
            EvidenceMissing, ArtifactUntrusted, ServiceUnavailable: it cannot be had.
        """
        return loading.background(self.spec, records.candidate(self.version.run_id))

    @property
    def quick(self) -> bool:
        """Whether it answers a row in microseconds: it has a graph."""
        return self.predictor.quick

    @cached_property
    def online(self) -> Features:
        """What the online store knows of its entities."""
        return Features(self.spec, self.rows)

    def takes(self, other: Loaded) -> bool:
        """Whether it takes what another version is asked, in the same words."""
        return self.spec.asking.sent == other.spec.asking.sent

    @cached_property
    def request_type(self) -> type[BaseModel]:
        """What a request to this version looks like."""
        return request_type(self.spec)


def load(model: str, number: int, read: Read, rows: Rows | None = None) -> Loaded:
    """A version that has answered once: a row in which nothing is known, which every version must take.

    Args:
        rows: reads the online store; None: the version does by itself.
    """
    version = records.version(model, number)
    spec = loading.spec(model, version, read)
    threshold = loading.threshold(spec, records.candidate(version.run_id), read)
    loaded = Loaded(spec, version, loading.load(model, number, read), threshold, rows)
    try:
        answer = loaded.predict([dict.fromkeys(loaded.spec.feature_types)])
    except Exception as error:  # whatever a model raises that does not fit the spec
        raise _unfit(loaded, f"{type(error).__name__}: {error}") from error
    if not loaded.spec.problem.is_answer(answer, rows=1):
        raise _unfit(loaded, f"the answer {answer!r}")
    return loaded


def _unfit(loaded: Loaded, observed: str) -> ModelUnloadable:
    return ModelUnloadable(
        f"letting version {loaded.version.number} of {loaded.spec.model} answer once",
        found=observed,
        expected=f"{loaded.spec.problem.answered} from the features {', '.join(loaded.spec.feature_types)}",
        next_step="see the version in MLflow, then train again",
    )
