"""The demo deletes nothing but a demo's, does not pass when its loop did not close, and has the customers of docs/serving.md."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from evergreen.model.metrics import Comparison
from evergreen.monitor.rules import Decision
from evergreen.registry.rules import Version
from evergreen.settings import PROJECT, settings
from evergreen_demo import churn, driver, timeline
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


def decision(action: Any, end: datetime) -> Decision:
    return Decision(
        id="d1", partition=f"{end - timedelta(days=1):%Y-%m-%d}", start=end - timedelta(days=1), end=end, version=1, action=action,
        triggers=True, drifted=True, incident=False, changed_at=None, reasons=("why",), numbers={},
    )  # fmt: skip


def version(number: int, as_of: datetime) -> Version:
    return Version(number, f"run{number}", f"key{number}", as_of)


STORY = timeline.Story(
    decisions=[decision("retrain", moment(10))], monitored={}, trainings=[{"dag_run_id": "drift__d1", "state": "success"}], verdicts={}, trail=[]
)  # fmt: skip
CLOSED = Timeline(
    model="churn", metric="roc_auc", drift=DRIFT, story=STORY, old=version(1, moment(1)), new=version(2, moment(10)), serving=2,
    scores={"old": 0.4, "new": 0.8}, comparison=Comparison(0.4, 0.3, 0.5, 100, 10),
)  # fmt: skip


def test_a_loop_that_closed_passes() -> None:
    CLOSED.check()


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"decisions": []}, "0 retrainings were decided, not one"),
        ({"decisions": [decision("retrain", moment(10))] * 2}, "2 retrainings were decided, not one"),
        ({"decisions": [decision("wait for labels", datetime(2026, 2, 20, tzinfo=UTC)), *STORY.decisions]}, "before the world changed"),
        ({"trainings": [{"dag_run_id": "drift__d1", "state": "failed"}]}, "triggered no successful run"),
        ({"trainings": []}, "triggered no successful run"),
        ({"new": version(2, moment(12))}, "the champion is as of"),
        ({"serving": 1}, "the server answers with version 1"),
        ({"serving": None}, "the server answers with version None"),
        ({"comparison": Comparison(0.1, 0.0, 0.2, 100, 10)}, "not better"),
        ({"comparison": Comparison(float("nan"), float("nan"), float("nan"), 0, 0)}, "not better"),
    ],
)  # fmt: skip
def test_a_loop_that_did_not_close_fails_and_says_why(changed: dict[str, Any], told: str) -> None:
    of_story = {name: value for name, value in changed.items() if hasattr(STORY, name)}
    others = {name: value for name, value in changed.items() if name not in of_story}
    with pytest.raises(StoryFailed, match=told):
        replace(CLOSED, story=replace(STORY, **of_story), **others).check()


def test_the_documented_customers_are_the_demos() -> None:
    asked = re.search(r"/models/churn/predict .*?-d '(.*?)'\n", (PROJECT / "docs/serving.md").read_text(), re.DOTALL)
    assert asked is not None
    story = churn.Story(seed=7)
    present = set(churn.business(story).world.batch(story.end)["customers"]["customer_id"])
    assert {entity["customer_id"] for entity in json.loads(asked[1])["entities"]} <= present
