"""Candidates in MLflow: one finished run for each training key and family, which is looked for, cleared of what killed
attempts left, and added to. `candidates` makes the runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime

from mlflow import MlflowClient
from mlflow.entities import LifecycleStage, Metric, RunTag
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from evergreen.errors import EvidenceMissing, PermanentError
from evergreen.families import Parameters
from evergreen.files import work_folder
from evergreen.registry import artifacts, pipelines, records
from evergreen.registry.contents import Content, needed
from evergreen.registry.mlflow_server import asking
from evergreen.registry.rules import Ended, is_refit
from evergreen.registry.tags import Tag
from evergreen.run import Run
from evergreen.settings import settings
from evergreen.spec.families import space

log = logging.getLogger(__name__)

_PAGE = 1000  # versions of one answer


def find(model: str, key: str, family: str, *, study: str, is_idle: Callable[[str], bool]) -> MlflowRun | None:
    """The finished run of a key and family, whose files were recorded and whose model can still be loaded. What killed
    attempts of any study left half written is cleared first.

    Args:
        study: the name of this search; nobody else may be working on it.
        is_idle: whether nobody works on the study of a name.
    """
    with asking(f"looking for the {family} candidate of {model}, key {key}") as client:
        experiment = experiment_id(client, model)
        _clear_ended(client, experiment, study, is_idle)
        tagged = f"tags.`{Tag.KEY}` = '{key}' and tags.`{Tag.FAMILY}` = '{family}'"
        ended = runs_of(client, experiment, f"{tagged} and attributes.status = 'FINISHED'")
    return next((run for run in ended if _loads(run.info.run_id)), None)


def _loads(run_id: str) -> bool:
    """Whether a candidate's files are there, and are what was recorded: what is gone is made anew."""
    candidate = records.find_candidate(run_id)
    if candidate is None:
        return False
    try:
        files = {name: artifacts.read(candidate, name) for name in needed(candidate.files)}
        pipelines.pipeline(run_id, lambda _, name: files[name])
    except PermanentError as error:
        log.warning("MLflow run %s is not used again. %s", run_id, error)
        return False
    return True


def last_key(model: str, family: str, *, before: datetime) -> str | None:
    """The key of the model's last training of a family that ended, as of a moment before `before`; of several as of the
    same moment the one that began last. None: there is none."""
    with asking(f"looking for the last {family} candidate of {model}") as client:
        ended = runs_of(
            client, experiment_id(client, model), f"tags.`{Tag.FAMILY}` = '{family}' and attributes.status = 'FINISHED'"
        )
    earlier = [
        (as_of, run.info.start_time, run.info.run_id, run.data.tags[Tag.KEY])
        for run in ended
        if (as_of := _moment(run.data.tags.get(Tag.AS_OF, ""))) is not None and as_of < before
        if Tag.KEY in run.data.tags and not is_refit(run.data.tags[Tag.KEY])  # which no search came before
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


def runs_of(client: MlflowClient, experiment: str, which: str) -> list[MlflowRun]:
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
        for run in runs_of(client, experiment, f"attributes.status = '{status}'"):
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


def replace(run_id: str, name: str, content: bytes) -> None:
    """Put a file in the place of one that a candidate has. Its digest is the caller's to record, before."""
    with asking(f"replacing {name} of MLflow run {run_id}") as client, work_folder() as folder:
        (folder / name).write_bytes(content)
        client.log_artifact(run_id, str(folder / name))


def run_ids(model: str, key: str) -> list[str]:
    """The MLflow runs of a training, whatever became of them."""
    with asking(f"looking for the candidates of {model}, key {key}") as client:
        experiment = client.get_experiment_by_name(model)
        runs = [] if experiment is None else runs_of(client, experiment.experiment_id, f"tags.`{Tag.KEY}` = '{key}'")
    return [run.info.run_id for run in runs]


def ended(model: str) -> list[Ended]:
    """The runs of all trainings of a model, without those that still run."""
    with asking(f"looking for the candidates of {model}") as client:
        experiment = client.get_experiment_by_name(model)
        which = "attributes.status != 'RUNNING'"
        runs = [] if experiment is None else runs_of(client, experiment.experiment_id, which)
    return [
        Ended(run.info.run_id, run.data.tags[Tag.FAMILY], as_of)
        for run in runs
        if {Tag.KEY, Tag.FAMILY} <= run.data.tags.keys()  # else somebody else's
        if (as_of := _moment(run.data.tags.get(Tag.AS_OF, ""))) is not None
    ]


def registered() -> set[str]:
    """The runs that MLflow's registry names, whoever registered them and under whatever name."""
    runs: set[str] = set()
    with asking("looking which runs are registered") as client:
        token = None
        while token != "":
            versions = client.search_model_versions(max_results=_PAGE, page_token=token)
            runs |= {version.run_id for version in versions if version.run_id}
            token = versions.token or ""
    return runs


def remove(run_id: str) -> None:
    """Remove the files of a run and of its model, then both, as far as MLflow's clients can: its database keeps their
    rows, marked as deleted, until `mlflow gc`. Again is harmless."""
    with asking(f"removing MLflow run {run_id}") as client:
        run = client.get_run(run_id)
        for model in client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run_id}'"):
            _repository(model.artifact_location).delete_artifacts()
            _delete_model(client, model.model_id)
        _repository(run.info.artifact_uri).delete_artifacts()
        for trial in runs_of(client, run.info.experiment_id, f"tags.`{Tag.TRIAL_OF}` = '{run_id}'"):
            client.delete_run(trial.info.run_id)
        client.delete_run(run_id)


def _repository(uri: str) -> ArtifactRepository:
    return get_artifact_repository(uri, tracking_uri=settings().mlflow_url)


def url(run_id: str) -> str:
    """The page of a run in MLflow's UI."""
    with asking(f"finding MLflow run {run_id}") as client:
        return f"{settings().mlflow_url}/#/experiments/{client.get_run(run_id).info.experiment_id}/runs/{run_id}"


def tags(run_id: str) -> dict[str, str]:
    """The tags of a candidate, as MLflow has them: everybody may write them."""
    with asking(f"reading the tags of MLflow run {run_id}") as client:
        return dict(client.get_run(run_id).data.tags)


def parameters_of(run_id: str) -> dict[str, str]:
    """The chosen hyperparameters of a candidate, as MLflow has them."""
    with asking(f"reading the parameters of MLflow run {run_id}") as client:
        return dict(client.get_run(run_id).data.params)


def hyperparameters(run_id: str, family: str) -> Parameters:
    """The chosen hyperparameters of a candidate of a family of ours, with which it can be fitted again."""
    chosen = parameters_of(run_id)
    return {
        name: (int if declared.whole else float)(chosen[name])
        for name, declared in space(family, {}).items()
        if name in chosen
    }


def experiment_id(client: MlflowClient, model: str) -> str:
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
    if experiment is None:
        raise _deleted(model, "it was deleted for good meanwhile", "clear this task: a new one is made")
    if experiment.lifecycle_stage != LifecycleStage.ACTIVE:
        number = experiment.experiment_id
        restore = f"MLFLOW_TRACKING_URI={settings().mlflow_url} mlflow experiments restore --experiment-id {number}"
        raise _deleted(
            model,
            f"it was deleted (its id is {number})",
            f"restore it (`{restore}`), or delete it for good (`mlflow gc --experiment-ids {number}`); "
            "then clear this task",
        )
    return str(experiment.experiment_id)


def _deleted(model: str, observed: str, next_step: str) -> EvidenceMissing:
    return EvidenceMissing(
        f"looking up the MLflow experiment {model}",
        found=observed,
        expected="an experiment for the model's candidates",
        next_step=next_step,
    )
