"""How alike the groups of a protected attribute are decided on, window by window."""

from __future__ import annotations

import pandas as pd
import pytest

from evergreen.history import ledger, story
from evergreen.model.rows import inputs
from evergreen.registry import loading
from evergreen.settings import settings
from evergreen.spec.fairness import Fairness

from .conftest import Live


def watching(live: Live, **bounds: float | None) -> None:
    asked = Fairness(by=("plan", "mobile"), minimum_rows=10, **bounds)
    gates = live.spec.gates.model_copy(update={"fairness": asked})
    live.contest.spec = live.spec.model_copy(update={"gates": gates}).at(live.spec.folder)
    live.customers = 400


def shares(live: Live, day: int, column: str) -> dict[str, float]:
    """The share of yes of each group, row by row."""
    frame = live.requests(day)
    yes = loading.load(live.spec.model, 1).predict(inputs(live.spec.feature_types, frame)) >= 0.5
    return {
        str(value): float(yes[(frame[column] == value).to_numpy()].mean()) for value in frame[column].dropna().unique()
    }


def test_the_answers_of_a_window_and_those_that_matured_are_compared_by_group(live: Live) -> None:
    watching(live, disparate_impact=0.99, demographic_parity=1.0)
    for day in (20, 21):
        live.serve(day)
        live.label(day)
        watched = live.watch(day)
    plan, mobile = watched.performance.fairness.answered
    expected = shares(live, 21, "plan")
    assert plan.attribute == "plan" and plan.shares == pytest.approx(expected) and "equalised_odds" not in plan.numbers
    assert plan.numbers["disparate_impact"][0] == pytest.approx(min(expected.values()) / max(expected.values()))
    assert mobile.shares == pytest.approx(shares(live, 21, "mobile"), abs=1e-9) or set(mobile.shares) == {
        "True",
        "False",
        "true",
        "false",
    } & set(mobile.shares)
    matured, _ = watched.performance.fairness.matured
    assert (
        matured.shares == pytest.approx(shares(live, 20, "plan")) and matured.numbers["equalised_odds"][0] is not None
    )

    found = [each for each in watched.performance.findings if each.cause == "disparate impact of plan"]
    assert [each.kind for each in found] == ["drift"], "told on the page, and no cause of retraining"
    (decided, *_) = [
        each for each in story.decisions(ledger.entries(live.spec.model)) if each.start == live.run(21).interval.start
    ]
    assert set(decided.evidence["fairness"]) == {"plan", "mobile"}
    assert "basic" not in str(decided.evidence), "the ledger has no value of a row"
    page = (settings().reports / live.spec.model / "windows" / "2026-01-22.html").read_text()
    assert "Groups that are protected" in page and "disparate impact" in page and "basic" in page


def test_without_an_attribute_nothing_is_compared(live: Live) -> None:
    live.serve(20)
    watched = live.watch(20)
    assert watched.performance.fairness.answered == () and isinstance(live.requests(20), pd.DataFrame)
    assert (
        "Groups that are protected"
        not in (settings().reports / live.spec.model / "windows" / "2026-01-21.html").read_text()
    )
