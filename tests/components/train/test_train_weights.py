"""Weights of rows: in the fit of every family, and in every metric."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as of_sklearn

from evergreen.errors import EvidenceMissing, SpecError
from evergreen.families import OURS, Family, family
from evergreen.model import families, metrics
from evergreen.model.rows import inputs, predict, weights
from evergreen.settings import PROJECT
from evergreen.spec.kinds import FeatureType
from evergreen.spec.load import load_spec
from evergreen.spec.problem import LabelType, problem

VALID = PROJECT / "tests" / "specs" / "valid"
TYPES: dict[str, FeatureType] = {"visits": "float", "plan": "category"}
SMALL = {
    "random_forest": {"n_estimators": 5, "min_samples_leaf": 1, "max_leaf_nodes": 16},
    "gradient_boosting": {"max_iter": 20, "min_samples_leaf": 5, "learning_rate": 0.3},
    "mlp": {"epochs": 60, "units": 16, "learning_rate": 0.02, "batch_size": 64, "layers": 1, "dropout": 0.0},
    "logistic_regression": {"C": 100.0},
    "ridge": {"alpha": 0.01},
}


def rows(label: LabelType) -> tuple[pd.DataFrame, np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Half of the rows say the opposite of the others."""
    random = np.random.default_rng(1)
    frame = pd.DataFrame({"visits": random.uniform(0, 10, 400), "plan": random.choice(["a", "b"], 400)})
    true = frame["visits"].to_numpy() if label == "numeric" else (frame["visits"] > 5).to_numpy(np.int64)
    first = np.arange(400) % 2 == 0
    return frame, np.where(first, true, (10 if label == "numeric" else 1) - true), first


@pytest.mark.parametrize("name", OURS)
def test_a_row_that_does_not_count_teaches_nothing(name: str) -> None:
    label: LabelType = "numeric" if name == "ridge" else "binary"
    frame, labels, first = rows(label)
    asked = inputs(TYPES, pd.DataFrame({"visits": [1.0, 9.0], "plan": ["a", "b"]}))
    answers = {}
    for counting in (True, False):
        made = families.build(name, SMALL[name], TYPES, 7, label=label)
        fitted = families.fit(made, inputs(TYPES, frame), labels, (first == counting).astype(np.float64) * 2)
        low, high = predict(fitted, asked)
        answers[counting] = high > low
    assert answers == {True: True, False: False}


@pytest.mark.parametrize("name", OURS)
def test_without_weights_the_fit_is_what_it_was(name: str) -> None:
    label: LabelType = "numeric" if name == "ridge" else "binary"
    frame, labels, _ = rows(label)
    taken = inputs(TYPES, frame)
    plain = families.build(name, SMALL[name], TYPES, 7, label=label).fit(taken, labels)
    fitted = families.fit(families.build(name, SMALL[name], TYPES, 7, label=label), taken, labels, None)
    apart = {"rtol": 1e-12} if name == "mlp" else {"rtol": 0}  # its layers are added up by scikit-learn
    np.testing.assert_allclose(predict(plain, taken), predict(fitted, taken), **apart)


def decided(score: Callable[..., float]) -> Callable[..., float]:
    return lambda labels, answers, sample_weight: score(labels, answers >= 0.5, sample_weight=sample_weight)


def calibration(labels: Any, answers: Any, sample_weight: Any) -> float:
    places = np.minimum(answers * 15, 14).astype(int)
    sums = [abs(np.sum((sample_weight * (answers - labels))[places == place])) for place in range(15)]
    return float(sum(sums) / sample_weight.sum())


SKLEARN: dict[str, Callable[..., float]] = {
    "roc_auc": of_sklearn.roc_auc_score,
    "average_precision": of_sklearn.average_precision_score,
    "log_loss": of_sklearn.log_loss,
    "brier": of_sklearn.brier_score_loss,
    "rmse": of_sklearn.root_mean_squared_error,
    "mae": of_sklearn.mean_absolute_error,
    "r2": of_sklearn.r2_score,
    "accuracy": decided(of_sklearn.accuracy_score),
    "precision": decided(partial(of_sklearn.precision_score, zero_division=0)),
    "recall": decided(of_sklearn.recall_score),
    "f1": decided(of_sklearn.f1_score),
    "expected_calibration_error": calibration,
    "median_absolute_error": of_sklearn.median_absolute_error,
    "bias": lambda labels, answers, sample_weight: abs(np.average(answers - labels, weights=sample_weight)),
    "wape": lambda labels, answers, sample_weight: (
        np.average(np.abs(answers - labels), weights=sample_weight) / np.average(np.abs(labels), weights=sample_weight)
    ),
}


@given(
    st.lists(
        st.tuples(st.booleans(), st.floats(0.01, 0.99), st.sampled_from([0.0, 0.25, 1.0, 7.5])), min_size=4, max_size=30
    )
)
def test_weighted_metrics_are_scikit_learns(rows: list[tuple[bool, float, float]]) -> None:
    truth, answers, counts = (np.array(column, np.float64) for column in zip(*rows, strict=True))
    for kind in ("binary", "numeric"):
        labels = truth.astype(np.int64) if kind == "binary" else truth
        for name, value in metrics.score(problem(kind), labels, answers, counts).items():
            if len(set(truth[counts > 0].tolist())) < 2:
                assert math.isnan(value)
            else:
                assert value == pytest.approx(SKLEARN[name](labels, answers, sample_weight=counts), abs=1e-9), name


def test_a_comparison_counts_rows_by_their_weight() -> None:
    labels, good, bad = np.array([0, 1] * 50), np.array([0.1, 0.9] * 50), np.array([0.9, 0.1] * 50)
    counts = np.array([1.0] * 50 + [0.0] * 50)
    mixed = np.concatenate([good[:50], bad[50:]])
    judged = metrics.metric(problem("binary"), "log_loss")
    found = judged.compare(labels, mixed, good, np.arange(100).astype(object), weights=counts)
    assert (found.gain, found.low, found.high) == (0, 0, 0), "they differ where nothing counts"
    assert judged.compare(labels, mixed, good, np.arange(100).astype(object)).gain < 0
    assert judged.loss(labels, mixed, 0.1054, weights=counts).value == pytest.approx(0.1054, abs=1e-3)


def test_rows_of_which_none_counts_are_no_evidence() -> None:
    spec = load_spec(VALID / "spot")
    assert weights(spec, pd.DataFrame({"volume": [1.0, 3.0]})).tolist() == [0.5, 1.5]  # type: ignore[union-attr]
    with pytest.raises(EvidenceMissing, match="`volume` is 0 in all 2 rows"):
        weights(spec, pd.DataFrame({"volume": [0.0, 0.0]}))


def check(tmp_path: Path, old: str, new: str) -> str:
    folder = shutil.copytree(VALID / "spot", tmp_path / "spot")
    declared = (folder / "model.yaml").read_text()
    assert old in declared
    (folder / "model.yaml").write_text(declared.replace(old, new))
    with pytest.raises(SpecError) as caught:
        load_spec(folder, deep=True)
    return str(caught.value)


def test_what_cannot_be_a_weight_is_refused_at_the_check(tmp_path: Path) -> None:
    assert "weight, which label.sql does not return" in check(tmp_path / "a", "weight: volume", "weight: weight")
    assert "a weight is no key, no input and no label" in check(tmp_path / "b", "weight: volume", "weight: price")
    assert "returns volume, which is not declared" in check(tmp_path / "c", ", weight: volume", "")


def test_a_family_that_takes_no_weights_says_so_at_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not Family.weights, "what a package brings says that it takes them"
    monkeypatch.setattr(type(family("ridge")), "weights", False)
    said = check(tmp_path, "families: {ridge: {}}", "families: {ridge: {}, random_forest: {}}")
    assert "families.ridge" in said and "takes no weights" in said and "families.random_forest" not in said
