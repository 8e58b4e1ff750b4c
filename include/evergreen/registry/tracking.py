"""Candidates in MLflow: one finished run for each training key and family, with everything needed to judge and repeat it."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import numpy.typing as npt
import pandas as pd
from mlflow.data.delta_dataset_source import DeltaDatasetSource
from mlflow.data.pandas_dataset import PandasDataset
from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus, Metric, RunTag
from mlflow.entities import Run as MlflowRun
from mlflow.environment_variables import MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.types import ColSpec, Schema, TensorSpec
from sklearn.pipeline import Pipeline

from evergreen.families import family as family_of
from evergreen.files import work_folder
from evergreen.handovers.train import TrainingSet
from evergreen.lake import tables
from evergreen.lake.schema import LABELS
from evergreen.model.code import code_version
from evergreen.model.families import REQUIREMENTS, requirements
from evergreen.model.rows import Rows, predict
from evergreen.registry import artifacts, records
from evergreen.registry.login import sign_in
from evergreen.registry.mlflow_server import answering
from evergreen.registry.records import Candidate, Digest
from evergreen.run import Run
from evergreen.settings import settings
from evergreen.spec.kinds import KINDS
from evergreen.spec.schema import ModelSpec

REFERENCE_ROWS = 20_000  # what the monitor compares with; a sample where there is more
SAMPLE_ROWS = 20  # what the probe asks a fresh server
# What a result depends on beside our code, whose version is a tag.
_ENVIRONMENT = (*REQUIREMENTS, "scipy", "tensorflow", "keras", "optuna", "mlflow", "feast", "duckdb", "deltalake")


def find(model: str, key: str, family: str, *, study: str, is_idle: Callable[[str], bool]) -> MlflowRun | None:
    """The finished run of a key and family, whose files were recorded. What killed attempts of any study left half written is cleared
    first.

    Args:
        study: the name of this search; nobody else may be working on it.
        is_idle: whether nobody works on the study of a name.
    """
    with _service(f"looking for the {family} candidate of {model}, key {key}"):
        experiment = _experiment(model)
        _clear_ended(experiment, study, is_idle)
        found = mlflow.search_runs(
            [experiment],
            f"tags.`evergreen.key` = '{key}' and tags.`evergreen.family` = '{family}' and attributes.status = 'FINISHED'",
            output_format="list",
        )
    return next((run for run in found if records.find_candidate(run.info.run_id) is not None), None)


def last_key(model: str, family: str, *, before: datetime) -> str | None:
    """The key of the model's last training of a family that ended, as of a moment before `before`; of several as of the same moment the
    one that began last. None: there is none."""
    with _service(f"looking for the last {family} candidate of {model}"):
        ended = mlflow.search_runs(
            [_experiment(model)],
            f"tags.`evergreen.family` = '{family}' and attributes.status = 'FINISHED'",
            output_format="list",
        )
    earlier = [
        (as_of, run.info.start_time, run.info.run_id, run.data.tags["evergreen.key"])
        for run in ended
        if (as_of := _moment(run.data.tags.get("evergreen.as_of", ""))) is not None and as_of < before
        if "evergreen.key" in run.data.tags
    ]
    ours = (key for _, _, run_id, key in sorted(earlier, reverse=True) if records.find_candidate(run_id) is not None)
    return next(ours, None)


def _moment(text: str) -> datetime | None:
    """The moment that a tag names; None: it names none, for everybody may write tags."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def _clear_ended(experiment: str, own: str, is_idle: Callable[[str], bool]) -> None:
    """Delete the models that ended runs began to log, whether nobody works on a run any more or an exception has ended it (SIGTERM and a
    time-out are one). The run is KILLED then: nothing is left of it."""
    client = mlflow.MlflowClient()
    for status in ("RUNNING", "FAILED"):
        for run in mlflow.search_runs([experiment], f"attributes.status = '{status}'", output_format="list"):
            study = run.data.tags.get("evergreen.study")
            if study is None or (study != own and not is_idle(study)):
                continue
            for model in client.search_logged_models([experiment], f"source_run_id = '{run.info.run_id}'"):
                _delete_model(model.model_id)
            client.set_terminated(run.info.run_id, status="KILLED")


def _delete_model(model_id: str) -> None:
    try:
        mlflow.MlflowClient().delete_logged_model(model_id)
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):  # another family's training was faster
            raise


def log_candidate(
    run: Run, data: TrainingSet, *, family: str, pipeline: Pipeline, rows: Rows,
    parameters: Mapping[str, Any], metrics: Mapping[str, float], trials: list[dict[str, Any]], tags: Mapping[str, str],
) -> str:  # fmt: skip
    """Log a fitted candidate; returns the MLflow run's id. The run counts as finished only when all of it is there.

    Args:
        run, data: the training, and its set.
        pipeline, rows: the fitted candidate and the rows that it learned from.
        parameters, metrics, trials: the chosen hyperparameters, and how the search came to them.
        tags: further facts, by their full names.

    What is recorded of its files in Postgres is what is loaded later.
    """
    predictions = predict(pipeline, rows.inputs)
    name = f"{family} as of {run.as_of:%Y-%m-%d}"
    tags = {**_tags(run, data, family), **tags}
    with _service(f"logging the {family} candidate of {run.subject}"):
        experiment = _experiment(run.spec.model)
        with mlflow.start_run(experiment_id=experiment, run_name=name, tags=tags) as active, work_folder() as folder:
            run_id: str = active.info.run_id
            mlflow.log_params(dict(parameters))
            mlflow.log_metrics(dict(metrics))
            mlflow.log_input(_dataset(run.spec, data, rows), context="training")
            model = _create_model(experiment, run_id, parameters)
            mlflow.set_tag("evergreen.model_uri", model.model_uri)
            written, saved = folder / "run", folder / "model"
            written.mkdir()
            _write_artifacts(written, run, family, rows, predictions, trials)
            _save_pipeline(saved, model, run_id, run.spec, family, pipeline, rows)
            # Of what stands here, before anybody else can reach it.
            digests = {
                path.name: Digest.of(path.read_bytes()) for path in [*written.iterdir(), saved / artifacts.PIPELINE]
            }
            mlflow.log_artifacts(str(written))
            client = mlflow.MlflowClient()
            client.log_model_artifacts(model.model_id, str(saved))
            client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
            records.add_candidate(Candidate(run_id, run.spec.model, family, model.model_id, digests))
    return run_id


def _create_model(experiment: str, run_id: str, parameters: Mapping[str, Any]) -> LoggedModel:
    """MLflow's logged model of a run, pending until its files are there. (`mlflow.sklearn.log_model` saves where nobody can see the files
    before they are sent, nor clean up after a kill.)"""
    client = mlflow.MlflowClient()
    model = client.create_logged_model(
        experiment, "model", run_id, params={name: str(value) for name, value in parameters.items()}
    )
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    return model


def _save_pipeline(
    folder: Path, model: LoggedModel, run_id: str, spec: ModelSpec, family: str, pipeline: Pipeline, rows: Rows
) -> None:
    mlflow.sklearn.save_model(
        pipeline, str(folder),
        mlflow_model=Model(artifact_path=model.artifact_location, model_uuid=model.model_id, run_id=run_id, model_id=model.model_id),
        signature=_signature(spec), input_example=rows.inputs.head(5),
        conda_env=_conda_environment(family),  # inferring it takes ten seconds
        pyfunc_predict_fn=spec.problem.method,
        serialization_format="skops", skops_trusted_types=list(family_of(family).types),
    )  # fmt: skip


def record(
    run: Run,
    run_id: str,
    *,
    files: Mapping[str, Any],
    metrics: Mapping[str, float] | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Add what was found about a candidate after it was fitted: JSON files by name, metrics, tags. Twice is as once."""
    at = int(run.as_of.timestamp() * 1000)  # of the measurement: the same value at the same time is stored once
    with _service(f"recording the evaluation of MLflow run {run_id}"):
        client = mlflow.MlflowClient()
        for name, content in files.items():
            text = json.dumps(content, indent=1)
            client.log_text(run_id, text, name)
            records.add_file(run_id, name, text.encode())
        client.log_batch(
            run_id,
            metrics=[Metric(name, value, at, 0) for name, value in (metrics or {}).items()],
            tags=[RunTag(name, text) for name, text in (tags or {}).items()],
        )


def url(run_id: str) -> str:
    """The page of a run in MLflow's UI."""
    with _service(f"finding MLflow run {run_id}"):
        return f"{settings().mlflow_url}/#/experiments/{mlflow.get_run(run_id).info.experiment_id}/runs/{run_id}"


@contextmanager
def _service(doing: str) -> Iterator[None]:
    """Talks to the server of the settings; its refusals and its silence are errors of ours."""
    MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT.set(True)  # a task's log is our report
    mlflow.set_tracking_uri(settings().mlflow_url)
    sign_in()
    with answering(doing):
        yield


def _experiment(model: str) -> str:
    """The id of the model's experiment, created on first use, which several families may do at the same time."""
    experiment: str = mlflow.set_experiment(model).experiment_id
    return experiment


def _tags(run: Run, data: TrainingSet, family: str) -> dict[str, str]:
    """What a version is told apart and repeated by."""
    optional = {
        "evergreen.decision": run.decision_id,
        "evergreen.changed_at": run.changed_at and run.changed_at.isoformat(),
    }
    return {
        "evergreen.key": data.key,
        "evergreen.family": family,
        "evergreen.as_of": run.as_of.isoformat(),
        "evergreen.reason": run.reason,
        "evergreen.run_id": run.run_id,
        "evergreen.code": code_version(),
        "evergreen.seed": str(run.spec.search.seed),
        "evergreen.content_hash": data.content_hash,
        "evergreen.versions": json.dumps(data.versions),
        **{name: text for name, text in optional.items() if text},
    }


def _dataset(spec: ModelSpec, data: TrainingSet, rows: Rows) -> PandasDataset:
    """The training set as MLflow knows datasets. It is made of several tables, whose versions the run's tags name; the labels'
    stands for them all."""
    label = spec.label.name
    labels = LABELS.of(spec.model, label)
    source = DeltaDatasetSource(
        path=tables.table_path(labels), delta_table_version=data.versions.get(labels.within_model)
    )
    # MLflow takes every whole number for one that may be missing, and warns.
    whole = rows.frame.select_dtypes("integer").columns
    frame = rows.frame.astype(dict.fromkeys(whole, "float64"))
    name = f"{spec.model} {data.key}"
    found: PandasDataset = mlflow.data.from_pandas(
        frame, source=source, name=name, targets=label, digest=data.content_hash[:32]
    )
    return found


def _conda_environment(family: str) -> dict[str, Any]:
    """What a candidate is loaded with, as MLflow records it."""
    packages = [f"{name}=={version(name)}" for name in ("mlflow", *requirements(family))]
    return {
        "name": "evergreen",
        "channels": ["conda-forge"],
        "dependencies": [f"python={platform.python_version()}", "pip", {"pip": packages}],
    }


def _signature(spec: ModelSpec) -> ModelSignature:
    columns = [ColSpec(KINDS[kind].tracked, name) for name, kind in spec.feature_types.items()]
    return ModelSignature(Schema(columns), Schema([TensorSpec(np.dtype(np.float64), spec.problem.shape)]))


def _write_artifacts(
    folder: Path, run: Run, family: str, rows: Rows, predictions: npt.NDArray[np.float64], trials: list[dict[str, Any]]
) -> None:
    reference = rows.inputs.assign(prediction=predictions)
    if len(reference) > REFERENCE_ROWS:
        reference = reference.sample(REFERENCE_ROWS, random_state=run.spec.search.seed)
    reference.to_parquet(folder / artifacts.REFERENCE, index=False)
    environment = {"python": platform.python_version(), "platform": platform.platform()} | {
        name: version(name) for name in {**dict.fromkeys(_ENVIRONMENT), **dict.fromkeys(requirements(family))}
    }
    for name, content in {
        artifacts.SAMPLE: {"rows": _sample(rows.inputs, predictions)},
        "trials.json": trials,
        "environment.json": environment,
        artifacts.SPEC: run.spec.model_dump(mode="json"),
    }.items():
        (folder / name).write_text(json.dumps(content, indent=1))


def _sample(inputs: pd.DataFrame, predictions: npt.NDArray[np.float64]) -> list[dict[str, Any]]:
    """Rows spread over the learning rows, with their predictions to the last bit; a missing value is null."""
    chosen = np.linspace(0, len(inputs) - 1, min(SAMPLE_ROWS, len(inputs))).astype(int)
    return [
        {
            "features": {name: None if pd.isna(value) else value for name, value in inputs.iloc[i].items()},
            "prediction": float(predictions[i]),
        }
        for i in chosen
    ]
