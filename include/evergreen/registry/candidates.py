"""From a fitted pipeline to a candidate: a finished run in MLflow, with everything needed to judge and repeat it."""

from __future__ import annotations

import json
import logging
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

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
    LoggedModel,
    LoggedModelOutput,
    LoggedModelStatus,
    Metric,
    Param,
)
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.tracking.context.registry import resolve_tags
from mlflow.types import ColSpec, Schema, TensorSpec
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT, MLFLOW_PARENT_RUN_ID
from sklearn.pipeline import Pipeline

from evergreen.families import family as family_of
from evergreen.files import work_folder
from evergreen.handovers.difference import Difference
from evergreen.lake import tables
from evergreen.lake.schema import LABELS
from evergreen.model import calibrating
from evergreen.model.code import code_version, queries, spec_hash
from evergreen.model.families import requirements
from evergreen.model.rows import Rows, predict
from evergreen.registry import environment, records
from evergreen.registry.contents import (
    GRAPH,
    PIPELINE,
    Content,
    Fitting,
    Queries,
    Recipe,
    Reference,
    Sample,
    SampleRow,
    SpecCopy,
    Trials,
)
from evergreen.registry.mlflow_server import asking
from evergreen.registry.packaging import package
from evergreen.registry.records import Candidate, Digest
from evergreen.registry.tags import Tag
from evergreen.registry.tracking import experiment_id
from evergreen.run import Run
from evergreen.spec.columns import EVENT, LABEL
from evergreen.spec.kinds import KINDS
from evergreen.spec.schema import ModelSpec

log = logging.getLogger(__name__)

REFERENCE_ROWS = 20_000  # what the monitor compares with; a sample where there is more
SAMPLE_ROWS = 20  # what the probe asks a fresh server


class Learned(Protocol):
    """What is recorded of the rows that a candidate learned from; fields as those of `TrainingSet`."""

    @property
    def key(self) -> str: ...
    @property
    def content_hash(self) -> str: ...
    @property
    def versions(self) -> Mapping[str, int]: ...
    @property
    def differs(self) -> Difference | None: ...


def log_candidate(
    run: Run,
    data: Learned,
    *,
    recipe: Recipe,
    study: str,
    pipeline: Pipeline,
    rows: Rows,
    reference: pd.DataFrame,
    metrics: dict[str, float],
    trials: Trials,
    fitting: Fitting | None = None,
    refit_of: str | None = None,
) -> str:
    """Log a fitted candidate; returns the MLflow run's id. The run counts as finished only when all of it is there.

    Args:
        run, data: the training, and its set.
        recipe, pipeline, rows: how the candidate was fitted, the fit, and the rows that it learned from.
        metrics, trials: how the search came to the recipe's hyperparameters.
        study: the name of the search.
        fitting: what it cost; None: it was not measured.
        reference: what the monitor compares with: the inputs of held-out rows, and predictions of a fit that has not
            learned from them.
        refit_of: the MLflow run of the fit that the gates judged, in which the refit's is nested; None: it is no refit.

    What is recorded of its files in Postgres is what is loaded later.
    """
    predictions, family, spec = predict(pipeline, rows.inputs), recipe.family, recipe.taking(run.spec)
    name = f"{family} as of {run.as_of:%Y-%m-%d}"
    cost = {} if fitting is None else fitting.metrics
    tags = _tags(run, data, recipe, study)
    if refit_of is not None:
        name = f"{name}, refit"
        tags |= {MLFLOW_PARENT_RUN_ID: refit_of, Tag.GATED_RUN: refit_of}
    with asking(f"logging the {family} candidate of {run.subject}") as client:
        experiment = experiment_id(client, run.spec.model)
        with _begun(client, experiment, name, tags) as run_id, work_folder() as folder:
            at = int(time.time() * 1000)
            client.log_batch(
                run_id,
                metrics=[Metric(each, value, at, 0) for each, value in (metrics | recipe.metrics | cost).items()],
                params=[Param(each, str(value)) for each, value in recipe.parameters.items()],
            )
            client.log_inputs(run_id, [_dataset(run.spec, data, rows)])
            model = _create_model(client, experiment, run_id, recipe.parameters)
            client.set_tag(run_id, Tag.MODEL_URI, model.model_uri)
            written, saved = folder / "run", folder / "model"
            written.mkdir()
            packaging, graph = package(spec, pipeline, reference[list(spec.feature_types)])
            if graph is not None:
                (written / GRAPH).write_bytes(graph)
            contents = (packaging, *_contents(run, recipe, rows, predictions, reference, trials))
            for content in contents if fitting is None else (*contents, fitting):
                (written / content.NAME).write_bytes(content.to_bytes())
            _save_pipeline(saved, model, run_id, spec, family, pipeline, rows)
            # Of what stands here, before anybody else can reach it.
            digests = {path.name: Digest.of(path.read_bytes()) for path in [*written.iterdir(), saved / PIPELINE]}
            client.log_artifacts(run_id, str(written))
            client.log_model_artifacts(model.model_id, str(saved))
            client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
            records.add_candidate(Candidate(run_id, run.spec.model, family, model.model_id, digests))
    log.info("%s answers with its %s: %s", family, packaging.runtime, packaging.reason)
    return run_id


def compared_with(spec: ModelSpec, held_out: Rows, predictions: npt.NDArray[np.float64]) -> pd.DataFrame:
    """Held-out rows as the monitor's reference has them: features, predictions, moments, labels.

    Args:
        spec: with the features that the candidate takes.
    """
    outputs = spec.problem.columns(predictions)
    return held_out.inputs[[*spec.feature_types]].assign(
        **outputs, **{EVENT: held_out.frame[EVENT].array, LABEL: held_out.labels}
    )


def kept(spec: ModelSpec, compared: pd.DataFrame) -> Reference:
    """What of the rows to compare with is kept: all, or of many a sample."""
    many = len(compared) > REFERENCE_ROWS
    return Reference(compared.sample(REFERENCE_ROWS, random_state=spec.search.seed) if many else compared)


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
        skops_trusted_types=[*family_of(family).types, *calibrating.TYPES],
    )


def _tags(run: Run, data: Learned, recipe: Recipe, study: str) -> dict[str, str]:
    """What a version is told apart and repeated by."""
    optional = {
        Tag.DECISION: run.decision_id,
        Tag.CHANGED_AT: run.changed_at and run.changed_at.isoformat(),
        Tag.WINDOW: recipe.backtest and recipe.backtest.reason,
        Tag.SELECTION: recipe.selection and recipe.selection.reason,
        Tag.DIFFERS: data.differs and str(data.differs),
    }
    return {
        Tag.KEY: data.key,
        Tag.FAMILY: recipe.family,
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


def _dataset(spec: ModelSpec, data: Learned, rows: Rows) -> DatasetInput:
    """The training set as MLflow knows datasets. It is made of several tables, whose versions the run's tags name; the
    labels' stands for them all."""
    label = spec.label.name
    labels = LABELS.of(spec.model, label)
    source = DeltaDatasetSource(
        path=tables.table_path(labels), delta_table_version=data.versions.get(labels.seen_from(spec.model))
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
    run: Run,
    recipe: Recipe,
    rows: Rows,
    predictions: npt.NDArray[np.float64],
    reference: pd.DataFrame,
    trials: Trials,
) -> tuple[Content, ...]:
    """The files of the run."""
    return (
        kept(run.spec, reference),
        sample(run.spec, rows, predictions),
        trials,
        recipe,
        environment.of(recipe.family),
        environment.installed(),
        SpecCopy(run.spec),
        Queries(queries(run.spec)),
    )


def sample(spec: ModelSpec, rows: Rows, predictions: npt.NDArray[np.float64]) -> Sample:
    """Rows spread over the learning rows, with their predictions to the last bit; a missing value is null."""
    inputs, answers = rows.inputs, spec.problem.answers(predictions)
    chosen = np.linspace(0, len(inputs) - 1, min(SAMPLE_ROWS, len(inputs))).astype(int)
    return Sample(
        rows=tuple(
            SampleRow(
                features={str(name): None if pd.isna(value) else value for name, value in inputs.iloc[i].items()},
                prediction=answers[i],
            )
            for i in chosen
        )
    )
