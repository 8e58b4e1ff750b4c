"""A rollout in a real Postgres: step by step, by one of many who would move it, whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from evergreen.errors import NoSuchRollout
from evergreen.history import ledger, story, timeline, verifying
from evergreen.history.events import Decided, Deploying, Event, Promoted, Retired, RolledBack
from evergreen.history.rollouts import ROLLOUTS, RolloutAdvanced, RolloutEnded, RolloutOpened, Verdict
from evergreen.monitor import decisions
from evergreen.registry import records, store
from evergreen.rollout import controller
from evergreen.rollout.wanted import Second, Wanted
from evergreen.settings import PROJECT, Settings

from .lives import CANARY, DAY, MODEL, ROLLOUT, START, champion, evidence, opened, version

HERE = Path(__file__).parent
WITHDRAWN = Wanted(1)


@pytest.fixture
def two(home: Settings) -> None:
    """Version 1 is the champion, version 2 has passed its gates."""
    champion(1)
    version(2)


@pytest.fixture
def rolling(two: None) -> None:
    assert opened() is None


def beside(share: int) -> Wanted:
    return Wanted(1, Second(2, "challenger" if share else "shadow", share, ROLLOUT))


def recorded(*kinds: str) -> list[Event]:
    return [entry.event for entry in ledger.entries(MODEL, *(kinds or (*ROLLOUTS, "promoted")))]


def agree() -> None:
    """What is read from the end back is what all entries say."""
    now = story.standing(entry.event for entry in ledger.entries(MODEL))
    assert ledger.standing(MODEL) == now == ledger.standings()[MODEL]
    assert verifying.verify().flaws == ()


def test_a_version_comes_to_all_requests_step_by_step(two: None) -> None:
    assert controller.served(MODEL) == Wanted(1)
    assert opened() is None
    assert controller.served(MODEL) == beside(0)
    for step, share in ((0, 5), (1, 50)):
        assert controller.observe(MODEL, evidence(MODEL, step, days=0), actor="r").kind == "stay"
        assert controller.observe(MODEL, evidence(MODEL, step), actor="r").kind == "advance"
        assert controller.served(MODEL) == beside(share)
        agree()
    assert controller.observe(MODEL, evidence(MODEL, 2), actor="r").kind == "promote"
    assert controller.served(MODEL) == Wanted(2)
    now = ledger.standing(MODEL)
    assert (now.champion, now.last_known_good, now.rollout) == (2, 1, None)
    agree()
    first, *steps, ended, promoted = recorded()[1:]
    assert isinstance(first, RolloutOpened) and first.gates == ("floor", "better")
    assert [(step.step, step.share) for step in steps if isinstance(step, RolloutAdvanced)] == [(1, 5), (2, 50)]
    assert isinstance(ended, RolloutEnded) and (ended.outcome, ended.observed) == (
        "promoted",
        evidence(MODEL, 2).observed,
    )
    assert isinstance(promoted, Promoted)
    assert (promoted.replaced, promoted.decision_id, promoted.as_of) == (1, "d1", START + 3 * DAY)
    assert ledger.champion_as_of(MODEL, START + 3 * DAY) == 1, "of the interval that it was decided by"
    assert ledger.champion_as_of(MODEL, START + 4 * DAY) == 2
    assert controller.observe(MODEL, evidence(MODEL, 2), actor="r").kind == "stay", "again is harmless"
    assert opened() == "version 2 is the champion"


def test_a_worse_version_is_withdrawn_and_stays_so(rolling: None) -> None:
    controller.observe(MODEL, evidence(MODEL, 0), actor="r")
    move = controller.observe(MODEL, evidence(MODEL, 1, days=0, verdict="worse", answers=3), actor="r")
    assert (move.kind, controller.served(MODEL)) == ("roll back", WITHDRAWN)
    assert records.version(MODEL, 2).rolled_back, "its training's rerun does not promote it"
    assert "rolled back from" in (opened() or "")
    agree()
    lines = [line for _, line in timeline.lines(ledger.entries(MODEL)) if "rollout" in line]
    assert lines == [
        "the rollout of version 2 (canary) is open: beside version 1, it is asked and answers nobody (scheduled)",
        "the rollout of version 2 goes on: it answers 5 % of the entities (100 answers, not worse than version 1)",
        "the rollout of version 2 ended: rolled back (worse than version 1: errors and slow answers)",
    ]
    (story_of,) = [each for each in story.versions(ledger.entries(MODEL)) if each.number == 2]
    assert (story_of.state, story_of.left_because) == (
        "rolled back",
        "worse than version 1: errors and slow answers",
    )


def test_what_is_not_known_in_time_is_rejected_and_not_tried_again(rolling: None) -> None:
    move = controller.observe(MODEL, evidence(MODEL, 0, days=20, answers=99), actor="r")
    assert (move.kind, controller.served(MODEL)) == ("reject", WITHDRAWN)
    assert "rejected in a rollout" in (opened() or "") and not records.version(MODEL, 2).rolled_back
    agree()


def test_only_what_passed_every_gate_is_opened_and_one_at_a_time(two: None) -> None:
    version(3, verdict="no evidence")
    assert opened(3) == "version 3 did not pass its gates (better: no evidence)"
    assert "no champion" in (opened(2, compared=None) or ""), "its gates saw another champion"
    assert recorded("rollout opened") == []
    assert opened(2) is None and opened(2, reason="again") is None
    version(4)
    assert opened(4) == "the rollout of version 2 is open"
    assert len(recorded("rollout opened")) == 1


def test_operators_pause_advance_and_roll_back(rolling: None) -> None:
    controller.pause(MODEL, ROLLOUT, actor="ada", reason="a holiday")
    controller.pause(MODEL, ROLLOUT, actor="ada", reason="again")
    assert controller.observe(MODEL, evidence(MODEL, 0), actor="r").reason == "paused"
    given = {"actor": "ada", "reason": "I looked"}
    assert controller.advance(MODEL, ROLLOUT, 0, as_of=START, **given).kind == "advance"
    assert controller.advance(MODEL, ROLLOUT, 0, as_of=START, **given).kind == "stay", "cleared later"
    assert controller.served(MODEL) == beside(5)
    assert controller.observe(MODEL, evidence(MODEL, 1), actor="r").reason == "paused", "they go step by step"
    controller.pause(MODEL, ROLLOUT, actor="ada", reason="back", resume=True)
    controller.pause(MODEL, ROLLOUT, actor="ada", reason="away again")
    assert [event.id for event in recorded("rollout paused")] == [f"{ROLLOUT}/paused", f"{ROLLOUT}/paused/2"]
    agree()
    for _ in range(2):
        controller.roll_back(MODEL, ROLLOUT, as_of=START, actor="ada", reason="complaints")
    assert controller.served(MODEL) == WITHDRAWN
    (ended,) = recorded("rollout ended")
    assert isinstance(ended, RolloutEnded) and (ended.reason, ended.observed) == ("complaints", None)
    with pytest.raises(NoSuchRollout, match="no open rollout"):
        controller.pause(MODEL, ROLLOUT, actor="ada", reason="too late")
    for act in (
        lambda: controller.advance(MODEL, f"rollout/{MODEL}/9", 0, as_of=START, **given),
        lambda: controller.roll_back(MODEL, f"rollout/{MODEL}/9", as_of=START, **given),
    ):
        with pytest.raises(NoSuchRollout, match=f"rollout/{MODEL}/9"):
            act()


def test_a_step_that_has_not_begun_is_not_left(rolling: None) -> None:
    with pytest.raises(NoSuchRollout, match="at step 0"):
        controller.advance(MODEL, ROLLOUT, 1, as_of=START, actor="ada", reason="too early")


@pytest.mark.parametrize("what", ["another champion", "the champion rolled back", "the version retired"])
def test_a_rollout_ends_with_what_it_stands_on(home: Settings, what: str) -> None:
    champion(0)
    champion(1, replaced=0)
    version(2)
    assert opened() is None
    common = {"model": MODEL, "as_of": START, "actor": "ada", "reason": "why"}
    if what == "another champion":
        champion(3, replaced=1)
    elif what == "the version retired":
        ledger.append(Retired(**common, id="retired", version=2))
    else:
        ledger.append(RolledBack(**common, id="back", version=0, left=1))
    now = controller.served(MODEL)
    assert now == Wanted({"another champion": 3, "the champion rolled back": 0}.get(what, 1))
    assert controller.observe(MODEL, evidence(MODEL, 0), actor="r").reason == "no rollout is open"
    agree()


def test_a_deployment_that_was_killed_holds_what_goes_on_and_not_what_goes_back(rolling: None) -> None:
    version(3)
    intent = Deploying(
        id="deploying",
        model=MODEL,
        as_of=START,
        actor="run",
        reason="why",
        version=3,
        purpose="promotion",
        replaces=1,
        run_id="run3",
        key="key3",
    )
    ledger.append(intent)
    move = controller.observe(MODEL, evidence(MODEL, 0), actor="r")
    assert (move.kind, move.reason) == ("stay", "the promotion to version 3 has not ended")
    with store.locked(MODEL):  # it is under way
        move = controller.observe(MODEL, evidence(MODEL, 0, verdict="worse"), actor="r")
    assert (move.kind, controller.served(MODEL)) == ("roll back", WITHDRAWN)
    assert ledger.standing(MODEL).pending == intent, "it is ended by whoever ends it"
    agree()


@contextmanager
def movers(step: int, count: int, *more: str) -> Iterator[list[subprocess.Popen[str]]]:
    """Controllers in processes of their own, ready to move."""
    environment = {**os.environ, "PYTHONPATH": f"{PROJECT / 'include'}:{PROJECT}"}
    command = [sys.executable, str(HERE / "mover.py"), MODEL, str(step), *more]
    started = [
        subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    try:
        for process in started:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


def let_go(processes: list[subprocess.Popen[str]]) -> list[str]:
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return [process.stdout.readline().strip() for process in processes if process.stdout is not None]


def test_of_several_controllers_one_moves_it(rolling: None) -> None:
    for step, kind in ((0, "advance"), (1, "advance"), (2, "promote")):
        with movers(step, 3) as processes:
            assert sorted(let_go(processes)) == sorted([kind, "stay", "stay"])
    assert controller.served(MODEL) == Wanted(2)
    assert [event.event for event in recorded()] == [
        "promoted",
        "rollout opened",
        "rollout advanced",
        "rollout advanced",
        "rollout ended",
        "promoted",
    ]
    agree()


def test_a_kill_leaves_it_at_a_step_and_the_next_one_goes_on(rolling: None) -> None:
    for step, before, after in ((0, beside(0), beside(5)), (1, beside(5), beside(50)), (2, beside(50), Wanted(2))):
        with movers(step, 1, "killed") as (process,):
            assert let_go([process]) == ["recorded"]
            assert controller.served(MODEL) == before, "nothing of it is there before all of it is"
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert controller.served(MODEL) == before
        agree()
        assert controller.observe(MODEL, evidence(MODEL, step), actor="next").kind in ("advance", "promote")
        assert controller.served(MODEL) == after
        agree()


def test_what_ended_with_its_champion_may_be_opened_again_when_that_one_is_back(rolling: None) -> None:
    champion(3, replaced=1)
    assert controller.served(MODEL) == Wanted(3) and opened() is not None
    common = {"model": MODEL, "as_of": START, "actor": "ada", "reason": "why"}
    ledger.append(RolledBack(**common, id="back", version=1, left=3))
    assert controller.served(MODEL) == Wanted(1)
    assert opened() is None
    again = controller.served(MODEL).beside
    assert again is not None and again.rollout == f"rollout/{MODEL}/2/2"
    assert controller.observe(MODEL, evidence(MODEL, 0), actor="r").kind == "stay", "what was seen of the first"
    agree()


def test_a_training_by_hand_counts_from_when_it_was_trained_not_from_the_last_evidence(two: None) -> None:
    refused = controller.open_rollout(CANARY, MODEL, 2, compared=1, as_of=START, actor="ada", reason="new prices")
    assert refused is None
    for step in range(3):
        controller.observe(MODEL, evidence(MODEL, step), actor="r")
    (promoted,) = [each for each in recorded("promoted") if isinstance(each, Promoted) and each.version == 2]
    assert (promoted.as_of, promoted.trained) == (START + 3 * DAY, START)
    assert ledger.by_hand(MODEL, START + 2 * DAY) == START - 2 * DAY, "of version 1: the other is not promoted yet"
    assert ledger.by_hand(MODEL, START + 3 * DAY) == START


@pytest.mark.parametrize(("verdict", "told"), [("worse", "rolled back"), ("not worse", "promoted")])
def test_what_came_of_a_rollout_is_what_came_of_the_retraining(rolling: None, verdict: Verdict, told: str) -> None:
    decided = Decided(
        id="decided/d1",
        model=MODEL,
        as_of=START,
        actor="run",
        reason="loss",
        decision_id="d1",
        start=START - DAY,
        end=START,
        version=1,
        action="retrain",
        triggers=True,
        changed_at=None,
        evidence={},
    )
    for step in range(3):
        controller.observe(MODEL, evidence(MODEL, step, verdict=verdict), actor="r")
    ended = [entry.event for entry in ledger.outcomes(MODEL, ["d1"])]
    assert [event.event for event in ended][:1] == ["rollout ended"]
    outcome = decisions._outcome(decided, ended, [])
    if told == "promoted":
        assert (outcome.helped, outcome.outcome) == (None, "version 2 is not judged yet")
    else:
        assert (outcome.helped, outcome.refused) == (False, True)
        assert outcome.outcome.startswith("made version 2, whose rollout ended: rolled back (worse than version 1")
