"""When a person is asked, by whom an answer counts, and what the question shows."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest

from evergreen.govern import rules
from evergreen.handovers.gate import Gate, doubts, number
from evergreen.interval import Interval
from evergreen.model.code import spec_hash
from evergreen.run import Approval, Run
from evergreen.spec import rules as spec_rules
from evergreen.spec.risk import Risk
from tests.handovers import AS_OF, judged
from tests.small_models import TINY, tiny

HIGH: dict[str, Any] = {"tier": "high", "impact": "Somebody pays <b>twice</b>.", "approvers": ("anna", "ben")}


def risk(**changes: Any) -> Risk:
    return Risk.model_validate(HIGH | changes)


@pytest.mark.parametrize(
    ("tier", "warned", "asked"),
    [
        (None, True, False),
        ("low", True, False),
        ("medium", False, False),
        ("medium", True, True),
        ("high", False, True),
        ("high", True, True),
    ],
)
def test_a_person_is_asked_by_tier_and_warnings(tier: str | None, warned: bool, asked: bool) -> None:
    of_tier = None if tier is None else risk(tier=tier)
    assert bool(of_tier and of_tier.why_asked(["a column was empty"] if warned else [])) == asked


def test_an_answer_counts_with_a_reason_by_one_of_those_who_may() -> None:
    def said(**changes: Any) -> str | None:
        fields: dict[str, Any] = {"approved": True, "by": "anna", "reason": "looked at it", "how": "airflow"}
        return rules.refused(risk(), Approval(**fields | changes))

    assert said() is None
    assert said(approved=False) is None
    assert said(by=None, approved=False, reason="nobody") is None, "the time was over"
    assert "none of those who may" in str(said(by="carl"))
    assert "none of those who may" in str(said(by="")), "nobody by name is somebody who may not"
    for reason in ("", "  \n"):
        assert said(reason=reason) == "it has no reason"


def test_a_gate_that_chance_may_have_let_pass_warns() -> None:
    sure = Gate("roc_auc at least", 0.8, 0.7, "pass", "", low=0.75, high=0.85)
    narrow = Gate("log_loss at most", 0.39, 0.4, "pass", "", low=0.37, high=0.41)
    failed = Gate("brier at most", 0.5, 0.4, "fail", "", low=0.37, high=0.6)
    without = Gate("rows", 100.0, 50.0, "pass", "")
    endless = Gate("brier at most", 0.3, 0.4, "pass", "", low=-math.inf, high=math.inf)  # is none
    (told,) = doubts([sure, narrow, failed, without, endless])
    assert told == "log_loss at most: passes, and its interval 0.37 to 0.41 reaches beyond the bound 0.4"


def test_the_question_shows_gates_warnings_and_impact_as_text() -> None:
    gates = (Gate("slice | [x](http://evil)", 0.8, 0.7, "pass", "why not", low=0.75, high=0.85),)
    candidate = judged("run", gates=gates, warnings=("a *column* was empty",), compared_with=3)
    run = Run(tiny(risk=HIGH | {"mitigations": ("a person looks",)}), Interval(AS_OF - timedelta(days=1), AS_OF))
    question = rules.question(run, candidate, "its tier is high")
    assert question.subject == "tiny: may logistic_regression, as of 2026-01-02, be promoted?"
    for shown in (
        "roc_auc 0.7500 on the evaluation rows, compared with version 3",
        "**Impact** Somebody pays \\<b>twice\\</b>.",
        "- a person looks",
        "- a \\*column\\* was empty",
        "| slice \\| \\[x\\](http://evil) | 0.8 | 0.75 to 0.85 | 0.7 | why not |",
        "within 1d it is rejected",
        candidate.run.page,
    ):
        assert shown in question.body, shown


@pytest.mark.parametrize(
    ("changes", "key", "told"),
    [
        ({"approvers": ()}, "risk.approvers", "at least one person"),
        ({"tier": "low"}, "risk.approvers", "nobody is asked"),
        ({"approvers": ("anna", "anna")}, "risk.approvers", "each name once"),
    ],
)
def test_a_spec_says_who_may(changes: dict[str, Any], key: str, told: str) -> None:
    usual = spec_rules.of_model(tiny())
    found = [each for each in spec_rules.of_model(tiny(risk=HIGH | changes)) if each not in usual]
    assert [each.key for each in found] == [key] and told in found[0].allowed
    assert [each for each in spec_rules.of_model(tiny(risk=HIGH)) if each not in usual] == []


def test_who_allows_a_model_makes_no_other_model(tmp_path: Any) -> None:
    from tests.components.train.conftest import spec_in

    assert "risk" not in tiny().model_dump(), "a spec without it has the words that it had"
    plain = spec_in(tmp_path)
    assert spec_hash(plain) == spec_hash(spec_in(tmp_path, risk=HIGH)), "another approver retrains nothing"
    assert spec_hash(plain) != spec_hash(spec_in(tmp_path, gates=TINY["gates"] | {"minimum_rows": 7}))


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, ""), (-0.00001, "0"), (-0.5, "-0.5"), (2552.0, "2552"), (0.69999, "0.7"), (float("inf"), "inf")],
)
def test_a_number_has_four_places_and_no_minus_before_nothing(value: float | None, shown: str) -> None:
    assert number(value) == shown
