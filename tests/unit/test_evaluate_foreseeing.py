"""How many rows the comparison with the champion needs, told before any comparison."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen.evaluate import foreseeing, planning
from evergreen.evaluate.planning import Outcomes, Plan
from evergreen.handovers.train import Comparison
from evergreen.history import events
from evergreen.spec.measures import MetricName
from evergreen.spec.problem import Binary, Multiclass, Numeric, Problem
from evergreen.spec.schema import ModelSpec
from tests.handovers import recorded_comparison
from tests.small_models import tiny

AS_OF = datetime(2026, 2, 1, tzinfo=UTC)


def before(**changes: Any) -> events.Judged:
    return recorded_comparison(AS_OF, **changes)


def spec_with(**stated: Any) -> ModelSpec:
    return tiny(
        split={"window": "28d", "evaluation": "4d", "minimum_rows": 1},
        gates={"minimum_rows": 1, "floor": {"roc_auc": 0.5}, "better_than_champion": stated},
    )


def test_a_spec_that_can_never_have_rows_enough_is_told_so_beforehand() -> None:
    last = before(low=-0.03, high=0.03, rows=1000, enough=2000)
    assert foreseeing.foreseen(spec_with(margin=0.03), last) == (
        "better than the champion: a margin of 0.03 in roc_auc needs about 889 rows; the last training had 1,000"
    )
    told = foreseeing.foreseen(spec_with(), last)
    assert told.startswith("WARNING") and "0.02 in roc_auc needs about 2,000 rows" in told, "by the margin of then"
    assert "Such rows tell 0.0283" in told and "(split.evaluation: 8d)" in told
    assert "(which split.window has no room for)" in foreseeing.foreseen(spec_with(margin=0.001), last)


@given(rows=st.integers(1, 10**6), enough=st.integers(1, 10**8), margin=st.floats(1e-4, 1.0))
def test_the_margin_that_the_warning_suggests_needs_no_warning(rows: int, enough: int, margin: float) -> None:
    last = before(bound=-margin, rows=rows, enough=enough)
    told = foreseeing.foreseen(spec_with(), last)
    assert told.startswith("WARNING") == (enough > rows)
    least = margin * math.sqrt(enough / rows) * (1 + 1e-9)
    assert not foreseeing.foreseen(spec_with(margin=least), last).startswith("WARNING")


def test_without_a_comparison_on_record_nothing_is_foreseen() -> None:
    """Of the first training, of a release that kept no intervals, and of a champion that was worth nothing."""
    for last in (None, before(), before(rows=100, bound=0.0)):
        assert "is told once outcomes of an evaluation are there" in foreseeing.foreseen(spec_with(), last)
    assert "no margin" in foreseeing.foreseen(spec_with(margin=0.0), before(rows=100, enough=None))


def plan(*, worth: float = 0.3, tells: float = 0.04, rows: int = 1000) -> Plan:
    return Plan(worth, Comparison(gain=0.0, low=None, high=None, tells=tells, rows=rows, groups=100))


def test_before_any_comparison_the_outcomes_so_far_say_how_many_rows_would_do() -> None:
    told = foreseeing.foreseen(spec_with(), None, plan())
    assert told.startswith("WARNING") and "a margin of 0.03 in roc_auc needs about 1,778 rows" in told
    assert "an evaluation as of now would have 1,000" in told and "Such rows tell 0.04" in told
    assert "two models that do not exist yet" in told, "it says what is assumed"
    assert not foreseeing.foreseen(spec_with(margin=0.05), None, plan()).startswith("WARNING")
    last = before(low=-0.03, high=0.03, rows=1000, enough=2000)
    assert "the last training had 1,000" in foreseeing.foreseen(spec_with(), last, plan()), "what was seen counts more"


def test_an_evaluation_of_one_group_can_never_tell() -> None:
    assert "Of one group there is no interval" in foreseeing.foreseen(spec_with(), None, None, 1)
    assert "is told once outcomes" in foreseeing.foreseen(spec_with(), None, None, 2)


@pytest.mark.parametrize(
    ("problem", "name"),
    [
        (Binary(), "roc_auc"),
        (Binary(), "log_loss"),
        (Binary(), "f1"),
        (Numeric(), "rmse"),
        (Numeric(), "mae"),
        (Multiclass(("a", "b", "c")), "log_loss"),
        (Multiclass(("a", "b", "c")), "macro_f1"),
    ],
)
def test_a_plan_is_made_for_each_kind_of_label(problem: Problem, name: MetricName) -> None:
    found = planning.planned(problem, name, outcomes(problem, 1250), 0.95)
    assert found is not None and found.worth > 0 and found.compared.tells is not None
    many = planning.planned(problem, name, outcomes(problem, 5000), 0.95)
    assert many is not None and many.compared.tells is not None
    assert found.compared.tells / many.compared.tells == pytest.approx(2.0, rel=0.25), "four times the rows tell half"


def test_the_assumed_models_are_of_the_worth_that_is_told() -> None:
    binary = planning.planned(Binary(), "roc_auc", outcomes(Binary(), 5000), 0.95)
    number = planning.planned(Numeric(), "r2", outcomes(Numeric(), 5000), 0.95)
    assert binary is not None and binary.worth == pytest.approx(0.30, abs=0.02)
    assert number is not None and number.worth == pytest.approx(0.5, abs=0.03)


def test_of_very_many_rows_a_part_is_looked_at_and_says_the_same() -> None:
    some, many = (outcomes(Numeric(), rows, entities=rows // 2) for rows in (5_000, 20_000))
    of_some, of_many = (planning.planned(Numeric(), "rmse", each, 0.95) for each in (some, many))
    assert of_some is not None and of_many is not None and of_some.compared.tells and of_many.compared.tells
    assert of_many.compared.rows == 20_000
    assert of_some.compared.tells / of_many.compared.tells == pytest.approx(2.0, rel=0.25)


def test_rows_that_lack_a_class_or_a_second_group_plan_nothing() -> None:
    rows = outcomes(Binary(), 100)
    assert planning.planned(Binary(), "roc_auc", Outcomes(np.zeros(100, np.int64), rows.groups), 0.95) is None
    assert planning.planned(Binary(), "roc_auc", Outcomes(rows.labels, np.full(100, "a", object)), 0.95) is None


def outcomes(problem: Problem, rows: int, entities: int | None = None) -> Outcomes:
    random = np.random.default_rng(rows)
    groups = random.integers(entities or rows // 4, size=rows).astype(str).astype(object)
    if problem.kind == "numeric":
        return Outcomes(random.normal(10.0, 3.0, rows), groups)
    return Outcomes(random.choice(len(problem.values or ()), rows).astype(np.int64), groups)
