"""How well a version does: realised where labels are there, whatever they are, and estimated where they are open."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from evergreen.monitor import estimated, performing
from evergreen.monitor.comparison import Reference
from evergreen.spec.schema import ModelSpec
from tests.components.train.conftest import spec_in

START = datetime(2026, 1, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    return spec_in(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def of_numbers(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    label = {"name": "left", "type": "numeric", "horizon": "2d", "sources": ("events",)}
    gates = {"minimum_rows": 50, "floor": {"rmse": 5.0}}
    return spec_in(tmp_path_factory.mktemp("numbers"), label=label, gates=gates, search={"trials": 2, "metric": "rmse"})


def answers(rows: int, *, spread: float = 2.0, seed: int = 0, turned: bool = False) -> pd.DataFrame:
    """Customers whose chance follows `minutes`; the model is a little too sure of itself."""
    random = np.random.default_rng(seed)
    minutes = random.normal(0, spread, rows)
    chance = 1 / (1 + np.exp(minutes if turned else -minutes))
    return pd.DataFrame(
        {
            "customer_id": [f"c{number}" for number in range(rows)],
            "minutes": minutes,
            "prediction": 1 / (1 + np.exp(-1.5 * minutes)),
            "label": (random.random(rows) < chance).astype("int64"),
            "event_timestamp": [START + timedelta(days=number % 20) for number in range(rows)],
        }
    )


def test_matured_labels_of_one_class_are_told_as_that_with_their_loss(spec: ModelSpec) -> None:
    held_out = answers(2000)
    scored = answers(500, seed=1).assign(label=0, prediction=0.2)
    made = performing.realised(spec, scored, 0.8, held_out)
    assert (made.value, made.rows, made.lacking) == (None, 500, "no row of class 1")
    assert made.loss == pytest.approx(-np.log(0.8)) and made.findings == ()
    assert made.loss_reference == pytest.approx(log_loss(held_out["label"], held_out["prediction"]), abs=1e-3)
    wrong = performing.realised(spec, scored.assign(label=1), 0.8, held_out)
    (found,) = wrong.findings
    assert (wrong.value, found.cause, found.kind) == (None, "performance", "loss")


def test_the_realised_metric_has_an_interval_and_a_loss_beyond_chance_is_found(spec: ModelSpec) -> None:
    held_out, scored = answers(2000), answers(500, seed=1)
    reference = roc_auc_score(held_out["label"], held_out["prediction"])
    made = performing.realised(spec, scored, reference, held_out)
    assert made.value == pytest.approx(roc_auc_score(scored["label"], scored["prediction"]))
    assert made.low is not None and made.high is not None and made.low < made.value < made.high
    assert made.findings == () and not made.significant
    worse = performing.realised(spec, answers(500, seed=1, turned=True), reference, held_out)
    assert [each.cause for each in worse.findings] == ["performance"] and worse.significant


def likely(spec: ModelSpec, held_out: pd.DataFrame, window: pd.DataFrame, name: Any) -> estimated.Estimate:
    estimator = estimated.learn(spec, name, held_out)
    made = None if estimator is None else estimator(window.drop(columns="label"))
    assert made is not None
    return made


@pytest.mark.parametrize("spread", [0.4, 1.0, 2.0])
def test_a_loss_that_comes_with_other_inputs_is_estimated_without_labels(spec: ModelSpec, spread: float) -> None:
    window = answers(3000, spread=spread, seed=2)
    made = likely(spec, answers(4000), window, "roc_auc")
    assert made.value == pytest.approx(roc_auc_score(window["label"], window["prediction"]), abs=0.05)
    assert made.low < made.value < made.high


def test_the_estimate_is_told_as_a_loss_and_its_error_is_kept(spec: ModelSpec) -> None:
    held_out = answers(4000)
    reference = Reference(spec, held_out)
    before = answers(500, seed=3)
    made = performing.realised(spec, before, 0.9, held_out)
    same = performing.estimate(made, reference, answers(800, seed=4).drop(columns="label"), before, [])
    assert same.estimate_error is not None and abs(same.estimate_error) < 0.05
    assert [each.cause for each in same.findings if each.cause == "estimated performance"] == []
    flat = performing.estimate(made, reference, answers(800, spread=0.2, seed=4).drop(columns="label"), before, [])
    assert [each.cause for each in flat.findings][-1] == "estimated performance"
    unsure = performing.estimate(made, reference, answers(800, spread=0.2, seed=4), before, [0.6, -0.4, 0.5, 0.3, -0.6])
    assert not [each for each in unsure.findings if each.cause == "estimated performance"], (
        "its own errors are as large"
    )


def test_a_changed_relation_is_not_seen_without_labels(spec: ModelSpec) -> None:
    window = answers(3000, seed=5, turned=True)
    made = likely(spec, answers(4000), window, "roc_auc")
    assert made.value > 0.8 > 0.3 > roc_auc_score(window["label"], window["prediction"])


def test_errors_of_numbers_are_estimated_by_where_they_are_large(of_numbers: ModelSpec) -> None:
    def numbers(rows: int, spread: float, seed: int) -> pd.DataFrame:
        random = np.random.default_rng(seed)
        minutes = random.normal(0, spread, rows)
        return pd.DataFrame(
            {"minutes": minutes, "prediction": minutes, "label": minutes + random.normal(0, 0.2 + np.abs(minutes))}
        )

    held_out, window = numbers(4000, 1.0, 0), numbers(2000, 1.7, 1)
    made = likely(of_numbers, held_out, window, "rmse")
    truth = float(np.sqrt(np.square(window["label"] - window["prediction"]).mean()))
    before = float(np.sqrt(np.square(held_out["label"] - held_out["prediction"]).mean()))
    assert before * 1.2 < made.value == pytest.approx(truth, rel=0.15)


def test_a_reference_of_an_earlier_release_estimates_nothing(spec: ModelSpec) -> None:
    held_out = answers(500).drop(columns=["label", "event_timestamp"])
    assert estimated.learn(spec, "roc_auc", held_out) is None
    made = performing.realised(spec, answers(300, seed=1), 0.9, held_out)
    assert made.value is not None and made.loss_reference is None
