"""The demo deletes nothing but a demo's, does not pass when its loop did not close,
and has the customers of docs/serving.md."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from evergreen.history.events import Decided, Event, Promoted
from evergreen.history.rollouts import Compared, Observed, RolloutAdvanced, RolloutEnded
from evergreen.history.story import Entry
from evergreen.model.metrics import Comparison
from evergreen.registry.rules import Version
from evergreen.settings import PROJECT, settings
from evergreen_demo import churn, driver, rolling, timeline
from evergreen_demo.steady import Steady
from evergreen_demo.timeline import StoryFailed, Timeline

DRIFT = date(2026, 2, 25)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("EVERGREEN_HOME", str(tmp_path))
    settings.cache_clear()
    yield tmp_path
    settings.cache_clear()


@pytest.mark.parametrize("part", ["lake", "landing", "postgres", "thesis"])
def test_a_home_that_no_demo_wrote_is_refused(home: Path, part: str) -> None:
    (home / part).mkdir()
    with pytest.raises(driver.DemoRefused, match="EVERGREEN_HOME"):
        churn.run(churn.Story(1))
    assert (home / part).exists()


@pytest.mark.parametrize(("setting", "value"), [("LAKE", "{}-beside"), ("DATABASE", "postgresql://a:b@127.0.0.1:1")])
def test_an_earlier_demo_outside_its_home_is_the_users_to_empty(
    home: Path, monkeypatch: pytest.MonkeyPatch, setting: str, value: str
) -> None:
    monkeypatch.setenv(f"EVERGREEN_{setting}", value.format(home))
    settings.cache_clear()
    (home / "demo.json").write_text("{}")
    with pytest.raises(driver.DemoRefused, match="only you may empty it"):
        churn.run(churn.Story(1))
    assert (home / "demo.json").exists()


def moment(day: int) -> datetime:
    return datetime(2026, 3, day, tzinfo=UTC)


def decision(action: Any, end: datetime, id: str = "d1") -> Decided:
    return Decided(
        id=f"decided/{id}",
        model="churn",
        as_of=end,
        actor="run live",
        reason="why",
        decision_id=id,
        start=end - timedelta(days=1),
        end=end,
        version=1,
        action=action,
        triggers=True,
        changed_at=None,
        evidence={},
    )


def promoted(decision_id: str = "d1") -> Promoted:
    return Promoted(
        id="promotion/churn/2",
        model="churn",
        as_of=moment(10),
        actor="run loss__d1",
        reason="loss",
        version=2,
        replaced=1,
        decision_id=decision_id,
    )


def story(*events: Event) -> timeline.Story:
    return timeline.Story([Entry(number, moment(28), event) for number, event in enumerate(events, 1)])


def version(number: int, as_of: datetime) -> Version:
    return Version(number, f"run{number}", f"key{number}", as_of)


STORY = story(decision("retrain", moment(10)), promoted())
CLOSED = Timeline(
    model="churn",
    metric="roc_auc",
    drift=DRIFT,
    story=STORY,
    old=version(1, moment(1)),
    new=version(2, moment(10)),
    serving=2,
    scores={"old": 0.4, "new": 0.8},
    comparison=Comparison(0.4, 0.3, 0.5, 100, 10, 0.05),
)


def test_a_loop_that_closed_passes() -> None:
    CLOSED.check()


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"story": story()}, "0 retrainings were decided, not one"),
        (
            {"story": story(decision("retrain", moment(10)), decision("retrain", moment(12), "d2"), promoted())},
            "2 retrainings were decided, not one",
        ),
        (
            {
                "story": story(
                    decision("wait for labels", datetime(2026, 2, 20, tzinfo=UTC), "d0"),
                    decision("retrain", moment(10)),
                    promoted(),
                )
            },
            "before the world changed",
        ),
        ({"story": story(decision("retrain", moment(10)))}, "triggered no training that came to its end"),
        (
            {"story": story(decision("retrain", moment(10)), promoted("another"))},
            "triggered no training that came to its end",
        ),
        ({"new": version(2, moment(12))}, "the champion is as of"),
        ({"serving": 1}, "the server answers with version 1"),
        ({"serving": None}, "the server answers with version None"),
        ({"comparison": Comparison(0.1, 0.0, 0.2, 100, 10, 0.05)}, "not better"),
        ({"comparison": Comparison(float("nan"), float("nan"), float("nan"), 0, 0, float("nan"))}, "not better"),
    ],
)
def test_a_loop_that_did_not_close_fails_and_says_why(changed: dict[str, Any], reason: str) -> None:
    with pytest.raises(StoryFailed, match=reason):
        replace(CLOSED, **changed).check()


def watched(day: int, action: Any = "none", *, incident: bool = False) -> Decided:
    return decision(action, moment(day), f"d{day}").model_copy(update={"incident": incident})


OUTAGE = Steady("churn", moment(5).date(), True, story(watched(4), watched(7, "alert", incident=True)), 1, 1)
HARMLESS = Steady("churn", moment(5).date(), False, story(watched(4), watched(7)), 1, 1)


def test_a_story_in_which_the_champion_stays_passes() -> None:
    OUTAGE.check()
    HARMLESS.check()
    assert any("something changes" in line for line in OUTAGE.lines())


@pytest.mark.parametrize(
    ("told", "changed", "reason"),
    [
        (OUTAGE, {"story": story(watched(7))}, "no data incident was seen"),
        (OUTAGE, {"story": story(watched(5, "alert", incident=True))}, "decision d5 .* took the data for wrong"),
        (OUTAGE, {"serving": 2}, "the server answers with version 2"),
        (HARMLESS, {"story": story(watched(7, "alert", incident=True))}, "decision d7 .* took the data for wrong"),
        (HARMLESS, {"story": story(watched(7, "wait for labels"))}, "decision d7 .*: wait for labels"),
        (HARMLESS, {"story": story(watched(7, "retrain"))}, "decision d7 .*: retrain"),
        (HARMLESS, {"story": story()}, "nothing was decided"),
        (HARMLESS, {"champion": 2}, "the champion is version 2"),
    ],
)
def test_a_champion_that_did_not_stay_fails_and_says_why(told: Steady, changed: dict[str, Any], reason: str) -> None:
    with pytest.raises(StoryFailed, match=reason):
        replace(told, **changed).check()


@pytest.mark.parametrize(
    ("scenario", "kinds"),
    [
        ("drift", ["covariate_drift", "concept_drift"]),
        ("rollout", ["covariate_drift", "concept_drift"]),
        ("harmless", ["cosmetic_drift"]),
        ("outage", ["sensor_outage"]),
    ],
)
def test_each_scenario_of_the_demo_is_a_story_of_the_simulator(scenario: Any, kinds: list[str]) -> None:
    told = churn.Story(seed=7, scenario=scenario)
    world = churn.business(told).world
    assert [each.kind for each in world.scenarios] == kinds
    assert {each.since for each in world.scenarios} == {told.drift}


SEEN = Observed(answers=900, verdict="not worse", compared={"outcomes": Compared(verdict="not worse")})


def advanced(share: int) -> RolloutAdvanced:
    return RolloutAdvanced(
        id=f"rollout/churn/2/1/step/{share}",
        model="churn",
        as_of=moment(12),
        actor="run",
        reason="900 answers",
        rollout="rollout/churn/2/1",
        version=2,
        step=1,
        role="challenger",
        share=share,
        observed=SEEN,
    )


def ended(version: int, outcome: Any, observed: Observed | None = SEEN) -> RolloutEnded:
    return RolloutEnded(
        id=f"rollout/churn/{version}/1/ended",
        model="churn",
        as_of=moment(15),
        actor="run",
        reason="compared",
        rollout=f"rollout/churn/{version}/1",
        version=version,
        outcome=outcome,
        step=1,
        observed=observed,
    )


STEPS = (advanced(25), advanced(50), ended(2, "promoted"))
RETRAINED = (decision("retrain", moment(10)), promoted())


def test_a_rollout_that_went_through_its_steps_and_a_worse_version_that_was_caught_pass() -> None:
    rolling.check(replace(CLOSED, story=story(*RETRAINED, *STEPS, ended(3, "rolled back"))))


@pytest.mark.parametrize(
    ("moves", "reason"),
    [
        ((ended(3, "rolled back"),), r"went through the shares \[\]"),
        (STEPS[1:], r"went through the shares \[50\]"),
        (STEPS, "none, not the worse one"),
        ((*STEPS, ended(3, "rejected")), "none, not the worse one"),
        ((*STEPS, ended(3, "rolled back", None)), "not the worse one"),
    ],
)
def test_one_that_did_not_fails_and_says_why(moves: tuple[Event, ...], reason: str) -> None:
    with pytest.raises(StoryFailed, match=reason):
        rolling.check(replace(CLOSED, story=story(*RETRAINED, *moves)))


def test_the_documented_customers_are_the_demos() -> None:
    example = re.search(r"/models/churn/predict .*?-d '(.*?)'\n", (PROJECT / "docs/serving.md").read_text(), re.DOTALL)
    assert example is not None
    story = churn.Story(seed=7)
    present = set(churn.business(story).world.batch(story.end)["customers"]["customer_id"])
    assert {entity["customer_id"] for entity in json.loads(example[1])["entities"]} <= present
