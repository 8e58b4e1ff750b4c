"""What the owner is told to do about gates without evidence: in the model's own words, and never what cannot help."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from evergreen.calendar import Calendar, Length
from evergreen.evaluate import rules
from evergreen.evaluate.ways_out import way_out
from evergreen.handovers.gate import Gate
from evergreen.handovers.handover import TrackedRun
from evergreen.handovers.train import Evaluated, ScoredCandidate
from evergreen.spec.schema import ModelSpec
from tests.small_models import tiny

AS_OF = datetime(2026, 2, 1, tzinfo=UTC)
OF_ROWS = {"horizon": "2d", "sources": ("events",)}
CLASSES = {"label": {"name": "weather", "type": "multiclass", "classes": ("rain", "snow", "sun")} | OF_ROWS}
OF_CLASSES = {"gates": {"minimum_rows": 40, "minimum_per_class": 5, "floor": {"log_loss": 1.0}}}


def told(spec: ModelSpec, rows_of_class: dict[str, int], *further: Gate) -> str:
    """The next step of a training whose evaluation has these rows, and neither champion nor baseline in the way."""
    scores = {spec.search.metric: 0.7}
    candidate = ScoredCandidate(
        family="ridge", run=TrackedRun(id="1", page=""), search_score=0.7, trials=1, scores=scores
    )
    evaluated = Evaluated(
        key="k",
        metric=spec.search.metric,
        rows=sum(rows_of_class.values()),
        rows_of_class=rows_of_class,
        baseline=scores,
        baseline_is="the mean",
        champion=None,
        after_change=False,
        over_baseline=None,
        further=further,
        best=candidate,
        candidates=(candidate,),
    )
    checked = rules.gates(rules.evidence(evaluated, spec.problem, AS_OF), spec.gates)
    assert rules.verdict(checked) == "no evidence"
    return way_out(spec, AS_OF, evaluated, checked)


@pytest.mark.parametrize("every", ["hour", "day", "week", "month"])
def test_what_is_to_come_is_counted_in_the_models_own_intervals(every: Length) -> None:
    spec = tiny(calendar=Calendar(every=every), gates={"minimum_rows": 50, "floor": {"roc_auc": 0.5}})
    step = told(spec, {"1": 3, "0": 4})
    assert f"the outcomes of more {every}s are known" in step
    assert "lengthen split.evaluation" in step and "lower gates.minimum_rows (50), where 7 rows" in step


def test_where_all_data_was_used_nobody_waits_for_more() -> None:
    spec = tiny(last_day=date(2026, 1, 31), gates={"minimum_rows": 50, "floor": {"roc_auc": 0.5}})
    step = told(spec, {"1": 3, "0": 4})
    assert "later moment" not in step and "days" not in step.replace("3d", "")
    assert "Then train anew" in step, "the rows of a training do not change by clearing a task of it"


def test_a_class_that_is_missing_can_be_put_together_or_left_out() -> None:
    spec = tiny(**CLASSES, **OF_CLASSES, search={"metric": "log_loss", "trials": 1})
    step = told(spec, {"rain": 40, "snow": 0, "sun": 20})
    assert "let label.sql put snow with another class, or leave it out" in step
    assert "minimum_rows" not in step, "there are enough of them"
    assert "minimum_per_class" not in step, "no bound lets a class do without a row"


def test_a_class_of_few_rows_may_be_enough() -> None:
    spec = tiny(gates={"minimum_rows": 10, "minimum_positives": 20, "floor": {"roc_auc": 0.5}})
    assert "lower gates.minimum_positives (20), where 12 of a class" in told(spec, {"1": 12, "0": 80})


def test_what_a_looked_at_gate_lacks_is_mended_where_its_reason_says() -> None:
    spec = tiny(gates={"minimum_rows": 50, "floor": {"roc_auc": 0.5}})
    lacking = Gate("worst declared slice", None, 0.1, "no evidence", "nothing is known of plan = pro, …")
    step = told(spec, {"1": 60, "0": 60}, lacking)
    assert step.startswith("do what the reasons above say") and "gates.slices" in step
    assert "lengthen split.evaluation" in told(spec, {"1": 3, "0": 4}, lacking), "where rows lack too, they come first"
