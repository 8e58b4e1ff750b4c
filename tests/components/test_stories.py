"""The stories of the simulated business, each lived through in one process: by the real loops, with a real server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import date, timedelta
from functools import partial
from pathlib import Path

import pytest

from evergreen.history import ledger, story
from evergreen.history.events import Alerted, Decided, Told
from evergreen.interval import Interval
from evergreen.local.processes import Processes
from evergreen.loops import inline
from evergreen.settings import settings
from evergreen.spec.schema import ModelSpec
from evergreen_demo import steady, timeline
from evergreen_simulator import landing, scenarios
from evergreen_simulator.delivery import World
from evergreen_simulator.replay import replay
from evergreen_simulator.scenarios import Scenario
from evergreen_simulator.traffic import requests_of_day
from tests import churn
from tests.components.served_folder import served_folder, until_it_answers

SEED, CUSTOMERS = 7, 400
FIRST, HISTORY = date(2026, 1, 1), 44  # days before the first training: the longest look-back, and two weeks of rows
CHANGE = 1  # the first live day on which the world is different
CHANGED = FIRST + timedelta(days=HISTORY + CHANGE)
HORIZON = 3  # days until an outcome is known
MENDED = 12  # days after the change by which a retraining has labels enough, and evidence


Live = Callable[[str, Callable[[date], tuple[Scenario, ...]], int], AbstractContextManager[ModelSpec]]


@pytest.fixture
def lived(postgres_url: str, mlflow_url: str, services: Processes, tmp_path: Path) -> Live:
    """Lives through a story for some days after the first training; what was lived is there while the block runs."""

    @contextmanager
    def live(name: str, told: Callable[[date], tuple[Scenario, ...]], days: int) -> Iterator[ModelSpec]:
        world = World(SEED, CUSTOMERS, told(CHANGED))
        declared = churn.declared()
        changes = {
            "families": {"gradient_boosting": {"max_iter": [40, 60]}},
            "search": declared["search"] | {"trials": 3},
            "split": declared["split"] | {"window": "2w", "evaluation": "3d", "minimum_rows": 1000},
            # Parts of so few rows tell nothing.
            "gates": declared["gates"]
            | {"minimum_rows": 800, "minimum_positives": 20, "slices": None, "fairness": None},
            "monitoring": declared["monitoring"] | {"minimum_rows": 200},
        }

        def write_history(zone: Path) -> None:
            for _ in landing.write_days(world, FIRST, FIRST + timedelta(days=HISTORY - 1), str(zone)):
                pass

        with served_folder(
            "churn",
            write_history,
            tmp_path,
            postgres_url,
            mlflow_url,
            services,
            name=name,
            make=partial(churn.one_folder, **changes),
        ) as spec:
            intervals = [Interval.of_day(FIRST + timedelta(days=number)) for number in range(HISTORY + days)]
            for interval in intervals[:HISTORY]:
                inline.ingest(spec, interval)
            until_it_answers()
            trained = inline.run(inline.of(spec, intervals[HISTORY - 1]), "train")
            assert not isinstance(trained["deploy"], inline.Skipped), trained
            for interval in intervals[HISTORY:]:
                _a_day(spec, world, interval)
            assert [each.start for each in _decisions(spec)] == [interval.start for interval in intervals[HISTORY:]]
            yield spec

    return live


def _a_day(spec: ModelSpec, world: World, interval: Interval) -> None:
    """Its clients ask, its batches come, and the monitor looks at it."""
    day = interval.start.date()
    answers = replay(list(requests_of_day(world, day)), spec.model, "customer_id", settings().server_url)
    assert answers.answered and not answers.unknown
    landing.write_day(world, day, settings().landing)
    inline.ingest(spec, interval)
    inline.run(inline.of(spec, interval), "monitor")


def _decisions(spec: ModelSpec) -> list[Decided]:
    return story.decisions(ledger.entries(spec.model))


def _told(spec: ModelSpec, kind: str, state: str) -> list[tuple[date, Told]]:
    """What the owner heard, each with the day of the window with which it was told."""
    return [
        (entry.event.start.date(), told)
        for entry in ledger.entries(spec.model)
        if isinstance(entry.event, Alerted) and entry.event.start is not None
        for told in entry.event.told
        if (told.kind, told.state) == (kind, state)
    ]


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_an_outage_is_an_incident_and_no_retraining(lived: Live) -> None:
    with lived("churn_outage", scenarios.outage, CHANGE + 6) as spec:
        steady.read(spec, CHANGED, incident=True).check()
        decisions = _decisions(spec)
        incidents = [number for number, each in enumerate(decisions) if each.incident]
        # At the end of its second or third day more than a fifth of a week's sessions are without their length, for a
        # week.
        assert CHANGE < min(incidents) <= CHANGE + 2
        assert incidents == list(range(min(incidents), len(decisions)))
        assert all(decisions[number].action == "alert" for number in incidents)
        assert "minutes_per_session_7d" in decisions[incidents[0]].reason


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_harmless_drift_is_seen_and_nothing_is_retrained(lived: Live) -> None:
    with lived("churn_harmless", scenarios.harmless, CHANGE + HORIZON + 6) as spec:
        steady.read(spec, CHANGED, incident=False).check()
        drifted = [each.start.date() for each in _decisions(spec) if each.drifted]
        assert drifted and min(drifted) >= CHANGED, "what moved is reported, and it moved with the change"
        assert not _told(spec, "loss", "began"), "nothing was lost, so nobody was told of a loss"


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_loss_is_told_at_once_mended_once_and_then_it_is_quiet(lived: Live) -> None:
    """The default story, and twenty days after the retraining."""
    with lived("churn_story", scenarios.story, CHANGE + MENDED + 20) as spec:
        timeline.read(spec, CHANGED).check()
        first_matured = CHANGED + timedelta(
            days=HORIZON
        )  # the window in which the first outcomes of the change are known
        day, loss = _told(spec, "loss", "began")[0]
        assert CHANGED <= day <= first_matured + timedelta(days=1), loss.said
        (mended,) = [each.start.date() for each in _decisions(spec) if each.action == "retrain" and each.triggers]
        assert mended <= CHANGED + timedelta(days=MENDED), "as soon as labels allow"
        after = [each for each in _decisions(spec) if each.start.date() > mended]
        assert len(after) >= 20
        assert not [each for each in after if each.action in ("retrain", "wait for labels")]
        assert _told(spec, "loss", "resolved"), "its end is told too"
