"""The registry: versions and aliases of each model in MLflow.

A model's versions are those that passed their gates. Two aliases say which of them serve: `champion` takes the traffic, and
`last_known_good` is what rollback and a server whose champion cannot be loaded return to.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Protocol

import mlflow
import numpy as np
import numpy.typing as npt
import pandas as pd
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException, RestException
from pydantic import ValidationError
from sklearn.pipeline import Pipeline

from evergreen.errors import EvidenceMissing, ModelUnloadable, ServiceUnavailable
from evergreen.lake import postgres
from evergreen.registry.login import sign_in
from evergreen.registry.mlflow_server import answering, silent, status_of
from evergreen.registry.rules import Version
from evergreen.settings import settings
from evergreen.spec.schema import ModelSpec
from evergreen.train import families
from evergreen.train.rows import predict

CHAMPION = "champion"
LAST_KNOWN_GOOD = "last_known_good"
_ROLLED_BACK = "evergreen.rolled_back"  # tag of a version: why


class Predictor(Protocol):
    """A version that answers."""

    def predict(self, frame: pd.DataFrame) -> npt.NDArray[np.float64]:
        """P(positive) or the number of each row; the columns are the spec's features in order (numbers float64, categories text or
        None)."""
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


def champion(model: str) -> Version | None:
    """The version that serves."""
    return _by_alias(model, CHAMPION)


def last_known_good(model: str) -> Version | None:
    """The version that rollback returns to."""
    return _by_alias(model, LAST_KNOWN_GOOD)


def version(model: str, number: int) -> Version:
    """One version.

    Raises:
        EvidenceMissing: there is no such version.
    """
    with answering(f"looking up version {number} of {model}"):
        try:
            return _version(_client().get_model_version(model, str(number)))
        except RestException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            raise EvidenceMissing(
                f"looking up version {number} of {model} in the registry",
                found="no such version", expected="a registered version",
                next_step=f"choose one of {settings().mlflow_url}/#/models/{model}",
            ) from error  # fmt: skip


def find_by_key(model: str, key: str) -> Version | None:
    """The version of a training key; a rerun finds it and makes no second one."""
    with answering(f"looking up the version of {model} with key {key}"):
        found = _client().search_model_versions(f"name = '{model}' and tags.`evergreen.key` = '{key}'")
    return min(map(_version, found), key=lambda v: v.number, default=None)


@contextmanager
def locked(model: str) -> Iterator[None]:
    """Only one process at a time decides about a model's versions and aliases; a killed one's lock goes with its connection."""
    with postgres.connect() as connection:
        connection.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"registry/{model}"])
        yield


def register(model: str, *, run_id: str, key: str, as_of: datetime, tags: Mapping[str, str]) -> Version:
    """Make the model of an MLflow run a version, once per key. Call it under `locked(model)`."""
    existing = find_by_key(model, key)
    if existing is not None:
        return existing
    with answering(f"registering the run {run_id} as a version of {model}"):
        client = _client()
        try:
            client.create_registered_model(model)
        except RestException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        uri = client.get_run(run_id).data.tags["evergreen.model_uri"]
        stamped = {**tags, "evergreen.key": key, "evergreen.as_of": as_of.isoformat()}
        model_id = uri.removeprefix("models:/")
        return _version(client.create_model_version(model, uri, run_id=run_id, tags=stamped, model_id=model_id))


def set_champion(model: str, number: int, *, last_known_good: int | None) -> None:
    """Move the aliases, `champion` last: a kill in between leaves the old champion, which is its own last known good."""
    with answering(f"making version {number} the champion of {model}"):
        if last_known_good is not None:
            _client().set_registered_model_alias(model, LAST_KNOWN_GOOD, str(last_known_good))
        _client().set_registered_model_alias(model, CHAMPION, str(number))


def mark_rolled_back(model: str, number: int, reason: str) -> None:
    """Mark a version so that no rerun promotes it again."""
    with answering(f"marking version {number} of {model} as rolled back"):
        _client().set_model_version_tag(model, str(number), _ROLLED_BACK, reason)


def download(run_id: str, artifact: str) -> Path:
    """A copy of an artifact of an MLflow run, always fetched anew: some are written again by a rerun.

    Raises:
        EvidenceMissing: the run has no such artifact.
    """
    folder = settings().home / "artifacts" / run_id
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as partial, answering(f"downloading {artifact} of the run {run_id}"):
        try:
            fetched = Path(_client().download_artifacts(run_id, artifact, partial))
        except (MlflowException, OSError) as error:
            if silent(error) or status_of(error) not in (None, 404):
                raise
            raise EvidenceMissing(
                f"downloading {artifact} of the MLflow run {run_id}",
                found=str(error), expected=f"the artifact {artifact}, which training logs", next_step="train again; see the run in MLflow",
            ) from error  # fmt: skip
        return fetched.replace(folder / fetched.name)


def spec(model: str, version: Version) -> ModelSpec:
    """The spec that a version was trained with; keys that this release no longer knows are left out.

    Raises:
        EvidenceMissing: training logged none.
        ModelUnloadable: this release cannot read it.
    """
    text = download(version.run_id, "spec.json").read_text()
    try:
        found = ModelSpec.model_validate_json(text, extra="ignore")
    except ValidationError as error:
        raise ModelUnloadable(
            f"reading the spec of version {version.number} of {model} (MLflow run {version.run_id})",
            found=str(error), expected="a spec that this release of Evergreen can read", next_step="train again",
        ) from error  # fmt: skip
    return found


def load(model: str, number: int) -> Predictor:
    """A version, ready to answer.

    Raises:
        EvidenceMissing: there is no such version.
        ModelUnloadable: there is, and it cannot be loaded.
    """
    found = version(model, number)
    mlflow.set_tracking_uri(settings().mlflow_url)
    folder = tempfile.mkdtemp(prefix="evergreen-model-")  # MLflow's own download stays on disk for good
    try:
        with answering(f"loading version {number} of {model}"):
            pipeline = mlflow.sklearn.load_model(f"models:/{model}/{number}", dst_path=folder)
        return _PipelinePredictor(pipeline)
    except ServiceUnavailable:
        raise
    except Exception as error:  # whatever a damaged or foreign artifact makes a library raise
        raise ModelUnloadable(
            f"loading version {number} of {model} (MLflow run {found.run_id})",
            found=f"{type(error).__name__}: {error}",
            expected="a scikit-learn pipeline, as training logs it",
            next_step="look at the version's artifacts in MLflow; train again, or roll back",
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _by_alias(model: str, alias: str) -> Version | None:
    with answering(f"looking up the {alias} of {model}"):
        try:
            aliases = _client().get_registered_model(model).aliases
        except RestException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":  # nothing was ever registered
                return None
            raise
    return version(model, int(aliases[alias])) if alias in aliases else None


def _version(found: ModelVersion) -> Version:
    if missing := {"evergreen.key", "evergreen.as_of"} - found.tags.keys():
        raise EvidenceMissing(
            f"looking up version {found.version} of {found.name} in the registry",
            found=f"a version without the tags {', '.join(sorted(missing))}", expected="a version that Evergreen registered",
            next_step="was it registered by hand? Delete it, and give the alias back to a version with these tags",
        )  # fmt: skip
    return Version(
        number=int(found.version), run_id=found.run_id, key=found.tags["evergreen.key"],
        as_of=datetime.fromisoformat(found.tags["evergreen.as_of"]), rolled_back=_ROLLED_BACK in found.tags, tags=dict(found.tags),
    )  # fmt: skip


def _client() -> mlflow.MlflowClient:
    sign_in()
    return mlflow.MlflowClient(tracking_uri=settings().mlflow_url, registry_uri=settings().mlflow_url)
