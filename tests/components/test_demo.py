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

from evergreen.handovers import train
from evergreen.handovers.gate import Gate
from evergreen.history.events import Approval, Decided, Event, Judged, Promoted, Registered
from evergreen.history.rollouts import Compared, Observed, RolloutAdvanced, RolloutEnded
from evergreen.history.story import Entry
from evergreen.interval import Interval
from evergreen.model.metrics import Comparison
from evergreen.registry.rules import Version
from evergreen.settings import PROJECT, settings
from evergreen.spec.load import load_spec
from evergreen_demo import approving, churn, driver, rolling, timeline
from evergreen_demo.steady import Steady
from evergreen_demo.timeline import StoryFailed, Timeline
from tests.handovers import judged

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


def allowed(number: int, by: str | None = rolling.APPROVER) -> tuple[Event, ...]:
    """A version's gate, what was said of it, and its registration."""
    who = {"model": "churn", "as_of": moment(10), "run_id": f"run{number}", "key": f"key{number}", "family": "mlp"}
    gate = {"gate": "rows", "observed": 900, "bound": 800, "verdict": "pass", "compared_with": None, "judgement": 1}
    said = {"judgement": 1, "tier": "high", "why": "its tier is high", "compared_with": None, "given_by": None}
    return (
        Judged(**who, **gate, id=f"judged/{number}", actor="run", reason="enough"),
        Approval(
            **who,
            **said,
            id=f"approval/{number}",
            actor=by or "run",
            reason="it may",
            approved=by is not None,
            by=by,
            how="airflow",
        ),
        Registered(**who, id=f"registered/churn/{number}", actor="run", reason="loss", version=number),
    )


STEPS = (advanced(50), ended(2, "promoted"))
RETRAINED = (*allowed(1), decision("retrain", moment(10)), *allowed(2), promoted())


def test_a_rollout_that_went_through_its_steps_and_a_worse_version_that_was_caught_pass() -> None:
    rolling.check(replace(CLOSED, story=story(*RETRAINED, *STEPS, ended(3, "rolled back"))))


@pytest.mark.parametrize(
    ("moves", "reason"),
    [
        ((ended(3, "rolled back"),), r"went through the shares \[\]"),
        ((advanced(25), *STEPS), r"went through the shares \[25, 50\]"),
        (STEPS, "none, not the worse one"),
        ((*STEPS, ended(3, "rejected")), "none, not the worse one"),
        ((*STEPS, ended(3, "rolled back", None)), "not the worse one"),
    ],
)
def test_one_that_did_not_fails_and_says_why(moves: tuple[Event, ...], reason: str) -> None:
    with pytest.raises(StoryFailed, match=reason):
        rolling.check(replace(CLOSED, story=story(*RETRAINED, *moves)))


@pytest.mark.parametrize("first", [(), allowed(1, None), allowed(1, "ben"), allowed(1)[::2]])
def test_a_version_that_nobody_allowed_fails_the_demo(first: tuple[Event, ...]) -> None:
    told = story(*first, *RETRAINED[3:], *STEPS, ended(3, "rolled back"))
    with pytest.raises(StoryFailed, match="version 1 was not allowed by anna"):
        rolling.check(replace(CLOSED, story=told))


def test_the_demos_model_asks_and_rolls_out_in_steps_and_what_ships_does_not(home: Path) -> None:
    shipped = load_spec(PROJECT / "include" / "models" / "churn", PROJECT / "include" / "data")
    assert shipped.risk is not None and not shipped.risk.asks and shipped.rollout.strategy == "direct"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVERGREEN_MODELS", "")  # so that both are put back
        patch.setenv("EVERGREEN_AIRFLOW_USERS", "ben")
        settings.cache_clear()
        rolling.declare(settings())
        here = settings()
        assert here.airflow_users == ("ben", "anna")
        told = load_spec(here.models / "churn", here.data)
    assert told.risk is not None and told.risk.tier == "high" and told.risk.approvers == ("anna",)
    assert told.rollout.strategy == "canary" and told.rollout.shadow
    assert told.gates == shipped.gates, "all else is as it ships"
    assert told.split.window == shipped.split.window and told.split.evaluation < shipped.split.evaluation


ASKED = {
    "response_received": False,
    "created_at": "2026-03-10T00:00:00Z",
    "task_instance": {"state": "awaiting_input"},
}
RUN = {"dag_id": "churn__train", "dag_run_id": "first"}


class Asking:
    """Airflow's side of a question."""

    def __init__(self, asked: dict[str, Any] | None, compared_with: int | None) -> None:
        self.asked, self.compared_with, self.api = asked, compared_with, self
        self.answers: list[tuple[str, dict[str, Any]]] = []

    def call(self, method: str, path: str, accept: tuple[int, ...]) -> dict[str, Any] | None:
        return self.asked

    def patch(self, path: str, body: dict[str, Any]) -> None:
        self.answers.append((path, body))

    def result(self, run: dict[str, Any], task: str) -> dict[str, Any]:
        assert task == "gates"
        given = dict(judged("run1", scores={"roc_auc": 0.87654}, compared_with=self.compared_with))
        gates = (Gate("rows", 900, 800, "pass", "enough"), Gate("floor of roc_auc", 0.88, 0.7, "pass", "above it"))
        fields = {name: given[name] for name in train.Judged.model_fields}
        return train.Judged(**fields | {"gates": gates}).to_json()


def approver(airflow: Asking) -> approving.Approver:
    person = approving.Approver.__new__(approving.Approver)
    person.runs = airflow  # type: ignore[assignment]
    return person


@pytest.mark.parametrize(
    ("compared_with", "says"), [(None, "a wrong call costs 4 EUR"), (1, "version 1 no longer tells who leaves")]
)
def test_who_is_asked_allows_it_and_says_why(compared_with: int | None, says: str) -> None:
    airflow = Asking(ASKED, compared_with)
    reason = approver(airflow).look(RUN)
    assert reason is not None and says in reason and "all 2 gates passed, with a roc_auc of 0.877" in reason
    assert airflow.answers == [
        (
            "/dags/churn__train/dagRuns/first/taskInstances/approve/-1/hitlDetails",
            {"chosen_options": ["Approve"], "params_input": {"reason": reason}},
        )
    ]


@pytest.mark.parametrize(
    "asked",
    [
        None,
        ASKED | {"response_received": True},
        ASKED | {"task_instance": {"state": "running"}},
        ASKED | {"created_at": datetime.now(UTC) + timedelta(hours=1)},
    ],
)
def test_nobody_answers_what_is_not_asked_or_was_asked_this_moment(asked: dict[str, Any] | None) -> None:
    if asked is not None:
        asked = json.loads(json.dumps(asked, default=str))
    airflow = Asking(asked, None)
    assert approver(airflow).look(RUN) is None and airflow.answers == []


class Days(driver.Demo):
    """A demo of days on which nothing is done, whose story is over once a day was watched."""

    def __init__(self, last: str) -> None:
        span = driver.Span(date(2026, 1, 1), date(2026, 2, 19), date(2026, 2, 28))
        self.last, self.watched, self.span, self.clock = last, list[str](), span, driver.Clock()
        self.runs, self.ids = self, {"ingest": "ingest"}  # type: ignore[assignment]

    @property
    def over(self) -> bool:
        return self.last in self.watched

    def watch(self, interval: Interval) -> None:
        self.watched.append(interval.partition)

    def traffic(self, interval: Interval) -> None: ...

    def write(self, interval: Interval) -> None: ...

    def trigger(self, *_: object) -> None: ...

    def wait(self, _: object) -> None: ...


@pytest.mark.parametrize(("over", "last"), [("2026-02-22", "2026-02-23"), ("never", "2026-02-28")])
def test_the_days_end_with_the_story_and_each_is_watched(over: str, last: str) -> None:
    demo = Days(over)
    demo.live()
    assert demo.watched == [f"2026-02-{day}" for day in range(20, int(last[-2:]) + 1)]


def test_the_documented_customers_are_the_demos() -> None:
    example = re.search(r"/models/churn/predict .*?-d '(.*?)'\n", (PROJECT / "docs/serving.md").read_text(), re.DOTALL)
    assert example is not None
    story = churn.Story(seed=7)
    present = set(churn.business(story).world.batch(story.end)["customers"]["customer_id"])
    assert {entity["customer_id"] for entity in json.loads(example[1])["entities"]} <= present
