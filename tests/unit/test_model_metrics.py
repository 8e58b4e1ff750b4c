"""The metrics and the paired comparison, against scikit-learn on cases small enough to check row by row."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    brier_score_loss,
    f1_score,
    log_loss,
    mean_absolute_error,
    median_absolute_error,
    precision_score,
    r2_score,
    recall_score,
    roc_auc_score,
    root_mean_squared_error,
)

from evergreen.model import intervals, metrics
from evergreen.spec.measures import MEASURES, MetricName
from evergreen.spec.problem import Binary, Multiclass, Numeric, Problem

ALL: tuple[MetricName, ...] = Binary().metrics
BINS = np.linspace(0, 1, 16)  # fifteen, as they are usual


def calibration(true: Any, stated: Any) -> float:
    """The expected calibration error, bin by bin."""
    apart = 0.0
    for low, high in itertools.pairwise(BINS):
        there = (stated >= low) & ((stated < high) | (high == 1) & (stated == 1))
        if there.any():
            apart += there.mean() * abs(stated[there].mean() - true[there].mean())
    return float(apart)


def decided(score: Callable[..., float]) -> Callable[..., float]:
    return lambda labels, predictions: score(labels, predictions >= 0.5)


SKLEARN: dict[str, Callable[..., float]] = {
    "roc_auc": roc_auc_score,
    "average_precision": average_precision_score,
    "log_loss": lambda labels, predictions: log_loss(labels, predictions, labels=[0, 1]),
    "brier": brier_score_loss,
    "accuracy": decided(accuracy_score),
    "precision": decided(lambda labels, yes: precision_score(labels, yes, zero_division=0)),
    "recall": decided(recall_score),
    "f1": decided(f1_score),
    "expected_calibration_error": calibration,
}


def a_case(rows: int, seed: int = 0) -> tuple[metrics.Labels, metrics.Floats, metrics.Floats]:
    """Labels, and two models' predictions rounded so that many are equal."""
    random = np.random.default_rng(seed)
    labels = (random.random(rows) < 0.3).astype(np.int64)
    labels[:2] = 0, 1
    good = np.clip(0.3 * labels + random.random(rows) * 0.6, 0, 1).round(1)
    return labels, good, random.random(rows).round(1)


@pytest.mark.parametrize("metric", ALL)
def test_a_score_is_scikit_learns(metric: MetricName) -> None:
    labels, predictions, _ = a_case(50)
    assert metrics.score(Binary(), labels, predictions)[metric] == pytest.approx(
        SKLEARN[metric](labels, predictions), abs=1e-12
    )


@pytest.mark.parametrize(
    ("labels", "predictions"),
    [([], []), ([1, 1], [0.2, 0.4]), ([0, 0], [0.2, 0.4]), ([0, 1], [0.2, np.nan]), ([0, 1], [np.inf, 0.4])],
)
def test_a_score_that_is_not_defined_is_nan_for_every_metric(labels: list[int], predictions: list[float]) -> None:
    scores = metrics.score(Binary(), np.array(labels, np.int64), np.array(predictions, np.float64))
    assert set(scores) == set(ALL)
    assert all(np.isnan(value) for value in scores.values()), scores


@pytest.mark.parametrize("metric", ALL)
@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1))
def test_weighting_rows_is_repeating_them(metric: MetricName, seed: int) -> None:
    labels, predictions, _ = a_case(30, seed)
    weights = np.random.default_rng(seed).integers(0, 4, size=(3, 30))
    weights[:, :2] = 1  # both classes are drawn
    weighted = metrics.metric(Binary(), metric).weighted(labels, predictions)(weights.astype(np.float64))
    expected = [SKLEARN[metric](np.repeat(labels, count), np.repeat(predictions, count)) for count in weights]
    assert weighted == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("metric", ALL)
@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), entities=st.integers(1, 30))
def test_identical_predictions_gain_nothing_with_certainty(metric: MetricName, seed: int, entities: int) -> None:
    labels, predictions, _ = a_case(30, seed)
    keys = np.array([f"c{number % entities}" for number in range(30)], object)
    comparison = metrics.metric(Binary(), metric).compare(labels, predictions, predictions.copy(), keys)
    assert comparison[0] == 0.0 and comparison[3:5] == (30, entities)
    ends = [each for each in (comparison.low, comparison.high, comparison.error) if not np.isnan(each)]
    assert ends in ([0.0] * 3, []), "of one entity, or of a class that one entity has alone, nothing is known"


@pytest.mark.parametrize("metric", ALL)
def test_the_interval_is_the_one_of_leaving_whole_entities_out_by_hand(metric: MetricName) -> None:
    labels, new, old = a_case(120)
    keys = np.array([f"c{number % 40}" for number in range(120)], object)
    comparison = metrics.metric(Binary(), metric).compare(labels, new, old, keys)
    gains = []
    for name in np.unique(keys):
        rows = keys != name
        gain = SKLEARN[metric](labels[rows], new[rows]) - SKLEARN[metric](labels[rows], old[rows])
        gains.append(-gain if MEASURES[metric].lower_is_better else gain)
    error = float(np.sqrt(np.square(np.array(gains) - np.mean(gains)).sum()))
    assert (comparison.rows, comparison.entities) == (120, 40)
    assert comparison.error == pytest.approx(error, rel=1e-6)
    half = stats.t.ppf(0.975, 39) * error
    assert comparison[1:3] == pytest.approx((comparison.gain - half, comparison.gain + half), abs=1e-9)


@pytest.mark.parametrize(
    ("sizes", "enough"), [([10] * 6, 6.0), ([1], 1.0), ([90, 10], 1.2195), ([1000] + [1] * 99, 1.2077)]
)
def test_where_a_few_groups_have_most_rows_only_they_count(sizes: list[int], enough: float) -> None:
    assert intervals.effective(np.array(sizes, float)) == pytest.approx(enough, abs=1e-3)
    rows = np.repeat(np.arange(len(sizes)), sizes)
    spread = intervals.jackknife(lambda times: times @ rows / times.sum(axis=1), rows.astype(object))
    assert spread.freedom == pytest.approx(enough - 1, abs=1e-3)


def test_entities_are_left_out_and_not_their_rows() -> None:
    """A hundred copies of each row say no more than one of each."""
    labels, new, old = a_case(60)
    keys = np.array([f"c{number}" for number in range(60)], object)
    once = metrics.metric(Binary(), "roc_auc").compare(labels, new, old, keys)
    often = metrics.metric(Binary(), "roc_auc").compare(
        *(np.repeat(column, 100) for column in (labels, new, old, keys))
    )
    assert often[:3] == pytest.approx(once[:3], abs=1e-9)


def test_the_comparison_is_the_same_whatever_is_held_in_memory_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, new, old = a_case(60)
    keys = np.array([f"c{number}" for number in range(60)], object)
    whole = metrics.metric(Binary(), "log_loss").compare(labels, new, old, keys)
    monkeypatch.setattr(intervals, "_CHUNK", 60 * 7)
    assert metrics.metric(Binary(), "log_loss").compare(labels, new, old, keys) == pytest.approx(whole, abs=1e-12)


def test_of_very_many_entities_blocks_are_left_out_and_the_interval_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, new, old = a_case(3000)
    keys = np.arange(3000).astype(object)
    blocks = metrics.metric(Binary(), "log_loss").compare(labels, new, old, keys)
    monkeypatch.setattr(intervals, "MOST_BLOCKS", 3000)
    each = metrics.metric(Binary(), "log_loss").compare(labels, new, old, keys)
    assert blocks.error == pytest.approx(each.error, rel=0.15) and blocks.error != each.error


def test_an_interval_that_cannot_be_had_is_nan() -> None:
    """Of one entity nothing can be told; nor where one entity alone has a class."""
    labels, predictions, other = a_case(30)
    metric = metrics.metric(Binary(), "roc_auc")
    one = metric.compare(labels, predictions, other, np.full(30, "a", object))
    alone = metric.compare(labels, predictions, other, np.where(labels == 1, "a", "b").astype(object))
    for comparison in (one, alone):
        assert np.isfinite(comparison.gain)
        assert np.isnan([comparison.low, comparison.high, comparison.error]).all()


@given(threshold=st.floats(0.05, 0.95))
def test_a_decision_is_taken_at_the_labels_threshold(threshold: float) -> None:
    labels, predictions, _ = a_case(60)
    scores = metrics.score(Binary(threshold), labels, predictions)
    yes = predictions >= threshold
    assert scores["accuracy"] == pytest.approx(accuracy_score(labels, yes))
    assert scores["f1"] == pytest.approx(f1_score(labels, yes, zero_division=0))
    assert scores["roc_auc"] == metrics.score(Binary(), labels, predictions)["roc_auc"]


def numbers(rows: int, seed: int = 0) -> tuple[metrics.Labels, metrics.Floats, metrics.Floats]:
    """Labels far from 0, as amounts are, with predictions of which some err alike."""
    random = np.random.default_rng(seed)
    labels = 1000 + random.normal(0, 5, rows).round(1)
    return labels, labels + random.normal(1, 2, rows).round(0), labels + random.normal(0, 6, rows)


OF_NUMBERS: dict[MetricName, Callable[..., float]] = {
    "rmse": root_mean_squared_error,
    "mae": mean_absolute_error,
    "r2": r2_score,
    "median_absolute_error": median_absolute_error,
    "bias": lambda labels, predictions: abs(float(np.mean(predictions - labels))),
    "wape": lambda labels, predictions: float(np.abs(predictions - labels).sum() / np.abs(labels).sum()),
}


@pytest.mark.parametrize("metric", OF_NUMBERS)
@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(5, 31))
def test_a_score_of_numbers_is_scikit_learns_and_weighting_rows_is_repeating_them(
    metric: MetricName, seed: int, rows: int
) -> None:
    labels, predictions, _ = numbers(rows, seed)
    assert set(metrics.score(Numeric(), labels, predictions)) == set(OF_NUMBERS)
    expected = OF_NUMBERS[metric](labels, predictions)
    assert metrics.score(Numeric(), labels, predictions)[metric] == pytest.approx(expected, abs=1e-9)
    weights = np.random.default_rng(seed).integers(0, 4, size=rows)
    weights[:2] = 1
    repeated = OF_NUMBERS[metric](np.repeat(labels, weights), np.repeat(predictions, weights))
    weighted = metrics.metric(Numeric(), metric).value(labels, predictions, weights.astype(np.float64))
    assert weighted == pytest.approx(repeated, abs=1e-9)


CLASSES = Multiclass(("a", "b", "c"))
OF_CLASSES: dict[MetricName, Callable[..., float]] = {
    "roc_auc": lambda labels, predictions: roc_auc_score(labels, predictions, multi_class="ovr", average="macro"),
    "log_loss": log_loss,
    "accuracy": lambda labels, predictions: accuracy_score(labels, predictions.argmax(axis=1)),
    "macro_precision": lambda labels, predictions: precision_score(
        labels, predictions.argmax(axis=1), average="macro", zero_division=0
    ),
    "macro_recall": lambda labels, predictions: recall_score(labels, predictions.argmax(axis=1), average="macro"),
    "macro_f1": lambda labels, predictions: f1_score(labels, predictions.argmax(axis=1), average="macro"),
    "expected_calibration_error": lambda labels, predictions: calibration(
        predictions.argmax(axis=1) == labels, predictions.max(axis=1)
    ),
}


def of_classes(rows: int, seed: int = 0) -> tuple[metrics.Labels, metrics.Floats, metrics.Floats]:
    """Labels of three classes, and two models' probabilities; of the first many are equal."""
    random = np.random.default_rng(seed)
    labels = random.choice(3, rows, p=[0.6, 0.3, 0.1])
    labels[:3] = 0, 1, 2
    good = random.random((rows, 3)).round(1) + 0.1
    good[np.arange(rows), labels] += 0.3
    return labels, good / good.sum(axis=1, keepdims=True), random.dirichlet(np.ones(3), rows)


@pytest.mark.parametrize("metric", OF_CLASSES)
def test_a_score_of_classes_is_scikit_learns(metric: MetricName) -> None:
    labels, predictions, _ = of_classes(80)
    assert set(metrics.score(CLASSES, labels, predictions)) == set(OF_CLASSES)
    expected = OF_CLASSES[metric](labels, predictions)
    assert metrics.score(CLASSES, labels, predictions)[metric] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("metric", OF_CLASSES)
@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1))
def test_weighting_rows_of_classes_is_repeating_them(metric: MetricName, seed: int) -> None:
    labels, predictions, _ = of_classes(40, seed)
    weights = np.random.default_rng(seed).integers(0, 4, size=(3, 40))
    weights[:, :3] = 1  # every class is drawn
    weighted = metrics.metric(CLASSES, metric).weighted(labels, predictions)(weights.astype(np.float64))
    expected = [
        OF_CLASSES[metric](np.repeat(labels, count), np.repeat(predictions, count, axis=0)) for count in weights
    ]
    assert weighted == pytest.approx(expected, abs=1e-9)


def test_a_class_without_rows_leaves_no_mean_over_the_classes() -> None:
    labels, predictions, _ = of_classes(80)
    without = labels != 2
    scores = metrics.score(CLASSES, labels[without], predictions[without])
    over_all = [scores[name] for name in ("roc_auc", "macro_precision", "macro_recall", "macro_f1")]
    assert np.isnan(over_all).all(), "no mean over fewer classes passes for one over all"
    hits = predictions[without].argmax(axis=1) == labels[without]
    assert scores["accuracy"] == pytest.approx(hits.mean()) and np.isfinite(scores["log_loss"])


def test_probabilities_of_0_have_a_finite_loss() -> None:
    labels = np.array([0, 1, 2])
    assert 20 < metrics.score(CLASSES, labels, np.roll(np.eye(3), 1, axis=0))["log_loss"] < 40


@pytest.mark.parametrize("metric", OF_CLASSES)
def test_of_two_models_of_classes_the_better_one_gains(metric: MetricName) -> None:
    labels, new, old = of_classes(300)
    keys = np.array([f"c{number % 100}" for number in range(300)], object)
    comparison = metrics.metric(CLASSES, metric).compare(labels, new, old, keys)
    assert 0 < comparison.low < comparison.gain < comparison.high
    none = metrics.metric(CLASSES, metric).compare(labels, old, old.copy(), keys)
    assert none[:3] == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("kind", [Binary(), CLASSES], ids=lambda kind: kind.kind)
def test_a_loss_is_beyond_chance_when_the_predictions_got_worse(kind: Problem) -> None:
    labels, good, bad = a_case(400) if kind == Binary() else of_classes(400)
    for name in kind.metrics:
        metric = metrics.metric(kind, name)
        at_evaluation = metric.value(labels, good)
        same, fallen = (metric.loss(labels, predictions, at_evaluation) for predictions in (good, bad))
        assert same.drop == 0 and not same.beyond_chance, name
        assert fallen.drop == pytest.approx(metric.measure.gain(at_evaluation, metric.value(labels, bad)))
        assert fallen.drop > 0 and fallen.beyond_chance, name
    assert not metric.loss(labels[:0], good[:0], 0.5).beyond_chance
