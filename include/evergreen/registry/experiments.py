"""A training in MLflow as people look for it: one parent run for each training, its candidates below it, and below each
candidate a run for each trial of its search, with its parameters and the score of each time fold.

All of it is for people: nothing here is read again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.entities import Run as MlflowRun
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from evergreen.registry.contents import Trial
from evergreen.registry.mlflow_server import asking
from evergreen.registry.tags import Tag
from evergreen.registry.tracking import experiment_id, runs_of
from evergreen.run import Run

_AT_ONCE = 4  # requests; MLflow's server has one worker
_STATES = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}


def parent(run: Run, key: str, candidates: Sequence[str], tags: Mapping[str, str]) -> str:
    """The run of a training, made once, with its candidates below it; returns its id."""
    with asking(f"looking for the run of training {key}") as client:
        experiment = experiment_id(client, run.spec.model)
        found = runs_of(client, experiment, f"tags.`{Tag.TRAINING}` = '{key}'")
        if found:
            run_id = str(found[-1].info.run_id)  # the oldest
        else:
            name = f"training as of {run.as_of:%Y-%m-%d %H:%M}"
            own = {Tag.TRAINING: key, Tag.AS_OF: run.as_of.isoformat(), Tag.REASON: run.reason}
            run_id = str(client.create_run(experiment, tags=own, run_name=name).info.run_id)
        client.log_batch(run_id, tags=[RunTag(name, text) for name, text in tags.items()])
        for each in candidates:
            client.set_tag(each, MLFLOW_PARENT_RUN_ID, run_id)
        client.set_terminated(run_id)
    return run_id


def trials(run: Run, candidate: str, family: str, metric: str, tried: Sequence[Trial]) -> int:
    """A run for each trial below its candidate's, once; returns how many were made now."""
    with asking(f"logging the trials of MLflow run {candidate}") as client:
        experiment = experiment_id(client, run.spec.model)
        there = {each.data.tags.get(Tag.TRIAL) for each in _below(client, experiment, candidate)}
        missing = [(number, trial) for number, trial in enumerate(tried) if str(number) not in there]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(lambda each: _log(client, experiment, candidate, family, metric, *each), missing))
    return len(missing)


def figures(run_id: str, folder: Path, below: str) -> None:
    """Add a folder of pictures to a run."""
    with asking(f"adding figures to MLflow run {run_id}") as client:
        client.log_artifacts(run_id, str(folder), below)


def _below(client: MlflowClient, experiment: str, candidate: str) -> list[MlflowRun]:
    return runs_of(client, experiment, f"tags.`{Tag.TRIAL_OF}` = '{candidate}'")


def _log(
    client: MlflowClient, experiment: str, candidate: str, family: str, metric: str, number: int, trial: Trial
) -> None:
    at = int(time.time() * 1000)
    tags = {
        MLFLOW_PARENT_RUN_ID: candidate,
        Tag.TRIAL_OF: candidate,
        Tag.TRIAL: str(number),
        Tag.PROPOSED_BY: trial.proposed_by,
        Tag.TAKEN: str(trial.taken).lower(),
    }
    made = client.create_run(experiment, tags=tags, run_name=f"{family} trial {number}")
    client.log_batch(
        made.info.run_id,
        metrics=list(_metrics(metric, trial, at)),
        params=[Param(name, str(value)) for name, value in trial.parameters.items()],
    )
    client.set_terminated(made.info.run_id, status=_STATES.get(trial.state, "FAILED"))


def _metrics(metric: str, trial: Trial, at: int) -> Iterator[Metric]:
    if trial.score is not None:
        yield Metric(f"folds_{metric}", trial.score, at, 0)
    for step, score in enumerate(trial.folds):
        yield Metric(f"fold_{metric}", score, at, step)
