"""From checked files to a version that answers, by our own rules: one format for
every family, and each family's own types."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import ValidationError
from sklearn.pipeline import Pipeline

from evergreen.errors import ModelUnloadable
from evergreen.families import Family, FamilyUnusable, family
from evergreen.model import families
from evergreen.model.rows import predict
from evergreen.quoting import shown
from evergreen.registry import artifacts, records
from evergreen.registry.contents import PIPELINE, SpecCopy
from evergreen.registry.records import Candidate
from evergreen.registry.rules import Version
from evergreen.spec.schema import ModelSpec
from evergreen.spec.words import needed

_SCHEMA = "schema.json"  # in skops' format: which types the file holds

Read = Callable[[Candidate, str], bytes]  # where files come from: it raises when one is not what was recorded


class Predictor(Protocol):
    """A version that answers."""

    def predict(self, frame: pd.DataFrame) -> npt.NDArray[np.float64]:
        """A prediction per row, as `spec.problem` describes them; the columns are the spec's features in order (numbers
        float64, categories text or None)."""
        ...

    def categories(self) -> Mapping[str, frozenset[str]]:
        """The values of each category that it was trained with."""
        ...


class _PipelinePredictor:
    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def predict(self, frame: pd.DataFrame) -> npt.NDArray[np.float64]:
        return predict(self._pipeline, frame)

    def categories(self) -> Mapping[str, frozenset[str]]:
        return families.categories(self._pipeline)


def spec(model: str, version: Version, read: Read = artifacts.read) -> ModelSpec:
    """The spec that a version was trained with; keys that this release no longer knows are left out.

    Raises:
        EvidenceMissing, ArtifactUntrusted: its file cannot be had, or is another one than was recorded.
        ModelUnloadable: this release cannot read it.
    """
    return parse_spec(read(records.candidate(version.run_id), SpecCopy.NAME), f"version {version.number} of {model}")


def load(model: str, number: int, read: Read = artifacts.read) -> Predictor:
    """A version, ready to answer.

    Raises:
        EvidenceMissing, ArtifactUntrusted: there is no such version, or its file is another one than was recorded.
        ModelUnloadable: it is the right one, and cannot be loaded.
    """
    return _PipelinePredictor(pipeline(records.version(model, number).run_id, read))


def pipeline(run_id: str, read: Read = artifacts.read) -> Pipeline:
    """The fitted candidate of an MLflow run; raises as `load` does."""
    candidate = records.candidate(run_id)
    return parse_pipeline(read(candidate, PIPELINE), candidate.family, f"MLflow run {run_id} of {candidate.model}")


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


def parse_pipeline(content: bytes, family_name: str, whose: str) -> Pipeline:
    """A fitted pipeline in skops' format, of nothing but scikit-learn's types
    and those that the family's code names."""
    import skops.io

    try:
        of = family(family_name)
    except FamilyUnusable as error:
        raise ModelUnloadable(
            f"loading {whose}",
            found=f"the family {shown(family_name)}: {error}",
            expected="a family of Evergreen, or of an installed package (entry points of the group evergreen.families)",
            next_step="install the package that brings the family where models are trained and served, or roll back",
        ) from error
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            # Training compresses nothing, so that what is unpacked is never larger than the file.
            if packed := [entry.filename for entry in archive.infolist() if entry.compress_type != zipfile.ZIP_STORED]:
                raise ValueError(f"compressed entries: {', '.join(packed[:3])}")
            if sum(entry.file_size for entry in archive.infolist()) > len(content):
                raise ValueError("entries that share their bytes")
        pipeline = skops.io.loads(_of_today(content, of), trusted=list(of.types))
        if not isinstance(pipeline, Pipeline):
            raise TypeError(f"a {type(pipeline).__name__}")
    except Exception as error:  # whatever a damaged or foreign file makes a library raise
        raise ModelUnloadable(
            f"loading {whose}",
            found=f"{type(error).__name__}: {error}",
            expected=(
                f"a scikit-learn pipeline of the family {family_name}, as training logs it: in skops' format, and of "
                "no other types"
            ),
            next_step="look at the version's artifacts in MLflow; train again, or roll back",
        ) from error
    return pipeline


def _of_today(content: bytes, of: Family) -> bytes:
    """The file with the names of types that the family has renamed since it was written;
    their types are checked like all others."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        schema = archive.read(_SCHEMA)
        if not any(old.rpartition(".")[0].encode() in schema for old in of.renamed):
            return content
        rewritten = json.dumps(_renamed(json.loads(schema), of.renamed))
        renewed = io.BytesIO()
        with zipfile.ZipFile(renewed, "w", zipfile.ZIP_STORED) as other:
            for entry in archive.infolist():
                other.writestr(entry, rewritten if entry.filename == _SCHEMA else archive.read(entry))
    return renewed.getvalue()


def _renamed(node: Any, names: Mapping[str, str]) -> Any:
    if isinstance(node, list):
        return [_renamed(each, names) for each in node]
    if not isinstance(node, dict):
        return node
    changed = {key: _renamed(each, names) for key, each in node.items()}
    if (today := names.get(f"{node.get('__module__')}.{node.get('__class__')}")) is not None:
        changed["__module__"], _, changed["__class__"] = today.rpartition(".")
    return changed
