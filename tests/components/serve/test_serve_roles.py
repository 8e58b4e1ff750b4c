"""A version beside the champion: it answers its share of the entities, or none, and no client ever hears of its
failures."""

from __future__ import annotations

import time

import pytest

from evergreen.history import ledger
from evergreen.history.rollouts import RolloutEnded
from evergreen.rollout import controller
from evergreen.rollout.wanted import chosen
from evergreen.serve import stages as serve

from .conftest import CUSTOMERS, ServedModel, at, customer, until
from .rolling import SHADOW, asked_of, canary, opened, stands
from .test_serve_load import sending

EVERYBODY = [{"customer_id": customer(number)} for number in range(CUSTOMERS)]


@pytest.fixture
def two(served: ServedModel) -> ServedModel:
    """Version 1 is the champion, version 2 waits for its rollout."""
    served.champion(3)
    assert served.registered(5).version == 2
    return served


def test_a_share_of_the_entities_is_answered_by_the_challenger_whoever_asks_and_how_often(two: ServedModel) -> None:
    rollout = opened(two, 2, canary(50))
    stands(two, two.server, "challenger", 50)
    theirs = {number for number in range(CUSTOMERS) if chosen(rollout, customer(number), 50)}
    assert 5 < len(theirs) < CUSTOMERS - 5
    expected = {1: two.answers(1), 2: two.answers(2)}
    answer = two.server.predict(two.name, entities=EVERYBODY).json()
    assert answer["version"] == 1 and "role" not in answer
    for number, item in enumerate(answer["predictions"]):
        version = 2 if number in theirs else 1
        assert item["customer_id"] == customer(number) and item.get("version", 1) == version
        assert item.get("role") == ("challenger" if version == 2 else None)
        assert item["prediction"] == pytest.approx(expected[version][number], abs=1e-12)
    for number in range(CUSTOMERS):
        alone = two.server.predict(two.name, entity=EVERYBODY[number]).json()
        assert alone["version"] == (2 if number in theirs else 1), "sticky"
        assert alone.get("role") == ("challenger" if number in theirs else None)
    rows = asked_of(two, rollout)
    assert len(rows) == 2 * CUSTOMERS and {row.share for row in rows} == {50}
    assert all(
        (row.version, row.role)
        == ((2, "challenger") if row.entity in {customer(n) for n in theirs} else (1, "champion"))
        for row in rows
    )
    assert all(row.seconds is not None and 0 < row.seconds < 5 and row.failed is None for row in rows)
    assert len(two.logged()) == 2 * CUSTOMERS


def test_a_shadow_is_asked_the_same_and_answers_nobody(two: ServedModel) -> None:
    rollout = opened(two, 2, SHADOW)
    stands(two, two.server, "shadow")
    answer = two.server.predict(two.name, entities=EVERYBODY).json()
    assert answer["version"] == 1 and all("version" not in item for item in answer["predictions"])
    rows = until(lambda: len(found := asked_of(two, rollout)) == 2 * CUSTOMERS and found, "the shadow's rows")
    expected = two.answers(2)
    for row in rows:
        if row.role == "shadow":
            assert (row.version, row.request_id) == (2, answer["request_id"])
            assert row.prediction == pytest.approx(expected[row.position], abs=1e-12)
        else:
            assert (row.version, row.role) == (1, "champion")
    assert {row.role for row in two.logged().values()} == {"champion"}, "clients were answered by the champion alone"


@pytest.mark.filterwarnings("ignore:invalid value encountered in matmul")
def test_where_the_challenger_fails_the_champion_answers_and_the_guard_withdraws_it(two: ServedModel) -> None:
    broken = two.unanswering(7).version
    bad = {number for number, answer in enumerate(two.answers(broken)) if answer != answer}  # not a number
    rollout = opened(two, broken, canary(99))
    stands(two, two.server, "challenger", 99)
    began = time.monotonic()
    for number in bad:
        answer = two.server.predict(two.name, entity=EVERYBODY[number])
        assert (answer.status_code, answer.json()["version"]) == (200, 1)
    until(lambda: ledger.standing(two.name).rollout is None, "the ledger has it")
    stands(two, two.server, None)
    assert time.monotonic() - began < 5
    (ended,) = [entry.event for entry in ledger.entries(two.name, "rollout ended")]
    assert isinstance(ended, RolloutEnded) and ended.outcome == "rolled back" and ended.actor.startswith("guard of ")
    assert "failed in 5 of 5" in ended.reason
    failed = [row for row in asked_of(two, rollout) if row.failed]
    assert {(row.version, row.role, row.prediction) for row in failed} == {(broken, "challenger", None)}
    assert len(failed) == 5 and all(row.failed and "not a probability" in row.failed for row in failed)
    assert len(two.logged()) == len(bad), "each client's answer once"


@pytest.mark.filterwarnings("ignore:invalid value encountered in matmul")
def test_requests_that_both_versions_fail_in_withdraw_neither(served: ServedModel) -> None:
    serve.deploy(served.run(3), served.unanswering(3))
    second = served.registered(5, seed=[*served.candidates][-1]).version  # the same candidate once more
    bad = [number for number, answer in enumerate(served.answers(1)) if answer != answer]  # not a number
    assert len(bad) > 6
    opened(served, second, canary(99))
    stands(served, served.server, "challenger", 99)
    answers = [served.server.predict(served.name, entity=EVERYBODY[number]) for number in bad]
    assert {answer.status_code for answer in answers} == {500}, answers[0].text
    assert ledger.standing(served.name).rollout is not None
    stands(served, served.server, "challenger", 99)


def test_the_share_grows_under_load_and_a_promotion_loads_nothing(two: ServedModel) -> None:
    rollout = opened(two, 2, canary(10, 60))
    stands(two, two.server, "challenger", 10)
    with sending(two) as clients:
        clients.more(60)
        for step in (0, 1):
            controller.advance(two.name, rollout, step, as_of=at(5), actor="ada", reason="enough seen")
            if step == 0:
                stands(two, two.server, "challenger", 60)
                clients.more(60)
        until(lambda: two.server.describe(two.name)["version"] == 2, "the challenger is the champion", 3)
        swapped = time.monotonic()
        clients.more(60)
    assert clients.failed == []
    assert {answer["version"] for answer in clients.answered if answer["sent"] > swapped} == {2}
    logged = two.logged()
    for answer in clients.answered:
        for place, item in enumerate(answer["predictions"]):
            row = logged[answer["request_id"], place]
            assert (row.version, row.prediction) == (item.get("version", answer["version"]), item["prediction"])
    assert serve.deploy(two.run(9), two.registered(9)).version == 3
    stands(two, two.server, None)
