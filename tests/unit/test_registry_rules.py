"""Which version may be promoted and which one rollback returns to:
over any history of candidates, reruns and rollbacks."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen.history.story import Standing
from evergreen.registry import rules
from evergreen.registry.rules import Registered, Version


def version(number: int, day: int, *, rolled_back: bool = False) -> Version:
    return Version(number, f"run-{number}", f"key-{number}", at(day), rolled_back)


def at(day: int) -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day)


VERSIONS = st.builds(version, st.integers(1, 9), st.integers(0, 5), rolled_back=st.booleans())


def test_the_first_version_may_be_registered_and_promoted() -> None:
    assert rules.registration_refusal(at(0), None, None) is None
    assert rules.promotion_refusal(version(1, 0), None) is None
    assert rules.last_known_good_after(version(1, 0), None, None) is None


@pytest.mark.parametrize(("day", "refused"), [(2, True), (3, False), (4, False)])
def test_a_candidate_is_refused_when_the_champion_knew_about_more(day: int, refused: bool) -> None:
    champion = version(5, 3)
    for reason in (
        rules.registration_refusal(at(day), None, champion),
        rules.promotion_refusal(version(6, day), champion),
    ):
        assert (reason is not None) == refused, reason
        if reason:
            assert "2026-01-03 00:00" in reason and "2026-01-04 00:00" in reason, "it names both moments"
            assert "version 5" in reason


def test_of_two_versions_as_of_the_same_moment_the_later_one_replaces_the_earlier() -> None:
    assert rules.promotion_refusal(version(2, 3), version(1, 3)) is None
    assert rules.promotion_refusal(version(1, 3), version(2, 3)) is not None


def test_a_rerun_of_the_champions_own_training_is_not_refused() -> None:
    champion = version(2, 3)
    assert rules.registration_refusal(at(3), champion, champion) is None
    assert rules.promotion_refusal(champion, champion) is None


def test_a_version_that_was_rolled_back_from_is_refused_even_when_nothing_serves() -> None:
    gone = version(2, 3, rolled_back=True)
    for reason in (rules.registration_refusal(at(3), gone, None), rules.promotion_refusal(gone, version(1, 0))):
        assert reason == "version 2 was rolled back from, and is not promoted again"


def test_a_rerun_is_judged_by_its_version_and_not_by_its_moment() -> None:
    """The version that a training key found before may be older than the champion by now."""
    assert rules.registration_refusal(at(9), version(1, 0), version(2, 5)) is not None


def test_rollback_returns_to_the_champion_that_was_replaced() -> None:
    old, new = version(1, 0), version(2, 3)
    assert rules.last_known_good_after(new, old, None) == old
    assert rules.rollback_target(new, old) == old


def test_a_rerun_of_a_deployment_keeps_what_rollback_returns_to() -> None:
    old, new = version(1, 0), version(2, 3)
    assert rules.last_known_good_after(new, new, old) == old


def test_a_champion_that_was_rolled_back_from_is_nothing_to_return_to() -> None:
    """A rollback that was killed before the alias moved leaves such a champion."""
    old, bad, new = version(1, 0), version(2, 3, rolled_back=True), version(3, 4)
    assert rules.last_known_good_after(new, bad, old) == old


@given(champion=VERSIONS | st.none(), good=VERSIONS | st.none())
def test_rollback_never_returns_to_the_champion_or_to_a_version_rolled_back_from(
    champion: Version | None, good: Version | None
) -> None:
    target = rules.rollback_target(champion, good)
    assert target is None or (target == good and not target.rolled_back)
    assert target is None or (champion is not None and target.number != champion.number)


@given(candidate=VERSIONS, champion=VERSIONS)
def test_of_two_different_versions_never_both_may_replace_the_other(candidate: Version, champion: Version) -> None:
    if candidate.number != champion.number:
        allowed = (rules.promotion_refusal(candidate, champion), rules.promotion_refusal(champion, candidate))
        assert allowed != (None, None), "else two reruns would take turns for good"


STEPS = st.lists(st.tuples(st.sampled_from(["train", "train", "rerun", "roll back"]), st.integers(0, 8)), max_size=30)


@given(STEPS)
def test_any_history_leaves_a_champion_that_nothing_older_or_rolled_back_from_replaced(
    steps: list[tuple[str, int]],
) -> None:
    """Trainings of any day in any order, reruns of any version, rollbacks at any time;
    the stages' steps, without the world."""
    versions: dict[int, Version] = {}
    champion: int | None = None
    good: int | None = None
    for step, number in steps:
        serving, before, kept = versions.get(champion or 0), champion, versions.get(good or 0)
        if step == "roll back":
            target = rules.rollback_target(serving, kept)
            if target is not None and serving is not None:
                versions[serving.number] = replace(serving, rolled_back=True)
                champion = good = target.number
        else:
            existing = versions.get(number % len(versions) + 1) if step == "rerun" and versions else None
            moment = existing.as_of if existing else at(number)
            if rules.registration_refusal(moment, existing, serving) is None:
                candidate = existing or version(len(versions) + 1, number)
                versions[candidate.number] = candidate
                if rules.promotion_refusal(candidate, serving) is None:
                    after = rules.last_known_good_after(candidate, serving, kept)
                    champion, good = candidate.number, after and after.number
            if serving is not None:
                assert champion is not None and versions[champion].as_of >= serving.as_of, "replaced by an older one"
        assert champion is not None or before is None, "a champion always serves"
        assert champion is None or not versions[champion].rolled_back
        assert good is None or not versions[good].rolled_back
        if champion != before and before is not None and step != "roll back":
            assert good == before, "rollback returns to what served before"


@pytest.mark.parametrize(
    ("aliases", "versions", "recorded", "expected"),
    [
        ({"champion": 2, "last_known_good": 1}, {1, 2}, {1, 2}, []),
        (
            {"last_known_good": 1},
            {1, 2},
            {1, 2},
            ["champion names none, and version 2 is the champion: `evergreen registry restore churn` gives it back"],
        ),
        (
            {"champion": 1, "last_known_good": 1},
            {1, 2},
            {1, 2},
            ["champion names version 1: give it back to version 2"],
        ),
        (
            {"last_known_good": 1},
            {1},
            {1, 2},
            ["version 2, the champion, was deleted in MLflow: `evergreen registry restore churn` gives it back"],
        ),
        (
            {"champion": 2, "last_known_good": 1},
            {1, 2, 5},
            {1, 2},
            ["version 5: no training of this release registered it"],
        ),
        (
            {"champion": 2, "last_known_good": 1},
            {1, 2},
            set(),
            [
                "versions 1, 2: no training",
            ],
        ),
    ],
)
def test_what_mlflow_has_otherwise_is_told_with_a_way_out(
    aliases: dict[str, int], versions: set[int], recorded: set[int], expected: list[str]
) -> None:
    disagreements = rules.disagreements("churn", Standing(2, 1), Registered(aliases, versions), recorded)
    assert len(disagreements) == len(expected) and all(
        part in text for part, text in zip(expected, disagreements, strict=True)
    ), disagreements


def test_a_registered_model_that_is_gone_and_one_that_nobody_promoted_are_told() -> None:
    (renamed,) = rules.disagreements("churn", Standing(2, 1), None, {1, 2})
    assert "whose champion is version 2: was it renamed?" in renamed
    assert rules.disagreements("churn", Standing(), None, ()) == []
    (by_hand,) = rules.disagreements("churn", Standing(), Registered({"champion": 4}, {4}), {4})
    assert "version 4, which was never promoted: `evergreen registry adopt churn`" in by_hand


def test_an_alias_of_a_retired_version_is_told() -> None:
    now = Standing(retired_champion=1, retired=frozenset({1}))
    (left,) = rules.disagreements("churn", now, Registered({"champion": 1}, {1}), {1})
    assert "version 1, which was retired: `evergreen registry restore churn`" in left


@pytest.mark.parametrize(
    ("registered", "lost"),
    [
        (None, "no registered model churn, whose champion is version 2"),
        (Registered({"champion": 2}, {1}), "version 2, the champion, was deleted"),
        (Registered({"last_known_good": 1}, {1, 2}), "the alias champion names none"),
        (Registered({"champion": 1}, {1, 2}), None),
        (Registered({"champion": 2}, {1, 2}), None),
    ],
)
def test_what_is_gone_of_a_champion_has_one_way_back(registered: Registered | None, lost: str | None) -> None:
    problem = rules.lost_champion("churn", Standing(2, 1), registered)
    assert (problem is None) == (lost is None)
    if problem is not None and lost is not None:
        assert lost in problem and "`evergreen registry restore churn` gives it back" in problem
    assert rules.lost_champion("churn", Standing(), registered) is None


def test_a_rerun_finds_its_version_unless_its_candidate_had_to_be_made_anew() -> None:
    made = version(2, 3)
    assert rules.version_of_rerun(made, made.run_id, None) == made
    assert rules.version_of_rerun(None, "another run", None) is None
    assert rules.version_of_rerun(made, "another run", version(3, 4)) is None, "a version of its own"
    assert rules.version_of_rerun(replace(made, retired=True), "another run", None) is None, (
        "the way out after `retire`"
    )
    assert rules.version_of_rerun(made, "another run", made) == made, "the champion itself"
    bad = replace(made, rolled_back=True)
    assert rules.version_of_rerun(bad, "another run", None) == bad, "it would be as bad again"


def test_a_retired_version_is_not_promoted_by_its_rerun() -> None:
    refusal = rules.promotion_refusal(replace(version(2, 3), retired=True), None)
    assert refusal == "version 2 was retired, and is not promoted again"
