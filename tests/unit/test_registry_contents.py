"""Every file of a candidate is read as it was written."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest

from evergreen.handovers.fairness import Fair
from evergreen.handovers.train import Backtest, LearningWindow, SliceScore
from evergreen.registry.contents import (
    Content,
    Environment,
    Evaluation,
    Gates,
    Packaging,
    Recipe,
    Refit,
    Sample,
    SampleRow,
    Trial,
    Trials,
    signed,
)

WINDOW = LearningWindow(way="weighted", since=datetime(2026, 3, 1, tzinfo=UTC), half_life=timedelta(days=3))
FAIR = Fair(
    attribute="region",
    shares={"north": 0.25, "south": 0.5},
    rows={"north": 100, "south": 90},
    numbers={"disparate_impact": (0.5, 0.4, None), "equalised_odds": (None, None, None)},
)
SLICE = SliceScore(name="plan = basic", declared=True, rows=200, value=0.75, drop=0.05, low=-0.01)
GATE = {"name": "evaluation rows", "observed": 200.0, "bound": 100.0, "verdict": "pass", "reason": "200 rows"}


@pytest.mark.parametrize(
    "content",
    [
        Sample(rows=(SampleRow(features={"plan": "basic", "age": None}, prediction={"no": 0.25, "yes": 0.75}),)),
        Evaluation(value=0.75, scores={"roc_auc": 0.75, "f1": None}, slices=(SLICE,), fairness=(FAIR,)),
        Gates(verdict="pass", reason="all passed", gates=(GATE,)),
        Refit(gated="a", refit="b", chosen=True, reason="near", rows=9, learned_to="2026-03-01", checks=(GATE,)),
        Trials((Trial(state="complete", score=0.5, parameters={"C": 1.0, "solver": "lbfgs"}, taken=True),)),
        Recipe(family="ridge", parameters={"alpha": 1}, seed=3, threshold=0.25),
        Recipe(
            family="ridge", parameters={}, seed=3, backtest=Backtest(window=WINDOW, scores={"full": 0.5}, reason="best")
        ),
        Packaging(runtime="graph", reason="as faithful", rows=9, difference=1e-7),
        Environment({"python": "3.11", "scikit-learn": "1.9"}),
    ],
    ids=lambda content: type(content).__name__,
)
def test_what_is_read_is_what_was_written(content: Content) -> None:
    assert type(content).of_bytes(content.to_bytes()) == content


def test_a_score_that_is_no_number_is_read_too() -> None:
    read = Evaluation.of_bytes(b'{"value": NaN, "scores": {"roc_auc": Infinity}, "of a later release": [1]}')
    assert read.value is not None and math.isnan(read.value) and read.scores == {"roc_auc": math.inf}


def test_a_signature_is_of_no_file_that_is_written_after_it() -> None:
    later = ("evaluation.json", "gates.json", "evidence.json", "card.md", "gate_report.html", "importances.json")
    assert [name for name in later if signed(name)] == []
    assert signed("model.skops") and signed("recipe.json")
