"""A model that is too sure of itself states true probabilities by a map of what its time folds say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import mlflow
import numpy as np
import pytest
import skops.io

from evergreen.evaluate import stages
from evergreen.explain.explaining import raw
from evergreen.govern import card, carding
from evergreen.govern import stages as govern
from evergreen.handovers.train import SoundTrainingSet
from evergreen.model import calibrating, rows
from evergreen.model.contributions import adds_up, explain
from evergreen.registry import artifacts, pipelines, records
from evergreen.registry import stages as registry
from evergreen.registry.contents import GRAPH, PIPELINE, Evaluation, Recipe
from evergreen.settings import settings
from evergreen.spec.business_value import BusinessValue
from evergreen.spec.measures import CalibrationMethod
from evergreen.spec.schema import ModelSpec
from evergreen.train import folding
from evergreen.train import stages as train
from tests.components.train.conftest import DAYS, SECTIONS, rows_of, spec_in

from .conftest import run_as_of

FAMILY = "gradient_boosting"
# Learned by heart: it is as sure of chance as of what it knows.
TOO_SURE = {"learning_rate": 0.8, "max_iter": 60, "min_samples_leaf": 10, "max_leaf_nodes": 31}
VALUE = BusinessValue(currency="EUR", true_positive=8, false_positive=-4, true_negative=0, false_negative=-1)


@pytest.mark.parametrize("method", ["sigmoid", pytest.param("isotonic", marks=pytest.mark.long)])
def test_what_a_model_states_is_nearer_to_what_comes_true_and_its_ranking_stays(
    method: CalibrationMethod,
    spec: ModelSpec,
    training_set: Callable[..., SoundTrainingSet],
    tmp_path: Path,
) -> None:
    model = spec_in(
        tmp_path / "model",
        model=spec.model,
        calibrate=method,
        families={FAMILY: TOO_SURE},
        search={"trials": 1, "seed": 7},
        label={**SECTIONS["label"], "business_value": VALUE.model_dump()},
        gates={"minimum_rows": 100, "floor": {"roc_auc": 0.5}, "better_than_champion": {"margin": 0.2}},
    )
    run = run_as_of(model)
    data = training_set(run, rows_of(range(DAYS), 300))
    candidate = train.tune(run, data, FAMILY)
    files = records.candidate(candidate.run.id)
    recipe = artifacts.load(files, Recipe)
    assert recipe.calibration is not None and recipe.calibration.method == method
    learn, later = rows.read(model, data, "learn"), rows.read(model, data, "evaluate")
    parts = folding.usable(model, learn).parts
    assert candidate.calibrated_on == recipe.calibration.rows == sum(len(part.later.labels) for part in parts)
    assert all((part.later.frame["event_timestamp"] < data.evaluate.start).all() for part in parts)
    assert folding.decided(model, parts, FAMILY, recipe.parameters) == (recipe.calibration, recipe.threshold)
    assert mlflow.get_run(candidate.run.id).data.metrics["calibration_rows"] == candidate.calibrated_on

    pipeline = pipelines.pipeline(candidate.run.id)
    before, after = (rows.predict(each, later.inputs) for each in (calibrating.uncalibrated(pipeline), pipeline))
    ranked = np.argsort(before, kind="stable")
    assert (np.diff(after[ranked]) >= 0).all() and (before != after).all()
    assert GRAPH in files.files, "the map is in the graph, which answers as the pipeline does"
    types = skops.io.get_untrusted_types(data=artifacts.read(files, PIPELINE))
    assert not [name for name in types if name.startswith("evergreen")], "scikit-learn alone can load it"

    evaluated = stages.evaluate(run, data, (candidate,))
    scores, uncalibrated = evaluated.best.scores, evaluated.best.uncalibrated
    assert uncalibrated is not None and not {"accuracy", "f1"} & uncalibrated.keys()
    error = "expected_calibration_error"
    assert (scores[error] or 1.0) < 0.5 * (uncalibrated[error] or 0.0), (scores, uncalibrated)
    assert (scores["log_loss"] or 9.0) < (uncalibrated["log_loss"] or 0.0)
    assert scores["roc_auc"] == pytest.approx(uncalibrated["roc_auc"], abs=1e-12 if method == "sigmoid" else 0.01)
    assert artifacts.load(records.candidate(candidate.run.id), Evaluation).uncalibrated == uncalibrated
    passed = stages.gates(run, evaluated)
    page = (settings().reports / model.model / "gates" / f"{run.interval.partition}.html").read_text(encoding="utf-8")
    assert f"{FAMILY} before calibration" in page
    number = registry.register(run, train.refit(run, govern.approve(run, passed))).version
    text = card.paper(run, carding.facts_of(run, number)).markdown()
    assert f"| Calibration | {recipe.calibration} |" in text and "| Before calibration |" in text

    scale, score = raw(model, pipeline)
    assert scale == "log-odds before calibration"
    made = explain(later.inputs.head(1), learn.inputs, score, 0)
    assert adds_up(made) and made.score == calibrating.scores(calibrating.uncalibrated(pipeline), later.inputs)[0]
