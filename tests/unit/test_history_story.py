"""Events and what they say of a model: over any life of trainings, deployments that end or do not,
rollbacks and retirements."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from evergreen.history import events, story, timeline
from evergreen.history.events import (
    Decided,
    Deployed,
    Deploying,
    Event,
    Judged,
    NotDeployed,
    Promoted,
    Registered,
    Retired,
    RolledBack,
)
from evergreen.history.story import Entry, Standing

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(day: int) -> datetime:
    return START + timedelta(days=day)


def common(id: str, day: int = 0, **more: Any) -> dict[str, Any]:
    return {"id": id, "model": "churn", "as_of": at(day), "actor": "ada", "reason": "why", **more}


def entered(events: Sequence[Event]) -> list[Entry]:
    """The events as the ledger has them, an hour after one another."""
    return [Entry(number, START + timedelta(hours=number), event) for number, event in enumerate(events, 1)]


def registered(version: int, day: int) -> Registered:
    return Registered(
        **common(f"registered/{version}", day),
        version=version,
        run_id=f"run{version}",
        key=f"key{version}",
        family="ridge",
    )


def promoted(version: int, day: int, replaced: int | None = None) -> Promoted:
    return Promoted(**common(f"promotion/{version}", day), version=version, replaced=replaced)


def back(version: int, left: int, day: int) -> RolledBack:
    return RolledBack(**common(f"rollback/{left}", day), version=version, left=left)


def retired(version: int, day: int = 0) -> Retired:
    return Retired(**common(f"retired/{version}", day), version=version)


def deploying(version: int, purpose: Any, replaces: int | None, attempt: int = 1) -> Deploying:
    return Deploying(
        **common(f"deploying/{purpose}/{version}/{attempt}"),
        version=version,
        purpose=purpose,
        replaces=replaces,
        run_id="run",
        key="key",
    )


def decided(day: int, action: Any, *, triggers: bool = False, id: str = "") -> Decided:
    return Decided(
        **common(f"decided/{id or day}", day + 1),
        decision_id=id or f"d{day}",
        start=at(day),
        end=at(day + 1),
        version=1,
        action=action,
        triggers=triggers,
        changed_at=None,
        evidence={"rows": 3, "drift": {"plan": 0.25, "minutes": None}},
    )


def judged(gate: str, verdict: Any, judgement: int = 1, run: str = "run1") -> Judged:
    return Judged(
        **common(f"judged/{run}/{judgement}/{gate}"),
        run_id=run,
        key="key1",
        family="ridge",
        judgement=judgement,
        gate=gate,
        observed=0.5,
        bound=None,
        verdict=verdict,
        compared_with=None,
    )


# Lives: what may happen next depends on where the model stands, as the stages and commands see to it.
ACTS = (
    "register",
    "deploy",
    "deploy, killed",
    "refuse",
    "roll back",
    "roll back, killed",
    "finish",
    "give back",
    "retire",
    "decide",
)


@st.composite
def lives(draw: st.DrawFn) -> list[Event]:
    events: list[Event] = []
    numbers = 0
    for step, act in enumerate(draw(st.lists(st.sampled_from(ACTS), max_size=25))):
        now = story.standing(events)
        fresh = [n for n in range(1, numbers + 1) if n not in now.rolled_back | now.retired | {now.champion}]
        match act:
            case "register":
                numbers += 1
                events.append(registered(numbers, step))
            case "deploy" | "deploy, killed" | "refuse" if fresh and now.pending is None:
                version = draw(st.sampled_from(fresh))
                intent = deploying(version, "promotion", now.champion, step)
                events.append(intent)
                if act == "refuse":
                    events.append(NotDeployed(**common(f"not/{step}", step), version=version, intent=intent.id))
                elif act == "deploy":
                    events += _finished(now, intent, step)
            case "roll back" | "roll back, killed" if (
                now.pending is None and now.last_known_good not in (None, now.champion) and now.champion is not None
            ):
                assert now.last_known_good is not None
                intent = deploying(now.last_known_good, "rollback", now.champion, step)
                events.append(intent)
                if act == "roll back":
                    events += _finished(now, intent, step)
            case "finish" if now.pending is not None:
                events += _finished(now, now.pending, step)
            case "give back" if now.champion is not None and now.pending is None:
                by_hand = [n for n in fresh if n != now.last_known_good]
                if by_hand:
                    events.append(back(now.champion, draw(st.sampled_from(by_hand)), step))
            case "retire" if now.champion is not None and now.pending is None:
                events.append(retired(now.last_known_good or now.champion, step))
            case "decide":
                events.append(decided(step, draw(st.sampled_from(["none", "alert", "wait for labels", "retrain"]))))
    return events


def _finished(now: Standing, intent: Deploying, step: int) -> list[Event]:
    deployed = Deployed(**common(f"deployed/{step}"), version=intent.version, intent=intent.id)
    if intent.purpose == "rollback":
        assert intent.replaces is not None
        return [deployed, back(intent.version, intent.replaces, step)]
    good = now.champion if now.champion not in now.rolled_back else None
    return [deployed, promoted(intent.version, step, good)]


@given(lives())
def test_a_champion_is_never_one_that_was_left_and_there_is_one_until_it_is_retired(life: list[Event]) -> None:
    before = Standing()
    for length, event in enumerate(life, 1):
        now = story.standing(life[:length])
        gone = now.rolled_back | now.retired
        assert now.champion not in gone and now.last_known_good not in gone
        assert before.rolled_back <= now.rolled_back and before.retired <= now.retired, "nothing is forgotten"
        if now.champion is None and before.champion is not None:
            assert event == retired(before.champion, length) or isinstance(event, Retired)
            assert now.retired_champion == before.champion
        if isinstance(event, Deploying):
            assert now.champion == before.champion, "an intent moves nothing"
        before = now


@given(lives())
def test_what_a_server_starts_with_is_no_version_that_somebody_meant_to_leave(life: list[Event]) -> None:
    now = story.standing(life)
    start = now.to_serve
    if now.pending is not None and now.pending.purpose == "rollback":
        assert (start.champion, now.pending.replaces) == (now.pending.version, now.champion)
    else:
        assert start == now, "a version that nobody saw answer is not what a server starts with"


@given(lives())
def test_the_champions_follow_one_another_as_the_entries_were_recorded(life: list[Event]) -> None:
    entries = entered(life)
    reigns = story.reigns(entries)
    for earlier, later in itertools.pairwise(reigns):
        assert earlier.until is not None and earlier.since < earlier.until <= later.since
    for length in range(len(entries) + 1):
        moment = START + timedelta(hours=length, minutes=30)
        reign = story.champion_at(entries, moment)
        assert (reign and reign.version) == story.standing(life[:length]).champion
    states = {version.number: version.state for version in story.versions(entries)}
    assert [number for number, state in states.items() if state == "champion"] == [
        number for number in (story.standing(life).champion,) if number is not None
    ]


@given(lives())
def test_every_event_reads_back_as_it_was_written(life: list[Event]) -> None:
    for event in life:
        text = events.to_text(event)
        assert text.isascii() and "\n" not in text
        assert events.from_text(text) == event and events.to_text(events.from_text(text)) == text


@pytest.mark.parametrize("text", ["{}", "null", '{"event":"promoted"}', '{"event":"crowned","id":"x"}'])
def test_what_is_no_event_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        events.from_text(text)


def test_an_event_has_no_field_that_its_kind_does_not_have_and_no_number_that_is_none() -> None:
    with pytest.raises(ValidationError):
        Promoted(**common("x"), version=1, replaced=None, observed=1.0)
    with pytest.raises(ValidationError):
        Judged(**{**dict(judged("rows", "pass")), "observed": float("nan")})
    with pytest.raises(ValidationError):
        promoted(1, 1).version = 2  # type: ignore[misc]


def test_which_version_is_the_champion() -> None:
    assert story.standing([]) == Standing()
    life: list[Event] = [promoted(1, 1), promoted(3, 3, replaced=1)]
    now = story.standing(life)
    assert (now.champion, now.last_known_good) == (3, 1)
    now = story.standing([*life, back(1, 3, 3)])
    assert (now.champion, now.last_known_good, now.rolled_back) == (1, 1, {3})
    now = story.standing([*life, back(1, 3, 3), promoted(4, 5, replaced=1), promoted(4, 5)])
    assert (now.champion, now.last_known_good) == (4, 1), "again is harmless"


def test_a_version_by_hand_that_is_left_takes_nothing_from_what_is_good() -> None:
    now = story.standing([promoted(1, 1), promoted(2, 2, replaced=1), back(2, 3, 3)])
    assert (now.champion, now.last_known_good, now.rolled_back) == (2, 1, {3})


def test_the_last_champion_that_is_retired_is_no_champion_and_is_still_known() -> None:
    now = story.standing([promoted(1, 1), retired(1)])
    assert (now.champion, now.retired_champion, now.retired) == (None, 1, {1})
    now = story.standing([promoted(1, 1), retired(1), promoted(2, 2)])
    assert (now.champion, now.retired_champion, now.last_known_good) == (2, None, None)


def test_the_champion_of_an_interval_is_not_changed_by_what_knew_more() -> None:
    """A monitor's backfill judges a day by who served then, whatever was promoted since."""
    entries = entered([promoted(1, 2), promoted(2, 10, replaced=1), back(1, 2, 10)])
    assert [story.champion_as_of(entries, at(day)) for day in (2, 3, 10, 11)] == [None, 1, 1, 1]
    assert [story.champion_as_of(entries[:2], at(day)) for day in (10, 11)] == [1, 2]


def test_why_somebody_was_the_champion() -> None:
    entries = entered([promoted(1, 1), promoted(2, 2, replaced=1), back(1, 2, 2)])
    moment = START + timedelta(hours=2, minutes=30)
    reign = story.champion_at(entries, moment)
    assert reign is not None and (reign.version, reign.until) == (2, entries[2].at)
    assert isinstance(reign.cause, Promoted) and reign.cause.reason == "why"
    assert story.champion_at(entries, START) is None


def test_the_gates_of_a_version_are_those_of_its_last_judgement() -> None:
    life = [
        judged("rows", "no evidence"),
        judged("rows", "pass", 2),
        judged("floor", "pass", 2),
        judged("rows", "fail", 1, "run2"),
    ]
    entries = entered([*life, registered(1, 1)])
    assert [(gate.gate, gate.verdict) for gate in story.gates(entries, 1)] == [("rows", "pass"), ("floor", "pass")]
    assert story.gates(entries, 7) == []


def test_a_window_has_one_decision_and_what_triggered_a_training_stands() -> None:
    entries = entered(
        [
            decided(3, "none"),
            decided(2, "alert", id="a"),
            decided(2, "none", id="b"),
            decided(4, "retrain", triggers=True, id="c"),
            decided(4, "none", id="d"),
        ]
    )
    assert [decision.decision_id for decision in story.decisions(entries)] == ["b", "d3", "c"]


def test_a_timeline_says_what_is_news() -> None:
    quiet, waiting = (
        [decided(1, "none"), decided(2, "none")],
        [decided(3, "wait for labels"), decided(4, "wait for labels")],
    )
    life: list[Event] = [
        *quiet,
        *waiting,
        judged("rows", "pass"),
        judged("floor", "fail"),
        registered(1, 1),
        promoted(1, 1),
    ]
    assert [line for _, line in timeline.lines(entered(life))] == [
        "decision d3 about 2026-01-04: wait for labels (why)",
        "ridge: 1 of 2 gates passed: floor: why",
        "version 1 was registered (ridge)",
        "version 1 is the champion (why)",
    ]


def test_what_may_happen_again_has_an_id_of_its_own() -> None:
    assert story.next_id("deploying/promotion/3/1", []) == "deploying/promotion/3/1"
    entries = entered([deploying(3, "promotion", None), deploying(33, "promotion", None)])
    assert story.next_id("deploying/promotion/3", entries) == "deploying/promotion/3/2"
    assert story.next_id("deploying/promotion/33", entries) == "deploying/promotion/33/2"
