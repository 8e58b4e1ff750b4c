"""Tuning and logging with the real libraries: Optuna on Postgres, MLflow's server, scikit-learn, Keras."""

from __future__ import annotations

import io
import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evergreen.errors import EvidenceMissing
from evergreen.handovers.train import SoundTrainingSet
from evergreen.links import Link
from evergreen.run import Run
from evergreen.settings import PROJECT
from evergreen.spec.schema import ModelSpec

from .conftest import run_as_of, spec_in

FAMILIES = ("logistic_regression", "gradient_boosting", "mlp")
TrainingSet = Callable[..., SoundTrainingSet]


def finished_trials(run: Run, data: SoundTrainingSet, family: str) -> list[tuple[str, dict[str, float], list[float]]]:
    """State, parameters and fold scores of a study's finished trials, in order."""
    import optuna

    from evergreen.settings import settings

    study = optuna.load_study(
        study_name=f"{run.spec.model}/{data.key}/{family}",
        storage=settings().database_url("optuna", "postgresql+psycopg2"),
    )
    return [
        (trial.state.name, trial.params, list(trial.intermediate_values.values()))
        for trial in study.trials
        if trial.state.name in ("COMPLETE", "PRUNED")
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_candidate_is_logged_once_and_answers_as_it_did_when_it_was_fitted(
    spec: ModelSpec,
    training_set: TrainingSet,
    family: str,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import mlflow

    from evergreen.model import rows
    from evergreen.registry import artifacts, pipelines, records
    from evergreen.train import stages

    run = run_as_of(spec)
    data = training_set(run)
    ours, theirs = mlflow.get_tracking_uri(), "http://127.0.0.1:9"
    mlflow.set_tracking_uri(theirs)
    try:
        candidate = stages.tune(run, data, family)
        assert mlflow.get_tracking_uri() == theirs, "which server a process asks by itself is its own affair"
    finally:
        mlflow.set_tracking_uri(ours)
    assert (candidate.family, candidate.trials) == (family, spec.search.trials)
    assert candidate.run.page.endswith(candidate.run.id) and candidate.links() == {Link.MLFLOW_RUN: candidate.run.page}

    again = run_as_of(spec)
    assert stages.tune(again, data, family) == candidate, "a rerun finds the run and makes no other"
    assert len(finished_trials(run, data, family)) == spec.search.trials
    logged = mlflow.search_runs(
        search_all_experiments=True, filter_string=f"tags.`evergreen.key` = '{data.key}'", output_format="list"
    )
    assert [mlflow_run.info.run_id for mlflow_run in logged] == [candidate.run.id]

    temporary = tmp_path_factory.mktemp("temporary")
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(temporary))
        loaded = pipelines.pipeline(candidate.run.id)
    assert not [*temporary.iterdir()], "loading leaves no copy of the model behind"
    sample = json.loads(artifacts.read(records.candidate(candidate.run.id), "sample.json"))["rows"]
    frame = rows.inputs(spec.feature_types, pd.DataFrame([row["features"] for row in sample]))
    alone = pipelines.pipeline(candidate.run.id).predict_proba(frame)[:, 1]
    np.testing.assert_allclose(alone, [row["prediction"] for row in sample], rtol=0, atol=1e-12)
    reference = pd.read_parquet(io.BytesIO(artifacts.read(records.candidate(candidate.run.id), "reference.parquet")))
    assert list(reference.columns) == [*spec.feature_types, "prediction", "event_timestamp", "label"]
    held_out = rows.read(spec, data, "evaluate")
    of_held_out = loaded.predict_proba(held_out.inputs)[:, 1]
    assert (reference["prediction"].to_numpy() == of_held_out).all(), "saving and loading changes no bit"
    assert (reference["label"].to_numpy() == held_out.labels).all()

    mlflow_run = mlflow.get_run(candidate.run.id)
    assert mlflow_run.info.status == "FINISHED"
    assert {
        "evergreen.key",
        "evergreen.family",
        "evergreen.as_of",
        "evergreen.code",
        "evergreen.versions",
        "evergreen.model_uri",
    } <= set(mlflow_run.data.tags)
    (dataset,) = mlflow_run.inputs.dataset_inputs
    assert dataset.dataset.digest == data.content_hash
    model = mlflow.models.get_model_info(mlflow_run.data.tags["evergreen.model_uri"])
    assert model.signature.inputs.input_names() == list(spec.feature_types)
    assert model.saved_input_example_info is not None


def another_training(data: SoundTrainingSet, key: str) -> SoundTrainingSet:
    """The same rows under another key: a training that shares no study and no MLflow run with the first."""
    return data.model_copy(update={"key": key})


def runs_of(key: str) -> dict[str, str]:
    """MLflow run id → status, of a training key."""
    import mlflow

    runs = mlflow.search_runs(
        search_all_experiments=True, filter_string=f"tags.`evergreen.key` = '{key}'", output_format="list"
    )
    return {run.info.run_id: run.info.status for run in runs}


def predictions_of(candidate: dict[str, Any]) -> np.ndarray:
    from evergreen.registry import artifacts, records

    predictions: np.ndarray = pd.read_parquet(
        io.BytesIO(artifacts.read(records.candidate(candidate.run.id), "reference.parquet"))
    )["prediction"].to_numpy()
    return predictions


@pytest.fixture
def in_a_process(tmp_path: Path) -> Callable[..., subprocess.Popen[bytes]]:
    """Starts `tune` in a new process."""

    def start(run: Run, data: SoundTrainingSet, family: str) -> subprocess.Popen[bytes]:
        given = tmp_path / f"{family}-{data.key}.pickle"
        given.write_bytes(pickle.dumps((run, data, family)))
        command = [sys.executable, str(Path(__file__).with_name("tune_alone.py")), str(given)]
        with given.with_suffix(".log").open("wb") as log:
            return subprocess.Popen(
                command, stdout=log, stderr=log, env=os.environ | {"PYTHONPATH": str(PROJECT / "include")}
            )

    return start


@pytest.mark.long
def test_families_tuned_side_by_side_end_bit_for_bit_as_each_does_alone(
    spec: ModelSpec, training_set: TrainingSet, in_a_process: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    """Also: the same seed fits the same Keras network in two processes."""
    from evergreen.train import stages

    run = run_as_of(spec)
    beside = training_set(run)
    alone = another_training(beside, "alone")
    families = ("gradient_boosting", "mlp")
    processes = {family: in_a_process(run, beside, family) for family in families}
    for family, process in processes.items():
        assert process.wait(timeout=250) == 0, next(tmp_path.glob(f"{family}-*.log")).read_text()
    for family in families:
        theirs, ours = stages.tune(run, beside, family), stages.tune(run, alone, family)
        assert theirs.run.id != ours.run.id
        assert finished_trials(run, beside, family) == finished_trials(run, alone, family), family
        assert theirs.search_score == ours.search_score
        assert (predictions_of(theirs) == predictions_of(ours)).all(), f"{family}: predictions differ"


def test_a_search_begins_with_the_defaults_and_the_best_of_the_last_study_before_it(
    spec: ModelSpec, training_set: TrainingSet, tmp_path: Path
) -> None:
    """A backfill sees no later study, and no training those of other models or families, or of its own moment."""
    from evergreen.registry import artifacts, records
    from evergreen.spec.families import defaults, space
    from evergreen.train import stages, tuning

    family, other = "logistic_regression", "gradient_boosting"
    spec = spec_in(
        tmp_path / "warm",
        model=spec.model,
        families={family: {}, other: {"max_iter": [5, 15]}},
        search={"trials": 5, "seed": 7},
    )

    def trained(day: int, name: str = family, **changes: Any) -> tuple[str, list[dict[str, Any]]]:
        """The study of a training as of that day, and its trials."""
        run = run_as_of(spec, day)
        data = training_set(run).model_copy(update=changes)
        run_id = stages.tune(run, data, name).run.id
        trials = json.loads(artifacts.read(records.candidate(run_id), "trials.json"))
        return tuning.study(spec.model, data.key, name), trials

    last, of_last = trained(18)
    assert [trial["proposed_by"] for trial in of_last] == ["defaults", *["sampler"] * 4]
    assert of_last[0]["parameters"] == defaults(space(family, {}))

    _, of_other = trained(18, other)
    assert [trial["proposed_by"] for trial in of_other] == ["defaults", "family", *["sampler"] * 3]
    assert [trial["taken"] for trial in of_other].count(True) == 1

    _, of_next = trained(19)
    best = sorted((t for t in of_last if t["state"] == "COMPLETE"), key=lambda t: -t["score"])
    expected = [t["parameters"] for t in best if t["parameters"] != of_last[0]["parameters"]][:2]
    warm = [trial["parameters"] for trial in of_next if trial["proposed_by"] == last]
    assert warm and warm == expected[: len(warm)]
    assert trained(19, key="the same moment")[1] == of_next, "another training of that moment sees the same"

    _, of_earlier = trained(17)
    assert {trial["proposed_by"] for trial in of_earlier} == {"defaults", "sampler"}
    drawn = [
        next(t["parameters"] for t in trials if t["proposed_by"] == "sampler")
        for trials in (of_last, of_next, of_earlier)
    ]
    assert len({str(parameters) for parameters in drawn}) == 3, "each day draws points of its own"


def killed_when(process: subprocess.Popen[bytes], ready: Callable[[], bool]) -> None:
    """SIGKILL the process as soon as `ready`."""
    deadline = time.monotonic() + 200
    while not ready():
        assert process.poll() is None, "it ended before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=20) == -signal.SIGKILL


@pytest.mark.long
def test_a_killed_search_goes_on_where_it_was_and_ends_as_an_uninterrupted_one(
    spec: ModelSpec, training_set: TrainingSet, in_a_process: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    """Killed twice: in the middle of a trial of the study, and while the candidate is being logged."""
    import psycopg

    from evergreen.settings import settings
    from evergreen.train import stages

    family, trials = "gradient_boosting", 6
    spec = spec_in(
        tmp_path / "long",
        model=spec.model,
        families={family: {"max_iter": [30, 60]}},
        search={"trials": trials, "seed": 7},
        split=spec.split.model_copy(update={"folds": 5}),
    )
    run = run_as_of(spec)
    data = another_training(training_set(run), f"killed-{spec.model}")

    def states() -> list[str]:
        with psycopg.connect(settings().database_url("optuna")) as connection:
            if connection.execute("select to_regclass('trials')").fetchone() == (None,):
                return []
            return [state for (state,) in connection.execute("select state::text from trials order by number")]

    killed_when(in_a_process(run, data, family), lambda: states()[2:] == ["RUNNING"])
    left = states()
    assert len(left) == 3 and set(left[:2]) <= {"COMPLETE", "PRUNED"}, (
        "the case: two trials were finished, the third was not"
    )
    assert left[2] == "RUNNING"
    assert runs_of(data.key) == {}

    killed_when(in_a_process(run, data, family), lambda: "RUNNING" in runs_of(data.key).values())
    (half_written,) = runs_of(data.key)

    candidate = stages.tune(run, data, family)
    finished = [state for state in states() if state in ("COMPLETE", "PRUNED")]
    assert len(finished) == candidate.trials == trials, "exactly as many finished trials as asked for"
    assert states()[2] == "FAIL", "the trial that was interrupted is not counted"
    assert runs_of(data.key) == {half_written: "KILLED", candidate.run.id: "FINISHED"}

    whole = another_training(data, f"whole-{spec.model}")
    uninterrupted = stages.tune(run, whole, family)
    assert finished_trials(run, data, family) == finished_trials(run, whole, family)
    assert candidate.search_score == uninterrupted.search_score
    assert (predictions_of(candidate) == predictions_of(uninterrupted)).all()


def test_rows_that_leave_no_fold_to_score_are_missing_evidence(spec: ModelSpec, training_set: TrainingSet) -> None:
    from evergreen.train import stages

    from .conftest import rows_of

    run = run_as_of(spec)
    one_class = rows_of(range(20)).assign(left=0)
    with pytest.raises(EvidenceMissing, match="different labels"):
        stages.tune(run, training_set(run, one_class), "logistic_regression")


def test_what_a_killed_or_failed_training_began_to_log_is_cleared_by_the_next_one_and_a_living_ones_is_not(
    spec: ModelSpec,
) -> None:
    import mlflow

    from evergreen.registry import tracking
    from evergreen.settings import settings
    from evergreen.train import tuning

    client = mlflow.MlflowClient(settings().mlflow_url)
    mlflow.set_tracking_uri(settings().mlflow_url)
    experiment = mlflow.set_experiment(spec.model).experiment_id

    def begun(key: str) -> tuple[str, str]:
        tags = {
            "evergreen.study": tuning.study(spec.model, key, "mlp"),
            "evergreen.key": key,
            "evergreen.family": "mlp",
        }
        run_id = client.create_run(experiment, tags=tags).info.run_id
        return run_id, client.create_logged_model(experiment, "model", run_id).model_id

    killed, living, ended = begun("killed"), begun("living"), begun("ended")
    # As MLflow does for an exception: of SIGTERM, a time-out, a server that is away.
    client.set_terminated(ended[0], status="FAILED")
    other = tuning.study(spec.model, "other", "mlp")
    with tuning.alone(tuning.study(spec.model, "living", "mlp")):
        assert tracking.find(spec.model, "other", "mlp", study=other, is_idle=tuning.is_idle) is None
    assert [client.get_run(run_id).info.status for run_id, _ in (killed, living, ended)] == [
        "KILLED",
        "RUNNING",
        "KILLED",
    ]
    left = {model.model_id for model in client.search_logged_models([experiment])}
    assert left == {living[1]}, "the pending models of the killed one and of the one that ended are gone"


def test_a_deleted_experiment_is_missing_evidence_until_somebody_restores_it(
    spec: ModelSpec, training_set: TrainingSet
) -> None:
    import mlflow

    from evergreen.registry import tracking
    from evergreen.settings import settings
    from evergreen.train import stages

    client = mlflow.MlflowClient(settings().mlflow_url)
    experiment = client.create_experiment(spec.model)
    client.delete_experiment(experiment)
    run = run_as_of(spec)
    data = training_set(run)

    with pytest.raises(EvidenceMissing, match="it was deleted") as refused:
        stages.tune(run, data, "logistic_regression")
    assert f"experiments restore --experiment-id {experiment}" in refused.value.next_step
    with pytest.raises(EvidenceMissing, match="it was deleted"):
        tracking.last_key(spec.model, "logistic_regression", before=run.as_of)

    client.restore_experiment(experiment)
    assert tracking.last_key(spec.model, "logistic_regression", before=run.as_of) is None


def test_a_training_that_was_done_before_and_whose_files_are_gone_is_done_again(
    spec: ModelSpec, training_set: TrainingSet, tmp_path: Path
) -> None:
    import mlflow

    from evergreen.history import ledger
    from evergreen.history.events import Trained
    from evergreen.registry import pipelines
    from evergreen.train import stages

    run = run_as_of(spec)
    data, family = training_set(run), "logistic_regression"
    lost = stages.tune(run, data, family)
    trials = len(finished_trials(run, data, family))
    damaged = tmp_path / "model.skops"
    damaged.write_bytes(b"damaged")
    model_id = mlflow.get_run(lost.run.id).data.tags["evergreen.model_uri"].removeprefix("models:/")
    mlflow.MlflowClient().log_model_artifact(model_id, str(damaged))

    anew = stages.tune(run, data, family)
    assert anew.run.id != lost.run.id and anew.search_score == lost.search_score
    assert pipelines.pipeline(anew.run.id) is not None
    assert len(finished_trials(run, data, family)) == trials, "the search is not done again"
    assert stages.tune(run, data, family) == anew, "and then it is found"
    trained = [entry.event for entry in ledger.entries(spec.model) if isinstance(entry.event, Trained)]
    assert [event.run_id for event in trained] == [lost.run.id, anew.run.id]
    assert {(event.key, event.family, event.score) for event in trained} == {(data.key, family, lost.search_score)}
