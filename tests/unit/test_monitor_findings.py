"""What is wrong is told by what was observed, against its bound, in a sentence; what is normal is not told."""

from __future__ import annotations

import pytest

from evergreen.monitor import findings
from evergreen.monitor.comparison import Odd
from tests.small_models import TINY, tiny


def test_too_few_predictions_are_an_incident_only_where_some_are_wanted() -> None:
    (few,) = findings.volume(3, 20, expected=True)
    assert (few.cause, few.kind, few.observed, few.bound) == ("volume", "incident", 3, 20)
    (none,) = findings.volume(0, 20, expected=True)
    assert none.said == "no predictions, although a champion serves"
    assert findings.volume(0, 20, expected=False) == findings.volume(20, 20, expected=True) == []


def test_nulls_are_told_by_feature() -> None:
    (found,) = findings.nulls({"age": 0.6, "plan": 0.01}, lambda _: 0.1)
    assert (found.cause, found.kind) == ("nulls of age", "incident")
    assert found.said == "nulls of age grew by 60.0% of the rows (bound 10.0%)"


def test_a_few_more_nulls_are_drift_but_where_an_owner_typed_what_is_an_incident() -> None:
    """4 % of nulls against a bound of 3.3 % broke no data: every window with them would be no evidence, for ever."""
    (few,) = findings.nulls({"age": 0.04}, lambda _: 0.033)
    assert few.kind == "drift"
    (typed,) = findings.nulls({"age": 0.04}, lambda _: 0.033, typed=True)
    assert typed.kind == "incident"


def test_each_feature_has_its_bound_and_the_farthest_comes_first() -> None:
    found = findings.drifted({"fare": 0.2, "age": 0.3, "plan": 0.3}, {"fare": 0.1, "age": 0.1, "plan": 0.4}.__getitem__)
    assert [each.cause for each in found] == ["drift of age", "drift of fare"]
    assert {each.kind for each in found} == {"drift"}


def test_predictions_name_the_classes_that_moved() -> None:
    (found,) = findings.predictions_drifted(0.5, 0.1, {"gold": 0.5, "basic": 0.05})
    assert found.cause == "prediction drift" and found.said.endswith(": the probabilities of gold")
    assert findings.predictions_drifted(0.1, 0.1, {}) == []


def test_a_fall_within_chance_is_no_loss() -> None:
    (found,) = findings.fallen(0.2, 0.05, "roc_auc", 500)
    assert (found.cause, found.kind) == ("performance", "loss")
    assert findings.fallen(0.04, 0.05, "roc_auc", 500) == findings.fallen(float("nan"), 0.05, "roc_auc", 9) == []
    (likely,) = findings.estimated_fall(0.2, 0.05, "roc_auc", 500)
    assert likely.cause == "estimated performance"


def test_a_few_odd_rows_are_drift_and_most_of_them_an_incident() -> None:
    """A world in which prices rise must not be taken for broken data: nothing would ever be retrained in it."""
    odd = {name: Odd(share, 0.0, 0.01, "15 to 52") for name, share in (("few", 0.03), ("most", 0.9))}
    found = findings.odd("range", "are out of the reference's range", odd)
    assert [(each.cause, each.kind) for each in found] == [("range of few", "drift"), ("range of most", "incident")]


def test_no_value_of_a_row_is_told() -> None:
    """The ledger would keep it for ever."""
    for share in (0.03, 0.9):
        (found,) = findings.odd(
            "categories", "are of categories that the reference has not", {"plan": Odd(share, 0.0, 0.01, "'ada'")}
        )
        assert "ada" not in found.model_dump_json() and "the log of `quality` says which values" in found.said


@pytest.mark.parametrize(("hours", "told"), [(0.0, []), (48.0, []), (49.0, ["age of spend"])])
def test_features_that_were_older_than_their_view_allows_are_an_incident(hours: float, told: list[str]) -> None:
    bounded = tiny(features={"spend": TINY["features"]["spend"] | {"freshness": {"bound": "2d", "beyond": "answer"}}})
    found = findings.ages(bounded, {"spend": hours})
    assert [(each.cause, each.kind) for each in found] == [(cause, "incident") for cause in told]
    assert all("2d 1h old" in each.said and "allows (2d)" in each.said for each in found)
    assert findings.ages(tiny(), {"spend": hours}) == [], "a view that declares no bound has none"
