"""Candidates in MLflow: one finished run for each training key and family, with everything needed to judge and repeat it."""

from __future__ import annotations

import json
import logging
import platform
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.entities import Run as MlflowRun
from mlflow.models import infer_signature
from sklearn.pipeline import Pipeline

from evergreen.run import Run
from evergreen.settings import settings
from evergreen.train.code import code_version
from evergreen.train.families import TRUSTED_TYPES

log = logging.getLogger(__name__)

REFERENCE_ROWS = 20_000  # what the monitor compares with; a sample where there is more
SAMPLE_ROWS = 20  # what the probe asks a fresh server
_LIBRARIES = ("evergreen", "scikit-learn", "numpy", "pandas", "skops", "tensorflow", "keras", "optuna", "mlflow", "feast", "duckdb", "deltalake")
_REQUIRED = {"mlp": ("scikit-learn", "numpy", "pandas", "skops", "tensorflow")}
_ALWAYS_REQUIRED = ("scikit-learn", "numpy", "pandas", "skops")


def find(model: str, key: str, family: str) -> MlflowRun | None:
    """The finished run of a key and family. Runs that a killed attempt left half written are closed as killed."""
    experiment = _experiment(model)
    found = mlflow.search_runs(
        [experiment], f"tags.`evergreen.key` = '{key}' and tags.`evergreen.family` = '{family}'", output_format="list"
    )
    for run in found:
        if run.info.status == "RUNNING":
            mlflow.MlflowClient().set_terminated(run.info.run_id, status="KILLED")
    return next((run for run in found if run.info.status == "FINISHED"), None)


def log_candidate(
    run: Run,
    *,
    key: str,
    family: str,
    pipeline: Pipeline,
    parameters: Mapping[str, Any],
    metrics: Mapping[str, float],
    facts: Mapping[str, str],
    learned: pd.DataFrame,
    inputs: pd.DataFrame,
    predictions: np.ndarray[Any, np.dtype[np.float64]],
) -> str:
    """Log a fitted candidate; returns the MLflow run's id.

    Args:
        parameters: the chosen hyperparameters; metrics: of the search; facts: what else tells the run apart, as tags.
        learned: the learning rows, with label; inputs: their model inputs; predictions: of the candidate on them.
    """
    tags = {
        "evergreen.key": key,
        "evergreen.family": family,
        "evergreen.as_of": run.as_of.isoformat(),
        "evergreen.reason": run.reason,
        "evergreen.code": code_version(),
        **({"evergreen.decision": run.decision_id} if run.decision_id else {}),
        **facts,
    }
    name = f"{family} as of {run.as_of:%Y-%m-%d}"
    with mlflow.start_run(experiment_id=_experiment(run.spec.model), run_name=name, tags=tags) as active:
        mlflow.log_params(dict(parameters))
        mlflow.log_metrics(dict(metrics))
        mlflow.log_input(mlflow.data.from_pandas(learned, name=f"{run.spec.model}/learning", targets=run.spec.label.name), context="training")
        example = inputs.head(5)
        required = [f"{name}=={version(name)}" for name in _REQUIRED.get(family, _ALWAYS_REQUIRED)]
        info = mlflow.sklearn.log_model(
            pipeline,
            name="model",
            signature=infer_signature(example, pipeline.predict_proba(example)),
            input_example=example,
            pip_requirements=required,  # inferring them starts a process and takes ten seconds
            pyfunc_predict_fn="predict_proba",
            serialization_format="skops",
            skops_trusted_types=TRUSTED_TYPES,
        )
        mlflow.set_tag("evergreen.model_uri", info.model_uri)
        environment = {"python": platform.python_version(), "platform": platform.platform()}
        mlflow.log_dict(environment | {name: version(name) for name in _LIBRARIES}, "environment.json")
        with tempfile.TemporaryDirectory() as folder:
            _write_reference(Path(folder) / "reference.parquet", inputs, predictions, run.spec.search.seed)
            (Path(folder) / "sample.json").write_text(json.dumps({"rows": _sample(inputs, predictions)}))
            mlflow.log_artifacts(folder)
        run_id: str = active.info.run_id
    return run_id


def load(run_id: str) -> Pipeline:
    """The fitted candidate of a run, from what was logged."""
    _connect()
    uri = mlflow.get_run(run_id).data.tags["evergreen.model_uri"]
    return mlflow.sklearn.load_model(uri)


def record(run_id: str, artifacts: Mapping[str, Any], metrics: Mapping[str, float], tags: Mapping[str, str]) -> None:
    """Add what was found about a candidate after it was fitted: JSON artifacts by file name, metrics, tags."""
    _connect()
    client = mlflow.MlflowClient()
    for name, content in artifacts.items():
        client.log_dict(run_id, content, name)
    for name, value in metrics.items():
        client.log_metric(run_id, name, value)
    for name, text in tags.items():
        client.set_tag(run_id, name, text)


def url(run_id: str) -> str:
    """The page of a run in MLflow's UI."""
    _connect()
    return f"{settings().mlflow_url}/#/experiments/{mlflow.get_run(run_id).info.experiment_id}/runs/{run_id}"


def _connect() -> None:
    mlflow.set_tracking_uri(settings().mlflow_url)


def _experiment(model: str) -> str:
    """The id of the model's experiment, created on first use."""
    _connect()
    found = mlflow.get_experiment_by_name(model)
    if found is None:
        try:
            created: str = mlflow.create_experiment(model)
        except mlflow.MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another family was first
                raise
            found = mlflow.get_experiment_by_name(model)
        else:
            return created
    assert found is not None
    experiment: str = found.experiment_id
    return experiment


def _write_reference(path: Path, inputs: pd.DataFrame, predictions: np.ndarray[Any, np.dtype[np.float64]], seed: int) -> None:
    reference = inputs.assign(prediction=predictions)
    if len(reference) > REFERENCE_ROWS:
        reference = reference.sample(REFERENCE_ROWS, random_state=seed)
    reference.to_parquet(path, index=False)


def _sample(inputs: pd.DataFrame, predictions: np.ndarray[Any, np.dtype[np.float64]]) -> list[dict[str, Any]]:
    chosen = np.linspace(0, len(inputs) - 1, min(SAMPLE_ROWS, len(inputs))).astype(int)
    rows = json.loads(inputs.iloc[chosen].to_json(orient="records", double_precision=15))
    return [{"features": row, "prediction": float(predictions[i])} for row, i in zip(rows, chosen, strict=True)]
