"""From checked files to a fitted pipeline, by our own rules: one format for every family, and each family's own
types."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.pipeline import Pipeline

from evergreen.errors import ModelUnloadable
from evergreen.families import Family, FamilyUnusable, family
from evergreen.model import calibrating, families
from evergreen.model.rows import inputs, predict
from evergreen.quoting import shown
from evergreen.registry import artifacts, records
from evergreen.registry.artifacts import Read
from evergreen.registry.contents import PIPELINE
from evergreen.runtime.encoding import Values
from evergreen.spec.kinds import FeatureType

_SCHEMA = "schema.json"  # in skops' format: which types the file holds
_OF_THE_FILE = ("__id__", "protocol", "_skops_version")  # there: of how it was written alone


class PipelinePredictor:
    """A version that answers with its pipeline."""

    quick: ClassVar[bool] = False

    def __init__(self, pipeline: Pipeline, features: Mapping[str, FeatureType]) -> None:
        self._pipeline, self._features = pipeline, features

    def answer(self, rows: Sequence[Mapping[str, Any]] | Values) -> npt.NDArray[np.float64]:
        """An answer per row of features."""
        records = rows.named() if isinstance(rows, Values) else list(rows)
        return self.predict(inputs(self._features, pd.DataFrame.from_records(records, columns=list(self._features))))

    def predict(self, frame: pd.DataFrame) -> npt.NDArray[np.float64]:
        """The same of a frame, as `evergreen.model.rows.inputs` makes it."""
        return predict(self._pipeline, frame)

    def categories(self) -> Mapping[str, frozenset[str]]:
        """The values of each category that it was trained with."""
        return families.categories(self._pipeline)


def pipeline(run_id: str, read: Read = artifacts.read) -> Pipeline:
    """The fitted candidate of an MLflow run; raises as `loading.load` does."""
    candidate = records.candidate(run_id)
    return parse_pipeline(read(candidate, PIPELINE), candidate.family, f"MLflow run {run_id} of {candidate.model}")


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
        pipeline = skops.io.loads(_of_today(content, of), trusted=[*of.types, *calibrating.TYPES])
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


def content_digest(content: bytes) -> str:
    """What tells fitted pipelines in skops' format apart by what was fitted: sha256 of their types and numbers, without
    the addresses in memory by which the file names them, and without the moments at which it was written."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:

        def told(node: Any) -> Any:
            if isinstance(node, list):
                return [told(each) for each in node]
            if not isinstance(node, dict):
                return node
            kept = {name: told(each) for name, each in node.items() if name not in _OF_THE_FILE}
            if "file" in kept:
                kept["file"] = hashlib.sha256(archive.read(kept["file"])).hexdigest()
            return kept

        return hashlib.sha256(json.dumps(told(json.loads(archive.read(_SCHEMA)))).encode()).hexdigest()


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
