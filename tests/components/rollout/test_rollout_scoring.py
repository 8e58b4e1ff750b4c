"""How answers score: each row by what was asked of which version, nothing by what only looks alike."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evergreen.challenge import scoring
from evergreen.challenge.scoring import Known
from evergreen.history.rollouts import RolloutOpened, Step
from evergreen.settings import PROJECT
from evergreen.spec.load import load_spec
from evergreen.spec.problem import Binary, Multiclass, Numeric
from evergreen.spec.schema import ModelSpec

from .lives import DAY, START

SECOND = timedelta(seconds=1)
USUAL = Known(np.linspace(0, 1, 101), 0.1, 1.0, 0)


@pytest.fixture(scope="module")
def spec() -> ModelSpec:
    return load_spec(PROJECT / "tests" / "specs" / "valid" / "renewals")


def opened(*shares: int, at_most: timedelta = 30 * DAY) -> RolloutOpened:
    steps = tuple(Step(role="challenger" if share else "shadow", share=share) for share in shares)
    return RolloutOpened(
        id="rollout/renewals/2/1",
        model="renewals",
        as_of=START,
        actor="run",
        reason="scheduled",
        version=2,
        champion=1,
        strategy="canary",
        steps=steps,
        hold=DAY,
        minimum_answers=1,
        at_most=at_most,
        gates=("floor",),
        run_id="r",
        key="k",
    )


def rows(spec: ModelSpec, *told: dict[str, Any]) -> pd.DataFrame:
    """Answers as `answers.read` has them, each a second after the one before."""
    (key,) = spec.entity.columns
    usual = {
        "position": 0,
        "role": "champion",
        "version": 1,
        "share": 0,
        "answer": 0.5,
        "seconds": 0.01,
        "failed": False,
    }
    made = [
        usual
        | {"request_id": f"r{at}", "as_of": pd.Timestamp(START + at * SECOND), "entity": f"e{at}"}
        | {"features_at": pd.Timestamp(START)}
        | each
        for at, each in enumerate(told)
    ]
    frame = pd.DataFrame(made)
    return frame.assign(**{key: frame["entity"]})


def test_an_answer_in_the_versions_place_is_nobodys(spec: ModelSpec) -> None:
    same = {"request_id": "a", "as_of": pd.Timestamp(START), "entity": "e", "share": 5}
    failed = {"role": "challenger", "version": 2, "failed": True, "answer": None}
    frame = rows(spec, same, same | failed, {"share": 5}, {"share": 5, "role": "challenger", "version": 2})
    told = scoring.tallies(spec, USUAL, frame, None)
    assert told["errors"].rows == (1, 2)
    assert [sum(arm) for arm in told["errors"].by_share[0.05].totals] == [0, 1_000_000]
    assert told["answers"].rows == (1, 1)


def test_only_the_first_failure_of_an_entity_counts(spec: ModelSpec) -> None:
    failed = {"role": "challenger", "version": 2, "share": 50, "failed": True, "answer": None, "entity": "e"}
    told = scoring.tallies(spec, USUAL, rows(spec, failed, failed, failed), None)["errors"]
    assert (told.rows[1], sum(told.by_share[0.5].totals[1])) == (3, 1_000_000)


def test_a_shadow_is_compared_where_both_were_asked(spec: ModelSpec) -> None:
    """What the full queue left out is no pair; of a shadow that failed there is no answer to compare."""
    both = {"request_id": "a", "as_of": pd.Timestamp(START), "entity": "e"}
    broken = {"request_id": "b", "as_of": pd.Timestamp(START), "entity": "f"}
    shadow = {"role": "shadow", "version": 2, "answer": 0.75}
    gone = {"role": "shadow", "version": 2, "failed": True, "answer": None}
    told = scoring.tallies(
        spec, USUAL, rows(spec, both, both | shadow, broken, broken | gone, {"entity": "left out"}), None
    )
    assert [sum(arm) for arm in told["errors"].pairs.rows] == [2, 2]
    assert [sum(arm) for arm in told["answers"].pairs.rows] == [1, 1]
    assert [sum(arm) for arm in told["answers"].pairs.totals] == pytest.approx([500_000, 750_000], abs=10_000)
    assert not told["slow answers"].by_share and told["slow answers"].rows == (0, 0)


def test_a_wait_is_of_requests_about_one_entity(spec: ModelSpec) -> None:
    together = {"request_id": "many", "as_of": pd.Timestamp(START), "share": 50, "seconds": 5.0}
    alone = {"share": 50, "seconds": 5.0}
    frame = rows(spec, together, together | {"entity": "x", "position": 1}, alone, {"share": 50})
    told = scoring.tallies(spec, USUAL, frame, None)["slow answers"]
    assert (told.rows[0], sum(told.by_share[0.5].totals[0])) == (2, 1_000_000)


def test_what_could_not_be_told_in_time_is_not_asked_about(spec: ModelSpec) -> None:
    many = rows(spec, *({} for _ in range(400)))  # one a second
    known = scoring.known(spec, opened(0, 50), many, many)
    assert known.slow == pytest.approx(0.01) and len(known.ranked) == 400
    names = [each.name for each in scoring.measures(opened(0, 50), known)]
    assert names == ["errors", "slow answers", "answers", "outcomes"]
    short = scoring.known(spec, opened(0, 50, at_most=timedelta(hours=1)), many, many)
    assert short.slow is None
    assert "slow answers" not in [each.name for each in scoring.measures(opened(0, 50), short)]
    assert "slow answers" not in [each.name for each in scoring.measures(opened(0), known)], "of a shadow alone"


def test_where_the_champion_has_answered_too_little_its_first_answers_in_the_rollout_are_taken(spec: ModelSpec) -> None:
    few, many = rows(spec, *({} for _ in range(10))), rows(spec, *({"answer": 0.2} for _ in range(1_500)))
    assert len(scoring.known(spec, opened(50), few, few).ranked) == 0
    assert len(scoring.known(spec, opened(50), few, many).ranked) == scoring.FIRST
    undecided = replace(USUAL, ranked=np.empty(0))
    assert scoring.tallies(spec, undecided, many, None)["answers"].rows == (0, 0)


@pytest.mark.parametrize(
    ("problem", "labels", "answers", "expected"),
    [
        (Binary(), [1.0, 0.0], [0.5, 0.5], [0.25, 0.25]),
        (Numeric(), [10.0, 10.0], [15.0, 500.0], [0.5, 1.0]),
        (Multiclass(("a", "b", "c")), [0.0, 2.0], [[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]], [0.0, 1.0]),
    ],
)
def test_a_loss_is_from_0_to_1(problem: Any, labels: list[float], answers: Any, expected: list[float]) -> None:
    assert scoring.losses(problem, np.array(labels), np.array(answers), 10.0).tolist() == expected


def test_no_answer_at_all_is_no_error(spec: ModelSpec) -> None:
    nothing = rows(spec, {}).head(0)
    told = scoring.tallies(spec, scoring.known(spec, opened(0, 50), nothing, nothing), nothing, None)
    assert all(tally.rows == (0, 0) for tally in told.values())
