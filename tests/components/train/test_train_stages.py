"""Tuning and logging with the real libraries: Optuna on Postgres, MLflow's server, scikit-learn, Keras."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from evergreen.run import Run
from evergreen.spec.schema import ModelSpec
from tests.components.train.conftest import run_as_of

FAMILIES = ("logistic_regression", "gradient_boosting", "mlp")
TrainingSet = Callable[..., dict[str, Any]]


def finished_trials(run: Run, data: dict[str, Any], family: str) -> list[tuple[str, dict[str, float], list[float]]]:
    """State, parameters and fold scores of a study's finished trials, in order."""
    import optuna

    from evergreen.settings import settings

    study = optuna.load_study(
        study_name=f"{run.spec.model}/{data['key']}/{family}",
        storage=settings().database_url("optuna", "postgresql+psycopg2"),
    )
    return [
        (trial.state.name, trial.params, list(trial.intermediate_values.values()))
        for trial in study.trials
        if trial.state.name in ("COMPLETE", "PRUNED")
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_candidate_is_logged_once_and_answers_as_it_did_when_it_was_fitted(
    spec: ModelSpec, training_set: TrainingSet, family: str
) -> None:
    import mlflow

    from evergreen.registry import store
    from evergreen.train import rows, stages, tracking

    run = run_as_of(spec)
    data = training_set(run)
    told = stages.tune(run, data, family)
    assert (told["family"], told["trials"]) == (family, spec.search.trials)
    assert run.links["MLflow run"].endswith(told["mlflow_run_id"])

    again = run_as_of(spec)
    assert stages.tune(again, data, family) == told, "a rerun finds the run and makes no other"
    assert again.links == run.links
    assert len(finished_trials(run, data, family)) == spec.search.trials
    logged = mlflow.search_runs(
        search_all_experiments=True, filter_string=f"tags.`evergreen.key` = '{data['key']}'", output_format="list"
    )
    assert [found.info.run_id for found in logged] == [told["mlflow_run_id"]]

    answers = tracking.load(told["mlflow_run_id"]).predict_proba(rows.read(spec, data, "learn").inputs)[:, 1]
    sample = json.loads(store.download(told["mlflow_run_id"], "sample.json").read_text())["rows"]
    import pandas as pd

    asked = rows.inputs(spec.feature_types, pd.DataFrame([row["features"] for row in sample]))
    alone = tracking.load(told["mlflow_run_id"]).predict_proba(asked)[:, 1]
    np.testing.assert_allclose(alone, [row["prediction"] for row in sample], rtol=0, atol=1e-12)
    reference = pd.read_parquet(store.download(told["mlflow_run_id"], "reference.parquet"))
    assert list(reference.columns) == [*spec.feature_types, "prediction"]
    assert (reference["prediction"].to_numpy() == answers).all(), "saving and loading changes no bit"

    found = mlflow.get_run(told["mlflow_run_id"])
    assert found.info.status == "FINISHED"
    assert {
        "evergreen.key",
        "evergreen.family",
        "evergreen.as_of",
        "evergreen.code",
        "evergreen.versions",
        "evergreen.model_uri",
    } <= set(found.data.tags)
    (dataset,) = found.inputs.dataset_inputs
    assert dataset.dataset.digest == data["content_hash"]
    model = mlflow.models.get_model_info(found.data.tags["evergreen.model_uri"])
    assert model.signature.inputs.input_names() == list(spec.feature_types)
    assert model.saved_input_example_info is not None
