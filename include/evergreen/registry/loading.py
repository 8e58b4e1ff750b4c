"""From checked files to a version that answers: with its graph where it has one, else with its pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from pydantic import ValidationError

from evergreen.errors import ModelUnloadable
from evergreen.quoting import shown
from evergreen.registry import artifacts, records, signatures
from evergreen.registry.artifacts import Read
from evergreen.registry.contents import GRAPH, Recipe, Reference, SpecCopy
from evergreen.registry.records import Candidate
from evergreen.registry.rules import Version
from evergreen.spec.problem import Binary
from evergreen.spec.schema import ModelSpec
from evergreen.spec.words import needed

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from evergreen.runtime.encoding import Values


class Predictor(Protocol):
    """A version that answers."""

    quick: ClassVar[bool]  # whether it takes microseconds for a row, and not milliseconds

    def answer(self, rows: Sequence[Mapping[str, Any]] | Values) -> npt.NDArray[np.float64]:
        """A prediction per row of features, as `spec.problem` describes them; null and NaN are missing."""
        ...

    def predict(self, frame: pd.DataFrame) -> npt.NDArray[np.float64]:
        """The same of a frame; its columns are the spec's features in order (numbers float64, categories text or
        None)."""
        ...

    def categories(self) -> Mapping[str, frozenset[str]]:
        """The values of each category that it was trained with."""
        ...


def spec(model: str, version: Version, read: Read = artifacts.read) -> ModelSpec:
    """The spec that a version was trained with, with the features that it takes; else as `declared`."""
    trained = declared(model, version, read)
    return trained if trained.selection is None else taking(trained, records.candidate(version.run_id), read)


def taking(spec: ModelSpec, candidate: Candidate, read: Read = artifacts.read) -> ModelSpec:
    """A spec without the features that a candidate's selection has left out.

    Raises:
        EvidenceMissing, ArtifactUntrusted: its file cannot be had, or is another one than was recorded.
    """
    if Recipe.NAME not in candidate.files:  # an earlier release, which selected nothing
        return spec
    return Recipe.of_bytes(read(candidate, Recipe.NAME)).taking(spec)


def declared(model: str, version: Version, read: Read = artifacts.read) -> ModelSpec:
    """The spec that a version was trained with, as its folder said it; keys that this release no longer knows are left
    out.

    Raises:
        EvidenceMissing, ArtifactUntrusted: its file cannot be had, or is another one than was recorded.
        ModelUnloadable: this release cannot read it.
    """
    return parse_spec(read(records.candidate(version.run_id), SpecCopy.NAME), f"version {version.number} of {model}")


def threshold(spec: ModelSpec, candidate: Candidate, read: Read = artifacts.read) -> float | None:
    """The operating threshold that a candidate decides by, as its training chose it or its spec has it; None: its label
    is not binary.

    Args:
        spec: that it was trained with.

    Raises:
        EvidenceMissing, ArtifactUntrusted: its file cannot be had, or is another one than was recorded.
    """
    chosen = None
    if spec.label.chooses_threshold and Recipe.NAME in candidate.files:
        chosen = Recipe.of_bytes(read(candidate, Recipe.NAME)).threshold
    problem = spec.problem.at(chosen)
    return problem.threshold if isinstance(problem, Binary) else None


def background(spec: ModelSpec, candidate: Candidate) -> pd.DataFrame:
    """Inputs of a version's reference, which say what is usual.

    Args:
        spec: with the features that it takes.

    Raises:
        EvidenceMissing, ArtifactUntrusted, ServiceUnavailable: it cannot be had.
    """
    from evergreen.model.rows import inputs

    rows = artifacts.load(candidate, Reference).rows
    return inputs(spec.feature_types, rows.reindex(columns=list(spec.feature_types)))


def load(model: str, number: int, read: Read = artifacts.read) -> Predictor:
    """A version, ready to answer.

    Raises:
        EvidenceMissing, ArtifactUntrusted: there is no such version, its file is another one than was recorded, or
            its signature does not hold.
        ModelUnloadable: it is the right one, and cannot be loaded.
    """
    version = records.version(model, number)
    found = records.candidate(version.run_id)
    signatures.check(model, version, found)
    if GRAPH in found.files:
        return _graph(read(found, GRAPH), f"version {number} of {model}")
    return _pipeline(version.run_id, spec(model, version, read), read)


def candidate(spec: ModelSpec, run_id: str, read: Read = artifacts.read) -> Predictor:
    """A candidate as its version would answer; raises as `load` does."""
    found = records.candidate(run_id)
    if GRAPH in found.files:
        return _graph(read(found, GRAPH), f"MLflow run {run_id} of {found.model}")
    return _pipeline(run_id, spec, read)


def _pipeline(run_id: str, spec: ModelSpec, read: Read) -> Predictor:
    from evergreen.registry import pipelines  # scikit-learn and pandas, which no graph needs

    return pipelines.PipelinePredictor(pipelines.pipeline(run_id, read), spec.feature_types)


def _graph(content: bytes, whose: str) -> Predictor:
    from evergreen.runtime.answering import GraphPredictor

    try:
        return GraphPredictor(content)
    except Exception as error:  # whatever onnxruntime raises of a graph that it cannot read
        raise ModelUnloadable(
            f"loading {whose}",
            found=f"{type(error).__name__}: {error}",
            expected="a graph that this release of onnxruntime can read",
            next_step="look at the version's artifacts in MLflow; train again, or roll back",
        ) from error


def parse_spec(content: bytes, whose: str) -> ModelSpec:
    """A spec as training wrote it."""
    try:
        return SpecCopy.of_bytes(content).spec
    except ValidationError as error:
        raise ModelUnloadable(
            f"reading the spec of {whose}",
            found=_unreadable(error),
            expected="a spec that this release of Evergreen can read",
            next_step="train again",
        ) from error


def _unreadable(error: ValidationError) -> str:
    """What a spec has wrong, in our words."""
    problems = error.errors(include_url=False)
    faults = []
    for problem in problems[:3]:
        path = ".".join(str(part) for part in problem["loc"])
        value = "nothing" if problem["type"] == "missing" else shown(problem["input"])
        what = needed(problem) or "no value that it takes"
        faults.append(
            f"{shown(path)[1:-1]} is {value}, where {what} belongs" if path else f"no JSON of a spec: {value}"
        )
    more = f"; and {len(problems) - len(faults)} more" if len(problems) > len(faults) else ""
    return "; ".join(faults) + more
