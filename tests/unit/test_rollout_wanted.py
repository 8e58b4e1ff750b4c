"""Which version answers an entity: evenly, for as long as the rollout is open, and the same everywhere."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen.history.story import Standing
from evergreen.rollout.wanted import Second, Wanted, chosen, wanted
from evergreen.settings import PROJECT
from evergreen.spec.keyed import Key
from tests.unit.test_history_story import deploying
from tests.unit.test_rollout_rules import at

ROLLOUT = "rollout/churn/2"
ENTITIES: Sequence[Sequence[Key]] = (
    range(40_000),
    [f"c{number:05}" for number in range(40_000)],
    [(f"shop {number % 7}", number) for number in range(40_000)],
)
KEYS: st.SearchStrategy[Key] = st.one_of(
    st.integers(), st.text(), st.lists(st.integers() | st.text(), min_size=2, max_size=3).map(tuple)
)


@pytest.mark.parametrize("share", [1, 5, 25, 50, 99])
@pytest.mark.parametrize("entities", ENTITIES, ids=["numbers", "texts", "several keys"])
def test_a_share_is_a_share_whatever_the_keys_look_like(entities: Sequence[Key], share: int) -> None:
    among = sum(chosen(ROLLOUT, key, share) for key in entities)
    deviation = (len(entities) * share / 100 * (1 - share / 100)) ** 0.5
    assert abs(among - len(entities) * share / 100) < 4 * deviation


@given(KEYS, st.integers(0, 99), st.integers(0, 99))
def test_who_was_in_stays_in_when_the_share_grows(key: Key, one: int, other: int) -> None:
    small, large = sorted((one, other))
    assert chosen(ROLLOUT, key, large) or not chosen(ROLLOUT, key, small)
    assert not chosen(ROLLOUT, key, 0)


def test_another_rollout_deals_anew() -> None:
    both = sum(chosen("rollout/churn/2", key, 50) and chosen("rollout/churn/3", key, 50) for key in range(40_000))
    assert abs(both - 10_000) < 4 * (40_000 * 0.25 * 0.75) ** 0.5, "nobody is tried on again and again"
    other = sum(chosen("rollout/churn/2", key, 50) and chosen("rollout/flights/2", key, 50) for key in range(40_000))
    assert abs(other - 10_000) < 4 * (40_000 * 0.25 * 0.75) ** 0.5


def test_a_number_and_its_digits_are_two_entities() -> None:
    assert any(chosen(ROLLOUT, number, 50) != chosen(ROLLOUT, str(number), 50) for number in range(100))


def test_every_process_deals_alike_and_so_does_every_release() -> None:
    """Another way of dealing than the one that gave these shares would move entities in the middle of a rollout."""
    keys: list[Key] = [7, "7", "é ☂", "", ("shop", 7), -(2**63)]
    program = (
        "from evergreen.rollout.wanted import chosen\n"
        f"print([next(share for share in range(1, 101) if chosen({ROLLOUT!r}, key, share)) for key in {keys!r}])"
    )
    environment = {"PYTHONPATH": str(PROJECT / "include"), "PYTHONHASHSEED": "7"}
    printed = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert json.loads(printed) == [99, 51, 7, 72, 35, 5]


def test_what_is_wanted_is_where_the_model_stands() -> None:
    assert wanted(Standing()) == Wanted(None)
    assert wanted(Standing(champion=1)) == Wanted(1)
    assert wanted(Standing(retired_champion=1)) == Wanted(1), "while there is no other"
    assert wanted(Standing(last_known_good=1, retired_champion=2)) == Wanted(1)
    shadowed = wanted(Standing(champion=1, rollout=at(0)))
    assert shadowed == Wanted(1, Second(2, "shadow", 0, at(0).id))
    assert {shadowed.answering(key) for key in range(1000)} == {1}, "a shadow answers nobody"
    tried = wanted(Standing(champion=1, rollout=at(3)))
    assert tried == Wanted(1, Second(2, "challenger", 50, at(0).id))
    assert {tried.answering(key) for key in range(1000)} == {1, 2}


def test_a_rollback_that_was_intended_withdraws_what_stands_beside_the_champion() -> None:
    now = Standing(champion=1, last_known_good=0, rollout=at(3), pending=deploying(0, "rollback", 1))
    assert wanted(now) == Wanted(0)
