"""The stories of the simulated business, each lived through in one process: by the real loops, with a real server."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from functools import partial
from pathlib import Path

import pytest

from evergreen.history import ledger, story
from evergreen.history.events import Decided
from evergreen.interval import Interval
from evergreen.local.processes import Processes
from evergreen.loops import inline
from evergreen.registry import records, store
from evergreen.settings import settings
from evergreen.spec.schema import ModelSpec
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


@pytest.fixture
def lived(
    postgres_url: str, mlflow_url: str, services: Processes, tmp_path: Path
) -> Callable[[str, Callable[[date], tuple[Scenario, ...]], int], list[Decided]]:
    """Lives through a story for some days in which the champion stays; what the monitor decided, day by day."""

    def live(name: str, told: Callable[[date], tuple[Scenario, ...]], days: int) -> list[Decided]:
        since = FIRST + timedelta(days=HISTORY + CHANGE)
        world = World(SEED, CUSTOMERS, told(since))
        declared = churn.declared()
        changes = {
            "families": {"gradient_boosting": {"max_iter": [40, 60]}},
            "search": declared["search"] | {"trials": 3},
            "split": declared["split"] | {"window": "2w", "evaluation": "3d", "minimum_rows": 1000},
            "gates": declared["gates"] | {"minimum_rows": 800, "minimum_positives": 20},
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
            decisions = story.decisions(ledger.entries(spec.model))
            assert [each.start for each in decisions] == [interval.start for interval in intervals[HISTORY:]]
            champion = store.champion(spec.model)
            assert champion is not None and (champion.number, len(records.keys(spec.model))) == (1, 1)
            return decisions

    return live


def _a_day(spec: ModelSpec, world: World, interval: Interval) -> None:
    """Its clients ask, its batches come, and the monitor looks at it."""
    day = interval.start.date()
    answers = replay(list(requests_of_day(world, day)), spec.model, "customer_id", settings().server_url)
    assert answers.answered and not answers.unknown
    landing.write_day(world, day, settings().landing)
    inline.ingest(spec, interval)
    inline.run(inline.of(spec, interval), "monitor")


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_an_outage_is_an_incident_and_no_retraining(lived: Callable[..., list[Decided]]) -> None:
    decisions = lived("churn_outage", scenarios.outage, CHANGE + 6)
    incidents = [number for number, each in enumerate(decisions) if each.incident]
    # At the end of its second or third day more than a fifth of a week's sessions are without their length, for a week.
    assert CHANGE < min(incidents) <= CHANGE + 2
    assert incidents == list(range(min(incidents), len(decisions)))
    assert all(decisions[number].action == "alert" for number in incidents)
    assert "minutes_per_session_7d" in decisions[incidents[0]].reason
    assert not [each for each in decisions if each.action in ("retrain", "wait for labels")]
