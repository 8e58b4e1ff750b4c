"""Which way a rollout goes: back at once, on only with time, answers and every measure."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from evergreen.history import story
from evergreen.history.events import Judged
from evergreen.history.rollouts import Compared, Observed, Rollout, RolloutOpened, Step, Verdict
from evergreen.history.story import Standing
from evergreen.registry.rules import Version
from evergreen.rollout import recording, rules
from evergreen.rollout.rules import Evidence, Watched
from evergreen.spec.rollout import ABRollout, CanaryRollout, ShadowRollout
from tests.unit.test_history_story import deploying, judged

DAY = timedelta(days=1)
START = datetime(2026, 3, 1, tzinfo=UTC)
CANARY = CanaryRollout(strategy="canary", minimum_answers=100, at_most=20 * DAY)
AB = ABRollout(strategy="ab", share=30, minimum_answers=100, at_most=20 * DAY)
SHADOW = ShadowRollout(strategy="shadow", minimum_answers=100, at_most=20 * DAY)


def version(number: int, day: int = 0, **more: Any) -> Version:
    return Version(number, f"run{number}", f"key{number}", START + day * DAY, **more)


CHAMPION, CHALLENGER = version(1), version(2, 1)
GATES = [judged("floor", "pass"), judged("better", "pass")]


def opened(declared: Watched = CANARY) -> RolloutOpened:
    return recording.opening(
        declared,
        CHALLENGER,
        CHAMPION,
        GATES,
        model="churn",
        attempt=1,
        as_of=START,
        actor="run",
        reason="scheduled",
        decision_id=None,
    )


def at(number: int, declared: Watched = CANARY, *, paused: bool = False) -> Rollout:
    """A rollout whose step began so many days after it was opened."""
    return Rollout(opened(declared), number, START + number * DAY, paused)


def compared(**verdicts: Verdict) -> dict[str, Compared]:
    return {name: Compared(verdict=verdicts.get(name, "undecided")) for name in ("errors", "outcomes")}


def evidence(rollout: Rollout, days: float = 1, answers: int = 100, **observed: Any) -> Evidence:
    observed = {"compared": compared(), "verdict": "not worse"} | observed
    seen = Observed(answers=answers, **observed)
    return Evidence(rollout.id, rollout.number, rollout.since + days * DAY, seen)


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        (SHADOW, [("shadow", 0)]),
        (CANARY, [("shadow", 0), ("challenger", 5), ("challenger", 25), ("challenger", 50)]),
        (CANARY.model_copy(update={"shadow": False, "shares": (10,)}), [("challenger", 10)]),
        (AB, [("challenger", 30)]),
    ],
)
def test_each_strategy_has_its_steps(declared: Watched, expected: list[tuple[str, int]]) -> None:
    assert [(step.role, step.share) for step in rules.steps(declared)] == expected


@pytest.mark.parametrize(("number", "kind"), [(0, "advance"), (1, "advance"), (2, "advance"), (3, "promote")])
def test_time_and_answers_lead_on(number: int, kind: str) -> None:
    here = at(number)
    assert rules.move(here, evidence(here)).kind == kind
    assert rules.move(here, evidence(here, verdict="better")).kind == kind
    assert rules.move(here, evidence(here, days=0.9)).kind == "stay"
    assert rules.move(here, evidence(here, answers=99)).kind == "stay"
    assert rules.move(here, evidence(here, compared={})).kind == "stay", "what is not compared speaks for nothing"


def test_a_share_grows_without_a_verdict_and_all_requests_need_one() -> None:
    moves = [rules.move(at(number), evidence(at(number), verdict="undecided")).kind for number in range(4)]
    assert moves == ["advance", "advance", "advance", "stay"]
    assert rules.move(at(0, SHADOW), evidence(at(0, SHADOW), verdict="undecided")).kind == "stay"


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_what_is_worse_goes_back_from_every_step_however_little_was_seen(number: int, paused: bool) -> None:
    here = at(number, paused=paused)
    for measure in ("errors", "outcomes"):
        worse = {"verdict": "worse", "compared": compared(**{measure: "worse"})}
        move = rules.move(here, evidence(here, days=0, answers=1, **worse))
        assert (move.kind, move.reason) == ("roll back", f"worse than version 1: {measure}")
    assert rules.move(here, evidence(here, verdict="worse")).kind == "roll back"


def test_a_pause_holds_what_would_go_on_and_ends_nothing() -> None:
    here = at(1, paused=True)
    assert rules.move(here, evidence(here)).kind == "stay"
    assert rules.move(here, evidence(here, days=100, answers=0)).kind == "stay"


def test_what_is_not_known_in_time_is_rejected() -> None:
    here = at(1)
    assert rules.move(here, evidence(here, days=18.9, answers=99)).kind == "stay"
    move = rules.move(here, evidence(here, days=19, answers=99))
    assert (move.kind, "99 of 100 answers" in move.reason) == ("reject", True)
    assert rules.move(here, evidence(here, days=19)).kind == "advance", "late, and known"


def test_an_ab_rollout_is_promoted_when_it_is_better() -> None:
    here = at(0, AB)
    verdicts: tuple[Verdict, ...] = ("undecided", "not worse", "better", "worse")
    moves = [rules.move(here, evidence(here, verdict=verdict)).kind for verdict in verdicts]
    assert moves == ["stay", "stay", "promote", "roll back"]
    assert rules.move(here, evidence(here, days=20)).kind == "reject"


def test_evidence_about_another_step_or_an_earlier_moment_moves_nothing() -> None:
    here = at(1)
    worse: dict[str, Any] = {"verdict": "worse"}
    assert rules.move(here, replace(evidence(here, **worse), step=0)).kind == "stay"
    assert rules.move(here, replace(evidence(here, **worse), rollout="rollout/churn/9")).kind == "stay"
    assert rules.move(here, evidence(here, days=-1, **worse)).kind == "stay", "a replayed interval"


def refusal(
    new: Version = CHALLENGER,
    champion: Version | None = CHAMPION,
    now: Standing = Standing(champion=1),  # noqa: B008 - frozen
    gates: list[Judged] = GATES,
    compared_with: int | None = 1,
) -> str:
    return rules.opening_refusal(new, champion, now, gates, compared_with) or ""


def test_what_may_be_rolled_out() -> None:
    assert refusal() == ""
    assert "there is no champion" in refusal(champion=None)
    assert refusal(new=CHAMPION) == "version 1 is the champion"
    assert "no gate" in refusal(gates=[])
    assert "better: fail" in refusal(gates=[*GATES, judged("better", "fail")])
    assert "rows: no evidence" in refusal(gates=[*GATES, judged("rows", "no evidence")])
    assert "never replaces the newer champion" in refusal(new=version(2, -1))
    assert "rolled back from" in refusal(new=version(2, 1, rolled_back=True))
    assert "retired" in refusal(new=version(2, 1, retired=True))
    assert "rejected in a rollout" in refusal(now=Standing(champion=1, rejected=frozenset({2})))
    assert "version 0" in refusal(compared_with=0)
    assert "the rollout of version 2 is open" in refusal(new=version(3, 2), now=Standing(champion=1, rollout=at(0)))
    assert "has not ended" in refusal(now=Standing(champion=1, pending=deploying(2, "promotion", 1)))


def test_no_rollout_is_recorded_without_steps_or_gates() -> None:
    whole = dict(opened())
    for lacking in ("steps", "gates"):
        with pytest.raises(ValidationError):
            RolloutOpened(**{**whole, lacking: ()})
    with pytest.raises(ValidationError):
        Step(role="challenger", share=100)


def test_a_rollout_ends_with_its_champion() -> None:
    from tests.unit.test_history_story import back, promoted, retired

    life = [promoted(0, 0), promoted(1, 0, replaced=0), opened()]
    assert story.standing(life).rollout == Rollout(opened(), 0, START)
    for ends in (promoted(3, 9, replaced=1), back(0, 1, 9), retired(1), retired(2), back(1, 2, 9)):
        assert story.standing([*life, ends]).rollout is None, ends.event
    for leaves in (back(1, 7, 9), retired(0), deploying(3, "promotion", 1)):
        assert story.standing([*life, leaves]).rollout is not None, leaves.event


@pytest.mark.parametrize("number", [0, 3])
def test_a_rollout_never_goes_back_in_time(number: int) -> None:
    now = Standing(champion=1, rollout=at(number))
    moved = recording.moving(now, rules.onwards(at(number), "I looked"), None, as_of=START - DAY, actor="ada")
    assert {event.as_of for event in moved} == {START + number * DAY}
