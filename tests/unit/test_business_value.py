"""What predictions are worth, and the threshold that is worth most."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen.model import metrics, operating
from evergreen.spec import rules
from evergreen.spec.business_value import BusinessValue
from evergreen.spec.mistakes import Mistake
from evergreen.spec.problem import Binary, Multiclass, Numeric, problem
from evergreen.spec.schema import ModelSpec
from tests.small_models import TINY, tiny

VALUE = BusinessValue(currency="EUR", true_positive=40, false_positive=-10, true_negative=0, false_negative=0)
LABELS = np.array([1, 1, 0, 0])
PREDICTIONS = np.array([0.9, 0.3, 0.3, 0.1])


def worth(at: float, labels: np.ndarray = LABELS, predictions: np.ndarray = PREDICTIONS) -> float:
    return metrics.metric(Binary(at, VALUE), "business_value").value(labels, predictions)


def test_the_metric_is_what_a_thousand_predictions_are_worth() -> None:
    assert worth(0.5) == pytest.approx(1000 * 40 / 4)
    assert worth(0.2) == pytest.approx(1000 * (40 + 40 - 10) / 4)
    assert worth(0.05) == pytest.approx(1000 * (40 + 40 - 10 - 10) / 4)
    of = metrics.metric(Binary(0.2, VALUE), "business_value")
    weights = np.array([2.0, 0.0, 1.0, 1.0])
    assert of.value(LABELS, PREDICTIONS, weights) == pytest.approx(1000 * (2 * 40 - 10) / 4)
    low, high = of.interval(LABELS, PREDICTIONS, np.arange(4).astype(object))
    assert low < worth(0.2) < high


def test_a_row_costs_by_what_was_missed_too() -> None:
    value = BusinessValue(currency="EUR", true_positive=1, false_positive=-2, true_negative=3, false_negative=-4)
    of = metrics.metric(Binary(0.5, value), "business_value")
    assert of.value(np.array([1, 0, 0, 1]), np.array([0.9, 0.9, 0.1, 0.1])) == pytest.approx(1000 * (1 - 2 + 3 - 4) / 4)


def test_a_label_without_a_value_is_not_measured_by_it() -> None:
    assert "business_value" not in Binary().metrics and "business_value" in Binary(value=VALUE).metrics
    assert "business_value" not in Binary(value=VALUE).choosing


def test_the_default_threshold_is_where_a_yes_breaks_even() -> None:
    assert VALUE.break_even == pytest.approx(0.2)
    assert problem("binary", value=VALUE) == Binary()  # they predict alike
    assert problem("binary", value=VALUE).at(None).classes_of(np.array([0.19, 0.21])) == [0, 1]
    assert problem("binary", threshold=0.7, value=VALUE).classes_of(np.array([0.69, 0.7])) == [0, 1]
    assert problem("binary").classes_of(np.array([0.49, 0.5])) == [0, 1]
    assert problem("binary").at(0.1).classes_of(np.array([0.09, 0.1])) == [0, 1]


def test_other_labels_know_no_threshold() -> None:
    colours = Multiclass(("red", "green", "blue"))
    assert colours.at(0.3) is colours and Numeric().at(0.3) == Numeric()
    assert colours.classes_of(np.array([[0.1, 0.5, 0.4]])) == ["green"] and Numeric().classes_of(np.zeros(2)) is None


@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0])), min_size=1, max_size=30),
    st.tuples(*(st.integers(0, 20) for _ in range(2))),
    st.booleans(),
)
def test_no_threshold_is_worth_more_than_the_chosen_one(rows: list, costs: tuple[int, int], weighted: bool) -> None:
    labels, predictions = (np.array(each) for each in zip(*rows, strict=True))
    value = BusinessValue(
        currency="EUR", true_positive=1 + costs[0], false_positive=-1 - costs[1], true_negative=0, false_negative=0
    )
    weights = np.arange(1.0, len(rows) + 1) if weighted else np.ones(len(rows))

    def total(at: float) -> float:
        yes = predictions >= at
        return float((weights * yes * np.where(labels, value.true_positive, value.false_positive)).sum())

    chosen = operating.threshold(value, labels.astype(int), predictions, weights if weighted else None)
    assert 0 <= chosen < 1.001
    assert total(chosen) == pytest.approx(max(total(at) for at in [0.0, 0.05, 0.2, 0.4, 0.7, 0.95, 1.5]))


def test_of_equal_thresholds_the_one_nearest_to_break_even_is_chosen() -> None:
    assert operating.threshold(VALUE, np.array([1, 0]), np.array([0.6, 0.1])) == pytest.approx(0.35)
    wrong = operating.threshold(VALUE, np.array([0, 0]), np.array([0.6, 0.1]))  # nobody is worth a yes
    assert wrong > 0.6


MATRIX = {"currency": "EUR", "true_positive": 5, "false_positive": -1, "true_negative": 0, "false_negative": 0}
REFUSED: dict[str, tuple[dict[str, dict[str, object]], list[str]]] = {
    "a yes that is worth no more than a miss": (
        {"label": {"business_value": MATRIX | {"false_negative": 5}}},
        ["label.business_value.true_positive", "more than false_negative (5)"],
    ),
    "a no that is worth less than an alarm": (
        {"label": {"business_value": MATRIX | {"true_negative": -2}}},
        ["label.business_value.true_negative", "more than false_positive (-1)"],
    ),
    "a bound without a matrix": (
        {"gates": {"floor": {"business_value": 10.0}}},
        ["gates.floor.business_value", "(label.business_value)", "state it, or remove this bound"],
    ),
    "a search by decisions": (
        {"label": {"business_value": MATRIX}, "search": {"metric": "f1"}},
        ["search.metric", "whose threshold is chosen", "roc_auc, average_precision, log_loss or brier"],
    ),
    "a search by value": (
        {"label": {"business_value": MATRIX}, "search": {"metric": "business_value"}},
        ["search.metric"],
    ),
    "a number": (
        {
            "label": {"type": "numeric", "business_value": MATRIX},
            "search": {"metric": "rmse"},
            "gates": {"floor": {"rmse": 1.0}},
        },
        ["label.business_value", "this one is numeric", "remove it"],
    ),
}


def new(spec: ModelSpec) -> list[Mistake]:
    """Its mistakes beside those of the model without a matrix."""
    usual = rules.of_model(tiny())
    return [each for each in rules.of_model(spec) if each not in usual]


@pytest.mark.parametrize("why", REFUSED)
def test_a_matrix_that_makes_no_sense_is_told_with_what_to_do(why: str) -> None:
    changes, told = REFUSED[why]
    found = new(tiny(**{name: TINY[name] | section for name, section in changes.items()}))
    texts = [f"{each.key} {each.found} {each.allowed} {each.fix}" for each in found]
    assert any(all(each in text for each in told) for text in texts), texts


def test_a_matrix_is_taken_with_a_threshold_of_its_owner_too() -> None:
    stated = tiny(
        label=TINY["label"] | {"business_value": MATRIX, "threshold": 0.3}, search=TINY["search"] | {"metric": "f1"}
    )
    assert new(stated) == [] and not stated.label.chooses_threshold
    assert tiny(label=TINY["label"] | {"business_value": MATRIX}).label.chooses_threshold
    assert "threshold" not in tiny().label.model_dump() and "business_value" not in tiny().label.model_dump()
