"""The kinds of label: each says what its labels and predictions are, and which way each metric points."""

from __future__ import annotations

import json
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen.spec.columns import is_output
from evergreen.spec.gates import Gates
from evergreen.spec.problem import (
    MEASURES,
    Binary,
    LabelType,
    MetricName,
    Multiclass,
    Numeric,
    Problem,
    problem,
)
from evergreen.spec.schema import Label

COLOURS = Multiclass(("red", "dark green", "blue"))
PROBLEMS: tuple[Problem, ...] = (Binary(), Numeric(), COLOURS)
PREDICTIONS = {
    "binary": np.array([0.0, 0.25, 1.0]),
    "numeric": np.array([-3.5, 0.0, 12.0]),
    "multiclass": np.array([[1.0, 0.0, 0.0], [0.25, 0.5, 0.25], [0.1, 0.2, 0.7]]),
}


@pytest.fixture(params=PROBLEMS, ids=lambda each: each.kind)
def each(request: pytest.FixtureRequest) -> Problem:
    problem: Problem = request.param
    return problem


def test_every_kind_of_label_and_every_metric_is_declared_once() -> None:
    assert {each.kind for each in PROBLEMS} == set(get_args(LabelType))
    assert (
        set(MEASURES)
        == set(get_args(MetricName))
        == {name for each in PROBLEMS for name in each.metrics} | {"business_value"}
    )
    assert problem("binary") == Binary() and problem("numeric") == Numeric()
    assert problem("multiclass", COLOURS.classes) == COLOURS


def test_a_label_knows_its_problem() -> None:
    declared = {"name": "colour", "type": "multiclass", "horizon": "1d", "sources": ["a"], "classes": ["x", "y", "z"]}
    assert Label.model_validate_json(json.dumps(declared)).problem == Multiclass(("x", "y", "z"))


LOSSES = {"log_loss", "brier", "rmse", "mae"}
LOSSES |= {"expected_calibration_error", "median_absolute_error", "bias", "wape"}


@given(name=st.sampled_from(sorted(MEASURES)), one=st.floats(-9, 9), other=st.floats(-9, 9))
def test_a_gain_is_above_0_exactly_where_the_rank_is_higher(name: MetricName, one: float, other: float) -> None:
    measure = MEASURES[name]
    assert (measure.gain(one, other) > 0) == (measure.rank(one) > measure.rank(other))
    assert measure.gain(one, other) == -measure.gain(other, one)
    assert measure.reaches(one, one) and (measure.reaches(one, other) or measure.reaches(other, one))
    assert measure.lower_is_better == (name in LOSSES)


def test_predictions_survive_being_answered_and_kept_as_json(each: Problem) -> None:
    predictions = PREDICTIONS[each.kind]
    assert each.is_answer(predictions, 3) and not each.is_answer(predictions, 2)
    answers = json.loads(json.dumps(each.answers(predictions)))
    assert (each.predictions(answers) == predictions).all()
    columns = each.columns(predictions)
    assert tuple(columns) == each.outputs and all(map(is_output, each.outputs))
    assert (each.of_columns(pd.DataFrame(columns)) == predictions).all()
    assert each.predictions([]).shape == predictions[:0].shape


def test_a_class_is_answered_by_its_name() -> None:
    assert COLOURS.answers(PREDICTIONS["multiclass"])[1] == {"red": 0.25, "dark green": 0.5, "blue": 0.25}
    assert Binary().answers(PREDICTIONS["binary"]) == [0.0, 0.25, 1.0], "of two classes P(1) alone"


@pytest.mark.parametrize(
    "wrong",
    [
        np.array([[0.5, 0.6, -0.1]]),
        np.array([[0.5, 0.2, 0.2]]),
        np.array([[np.nan, 0.5, 0.5]]),
        np.array([[0.5, 0.5]]),
        np.array([0.5]),
    ],
)
def test_no_probabilities_of_the_classes_are_no_answer(wrong: np.ndarray) -> None:
    assert not COLOURS.is_answer(wrong, 1)


def test_a_nan_is_no_answer_of_any_kind(each: Problem) -> None:
    predictions = PREDICTIONS[each.kind].copy()
    predictions[(0,) * predictions.ndim] = np.nan
    assert not each.is_answer(predictions, 3)


def test_predictions_of_a_model_with_other_classes_are_taken_by_name() -> None:
    before = Multiclass(("blue", "white", "red"))
    taken = COLOURS.of(before, np.array([[0.2, 0.5, 0.3], [0.0, 1.0, 0.0]]))
    assert taken == pytest.approx(np.array([[0.6, 0.0, 0.4], [1 / 3, 1 / 3, 1 / 3]]))
    assert COLOURS.is_answer(taken, 2)


@pytest.mark.parametrize(("new", "old"), [(COLOURS, Binary()), (Binary(), Numeric()), (Numeric(), COLOURS)])
def test_predictions_of_another_kind_of_label_are_refused(new: Problem, old: Problem) -> None:
    with pytest.raises(ValueError, match=f"{old.kind} label, and the label is {new.kind} now"):
        new.of(old, PREDICTIONS[old.kind])


def test_labels_of_classes_are_numbered_as_they_are_declared() -> None:
    labels = COLOURS.labels(pd.Series(["blue", "red", "dark green", "blue"]))
    assert labels.tolist() == [2, 0, 1, 2]
    assert COLOURS.rows_of_class(labels) == {"red": 1, "dark green": 1, "blue": 2}
    assert COLOURS.baseline(labels, 2).tolist() == [[0.25, 0.25, 0.5]] * 2
    for unknown in ("green", None):
        with pytest.raises(ValueError, match="not among red, dark green, blue"):
            COLOURS.labels(["red", unknown])


@pytest.mark.parametrize(
    ("kind", "labels", "lacking"),
    [
        (Binary(), [], "no rows"),
        (Binary(), [0], "no row of class 1"),
        (Binary(), [1], "no row of class 0"),
        (Binary(), [0, 1], None),
        (Numeric(), [], "no rows"),
        (Numeric(), [2.5], "only the label 2.5"),
        (Numeric(), [2.5, 3], None),
        (COLOURS, [], "no rows"),
        (COLOURS, [1], "no row of class red, blue"),
        (COLOURS, [2, 1, 0], None),
    ],
)
def test_rows_lack_what_cannot_be_learned_without(kind: Problem, labels: list[float], lacking: str | None) -> None:
    assert kind.lacking(labels) == lacking


def test_each_class_has_the_bound_of_its_kind() -> None:
    gates = Gates.model_validate(
        {"minimum_rows": 100, "minimum_positives": 7, "minimum_per_class": 9, "floor": {"roc_auc": 0.7}}
    )
    assert [gates.fewest_of_class(each) for each in PROBLEMS] == [7, 0, 9]
