"""Candidates in MLflow: one finished run for each training key and family, with
everything needed to judge and repeat it."""

from __future__ import annotations

import json
import logging
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import numpy.typing as npt
import pandas as pd
from mlflow import MlflowClient
from mlflow.data.delta_dataset_source import DeltaDatasetSource
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LifecycleStage,
    LoggedModel,
    LoggedModelOutput,
    LoggedModelStatus,
    Metric,
    Param,
    RunTag,
)
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.tracking.context.registry import resolve_tags
from mlflow.types import ColSpec, Schema, TensorSpec
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT
from sklearn.pipeline import Pipeline

from evergreen.errors import EvidenceMissing, PermanentError
from evergreen.families import family as family_of
from evergreen.files import work_folder
from evergreen.handovers.train import TrainingSet
from evergreen.lake import tables
from evergreen.lake.schema import LABELS
from evergreen.model.code import code_version, spec_hash
from evergreen.model.families import REQUIREMENTS, requirements
from evergreen.model.rows import Rows, predict
from evergreen.registry import artifacts, loading, records
from evergreen.registry.contents import (
    NEEDED,
    PIPELINE,
    Content,
    Environment,
    Reference,
    Sample,
    SampleRow,
    SpecCopy,
    Trials,
)
from evergreen.registry.mlflow_server import asking
from evergreen.registry.records import Candidate, Digest
from evergreen.registry.tags import Tag
from evergreen.run import Run
from evergreen.settings import settings
from evergreen.spec.kinds import KINDS
from evergreen.spec.problem import Answer
from evergreen.spec.schema import ModelSpec

log = logging.getLogger(__name__)

REFERENCE_ROWS = 20_000  # what the monitor compares with; a sample where there is more
SAMPLE_ROWS = 20  # what the probe asks a fresh server
# What a result depends on beside our code, whose version is a tag.
_ENVIRONMENT = (*REQUIREMENTS, "scipy", "tensorflow", "keras", "optuna", "mlflow", "feast", "duckdb", "deltalake")


def find(model: str, key: str, family: str, *, study: str, is_idle: Callable[[str], bool]) -> MlflowRun | None:
    """The finished run of a key and family, whose files were recorded and whose model can still be loaded. What killed
    attempts of any study left half written is cleared first.

    Args:
        study: the name of this search; nobody else may be working on it.
        is_idle: whether nobody works on the study of a name.
    """
    with asking(f"looking for the {family} candidate of {model}, key {key}") as client:
        experiment = _experiment(client, model)
        _clear_ended(client, experiment, study, is_idle)
        tagged = f"tags.`{Tag.KEY}` = '{key}' and tags.`{Tag.FAMILY}` = '{family}'"
        ended = _runs(client, experiment, f"{tagged} and attributes.status = 'FINISHED'")
    return next((run for run in ended if _loads(run.info.run_id)), None)


def _loads(run_id: str) -> bool:
    """Whether a candidate's files are there, and are what was recorded: what is gone is made anew."""
    candidate = records.find_candidate(run_id)
    if candidate is None:
        return False
    try:
        needed = {name: artifacts.read(candidate, name) for name in NEEDED}
        loading.pipeline(run_id, lambda _, name: needed[name])
    except PermanentError as error:
        log.warning("MLflow run %s is not used again. %s", run_id, error)
        return False
    return True


def last_key(model: str, family: str, *, before: datetime) -> str | None:
    """The key of the model's last training of a family that ended, as of a moment before `before`; of several as of the
    same moment the one that began last. None: there is none."""
    with asking(f"looking for the last {family} candidate of {model}") as client:
        ended = _runs(
            client, _experiment(client, model), f"tags.`{Tag.FAMILY}` = '{family}' and attributes.status = 'FINISHED'"
        )
    earlier = [
        (as_of, run.info.start_time, run.info.run_id, run.data.tags[Tag.KEY])
        for run in ended
        if (as_of := _moment(run.data.tags.get(Tag.AS_OF, ""))) is not None and as_of < before
        if Tag.KEY in run.data.tags
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


def _runs(client: MlflowClient, experiment: str, which: str) -> list[MlflowRun]:
    """All runs of an experiment that a filter names, the newest first."""
    page = client.search_runs([experiment], which)
    runs = list(page)
    while page.token:
        page = client.search_runs([experiment], which, page_token=page.token)
        runs += page
    return runs


def _clear_ended(client: MlflowClient, experiment: str, own: str, is_idle: Callable[[str], bool]) -> None:
    """Delete the models that ended runs began to log, whether nobody works on a run any more or an exception has ended
    it (SIGTERM and a time-out are one). The run is KILLED then: nothing is left of it."""
    for status in ("RUNNING", "FAILED"):
        for run in _runs(client, experiment, f"attributes.status = '{status}'"):
            study = run.data.tags.get(Tag.STUDY)
            if study is None or (study != own and not is_idle(study)):
                continue
            for model in client.search_logged_models([experiment], f"source_run_id = '{run.info.run_id}'"):
                _delete_model(client, model.model_id)
            client.set_terminated(run.info.run_id, status="KILLED")


def _delete_model(client: MlflowClient, model_id: str) -> None:
    try:
        client.delete_logged_model(model_id)
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):  # another family's training was faster
            raise


def log_candidate(
    run: Run,
    data: TrainingSet,
    *,
    family: str,
    study: str,
    pipeline: Pipeline,
    rows: Rows,
    parameters: Mapping[str, Any],
    metrics: Mapping[str, float],
    trials: Trials,
) -> str:
    """Log a fitted candidate; returns the MLflow run's id. The run counts as finished only when all of it is there.

    Args:
        run, data: the training, and its set.
        pipeline, rows: the fitted candidate and the rows that it learned from.
        parameters, metrics, trials: the chosen hyperparameters, and how the search came to them.
        study: the name of the search.

    What is recorded of its files in Postgres is what is loaded later.
    """
    predictions = predict(pipeline, rows.inputs)
    name = f"{family} as of {run.as_of:%Y-%m-%d}"
    tags = _tags(run, data, family, study)
    with asking(f"logging the {family} candidate of {run.subject}") as client:
        experiment = _experiment(client, run.spec.model)
        with _begun(client, experiment, name, tags) as run_id, work_folder() as folder:
            at = int(time.time() * 1000)
            client.log_batch(
                run_id,
                metrics=[Metric(each, value, at, 0) for each, value in metrics.items()],
                params=[Param(each, str(value)) for each, value in parameters.items()],
            )
            client.log_inputs(run_id, [_dataset(run.spec, data, rows)])
            model = _create_model(client, experiment, run_id, parameters)
            client.set_tag(run_id, Tag.MODEL_URI, model.model_uri)
            written, saved = folder / "run", folder / "model"
            written.mkdir()
            for content in _contents(run, family, rows, predictions, trials):
                (written / content.NAME).write_bytes(content.to_bytes())
            _save_pipeline(saved, model, run_id, run.spec, family, pipeline, rows)
            # Of what stands here, before anybody else can reach it.
            digests = {path.name: Digest.of(path.read_bytes()) for path in [*written.iterdir(), saved / PIPELINE]}
            client.log_artifacts(run_id, str(written))
            client.log_model_artifacts(model.model_id, str(saved))
            client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
            records.add_candidate(Candidate(run_id, run.spec.model, family, model.model_id, digests))
    return run_id


@contextmanager
def _begun(client: MlflowClient, experiment: str, name: str, tags: Mapping[str, str]) -> Iterator[str]:
    """The id of a new run; it is FINISHED after the block, and FAILED after an error."""
    run_id = client.create_run(experiment, tags=resolve_tags(dict(tags)), run_name=name).info.run_id
    try:
        yield run_id
    except BaseException:
        with suppress(MlflowException):  # a server that is away: the next training clears what is left
            client.set_terminated(run_id, status="FAILED")
        raise
    client.set_terminated(run_id)


def _create_model(client: MlflowClient, experiment: str, run_id: str, parameters: Mapping[str, Any]) -> LoggedModel:
    """MLflow's logged model of a run, pending until its files are there. (`mlflow.sklearn.log_model` saves where nobody
    can see the files before they are sent, nor clean up after a kill.)"""
    model = client.create_logged_model(
        experiment, "model", run_id, params={name: str(value) for name, value in parameters.items()}
    )
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    return model


def _save_pipeline(
    folder: Path, model: LoggedModel, run_id: str, spec: ModelSpec, family: str, pipeline: Pipeline, rows: Rows
) -> None:
    mlflow.sklearn.save_model(
        pipeline,
        str(folder),
        mlflow_model=Model(
            artifact_path=model.artifact_location, model_uuid=model.model_id, run_id=run_id, model_id=model.model_id
        ),
        signature=_signature(spec),
        input_example=rows.inputs.head(5),
        conda_env=_conda_environment(family),  # inferring it takes ten seconds
        pyfunc_predict_fn=spec.problem.method,
        serialization_format="skops",
        skops_trusted_types=list(family_of(family).types),
    )


def record(
    run: Run,
    run_id: str,
    content: Content,
    *,
    metrics: Mapping[str, float] | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Add what came out about a candidate after it was fitted: a file, with metrics and tags. Twice is as once."""
    at = int(run.as_of.timestamp() * 1000)  # of the measurement: the same value at the same time is stored once
    with asking(f"recording {content.NAME} of MLflow run {run_id}") as client:
        written = content.to_bytes()
        client.log_text(run_id, written.decode(), content.NAME)
        records.add_file(run_id, content.NAME, written)
        client.log_batch(
            run_id,
            metrics=[Metric(name, value, at, 0) for name, value in (metrics or {}).items()],
            tags=[RunTag(name, text) for name, text in (tags or {}).items()],
        )


def url(run_id: str) -> str:
    """The page of a run in MLflow's UI."""
    with asking(f"finding MLflow run {run_id}") as client:
        return f"{settings().mlflow_url}/#/experiments/{client.get_run(run_id).info.experiment_id}/runs/{run_id}"


def parameters_of(run_id: str) -> dict[str, str]:
    """The chosen hyperparameters of a candidate, as MLflow has them."""
    with asking(f"reading the parameters of MLflow run {run_id}") as client:
        return dict(client.get_run(run_id).data.params)


def _experiment(client: MlflowClient, model: str) -> str:
    """The id of the model's experiment, created on first use, which several families may do at the same time.

    Raises:
        EvidenceMissing: somebody deleted it.
    """
    if (experiment := client.get_experiment_by_name(model)) is None:
        try:
            return str(client.create_experiment(model))
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
                raise
        experiment = client.get_experiment_by_name(model)
    if experiment is None or experiment.lifecycle_stage != LifecycleStage.ACTIVE:
        raise EvidenceMissing(
            f"looking up the MLflow experiment {model}",
            found="it was deleted",
            expected="an experiment for the model's candidates",
            next_step="restore it in MLflow (`mlflow experiments restore`), or delete it for good (`mlflow gc`)",
        )
    return str(experiment.experiment_id)


def _tags(run: Run, data: TrainingSet, family: str, study: str) -> dict[str, str]:
    """What a version is told apart and repeated by."""
    optional = {Tag.DECISION: run.decision_id, Tag.CHANGED_AT: run.changed_at and run.changed_at.isoformat()}
    return {
        Tag.KEY: data.key,
        Tag.FAMILY: family,
        Tag.AS_OF: run.as_of.isoformat(),
        Tag.REASON: run.reason,
        Tag.RUN_ID: run.run_id,
        Tag.STUDY: study,
        Tag.SPEC: spec_hash(run.spec),
        Tag.CODE: code_version(),
        Tag.SEED: str(run.spec.search.seed),
        Tag.CONTENT_HASH: data.content_hash,
        Tag.VERSIONS: json.dumps(data.versions),
        **{name: text for name, text in optional.items() if text},
    }


def _dataset(spec: ModelSpec, data: TrainingSet, rows: Rows) -> DatasetInput:
    """The training set as MLflow knows datasets. It is made of several tables, whose versions the run's tags name; the
    labels' stands for them all."""
    label = spec.label.name
    labels = LABELS.of(spec.model, label)
    source = DeltaDatasetSource(
        path=tables.table_path(labels), delta_table_version=data.versions.get(labels.within_model)
    )
    # MLflow takes every whole number for one that may be missing, and warns.
    whole = rows.frame.select_dtypes("integer").columns
    frame = rows.frame.astype(dict.fromkeys(whole, "float64"))
    name = f"{spec.model} {data.key}"
    dataset = mlflow.data.from_pandas(frame, source=source, name=name, targets=label, digest=data.content_hash[:32])
    return DatasetInput(Dataset.from_dictionary(dataset.to_dict()), [InputTag(MLFLOW_DATASET_CONTEXT, "training")])


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


def _contents(
    run: Run, family: str, rows: Rows, predictions: npt.NDArray[np.float64], trials: Trials
) -> tuple[Content, ...]:
    """The files of the run."""
    reference = rows.inputs.assign(**run.spec.problem.columns(predictions))
    if len(reference) > REFERENCE_ROWS:
        reference = reference.sample(REFERENCE_ROWS, random_state=run.spec.search.seed)
    environment = {"python": platform.python_version(), "platform": platform.platform()} | {
        name: version(name) for name in {**dict.fromkeys(_ENVIRONMENT), **dict.fromkeys(requirements(family))}
    }
    return (
        Reference(reference),
        Sample(rows=_sample(rows.inputs, run.spec.problem.answers(predictions))),
        trials,
        Environment(environment),
        SpecCopy(run.spec),
    )


def _sample(inputs: pd.DataFrame, answers: list[Answer]) -> tuple[SampleRow, ...]:
    """Rows spread over the learning rows, with their predictions to the last bit; a missing value is null."""
    chosen = np.linspace(0, len(inputs) - 1, min(SAMPLE_ROWS, len(inputs))).astype(int)
    return tuple(
        SampleRow(
            features={str(name): None if pd.isna(value) else value for name, value in inputs.iloc[i].items()},
            prediction=answers[i],
        )
        for i in chosen
    )
