"""The fall back while labels are open, in a running Airflow: by the monitor's DAG the model server serves the last
known good version, before a label says anything.

Versions and answers are made beside Airflow, and recorded as a training and the server do; all that decides, acts and
tells is the DAG's own doing.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from evergreen.handovers.train import SoundTrainingSet
from evergreen.history import ledger
from evergreen.history.events import RolledBack
from evergreen.interval import Interval
from evergreen.serve.predictions import PredictionLog
from evergreen.spec.load import load_spec
from tests.components.evaluate.conftest import Contest
from tests.components.monitor.conftest import Live, first_champion
from tests.components.monitor.test_fall_back import CHAMPION, OLDER, moved, two_versions, usual
from tests.components.serve.conftest import until
from tests.components.train.conftest import FIRST, at, training_set
from tests.listeners import Listener

from .conftest import Stack

__all__ = ["training_set"]
pytestmark = pytest.mark.timeout(900)
MONITOR = "guests__monitor"


def monitored(running: Stack, day: int, run_id: str) -> dict[str, str]:
    """The states of the tasks of a run of the monitor over a day."""
    runs = running.demo.runs
    window = Interval.of_day(FIRST + timedelta(days=day))
    run = runs.wait(runs.trigger(MONITOR, run_id, conf={"partition": window.partition}))
    return {task["task_id"]: task["state"] for task in runs.tasks(run)}


def test_the_dag_lets_the_last_known_good_version_serve_until_labels_judge_it(
    running: Stack, slack: Listener, training_set: Callable[..., SoundTrainingSet]
) -> None:
    def served() -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(f"{running.settings.server_url}/models/guests", timeout=10).json()
        return found

    spec = load_spec(running.settings.models / "guests")
    contest, log = Contest(spec, training_set), PredictionLog()
    first_champion(contest)
    live = Live(contest, log)
    two_versions(live, "fall_back")
    until(lambda: served()["version"] == CHAMPION, "the server follows the ledger")
    live.serve(29, usual, version=CHAMPION)
    live.serve(30, moved, version=CHAMPION)
    log.close()
    running.demo.runs.wait_for_dags([MONITOR])

    calm = monitored(running, 29, "calm")
    assert (calm["decide"], calm["fall_back"], served()["version"]) == ("success", "skipped", CHAMPION)
    acted = monitored(running, 30, "moved")
    assert (acted["decide"], acted["fall_back"], served()["version"]) == ("success", "success", OLDER)
    (move,) = (entry.event for entry in ledger.entries("guests") if isinstance(entry.event, RolledBack))
    assert (move.left, move.version, move.as_of, move.until) == (CHAMPION, OLDER, at(30), at(31))
    assert move.decision_id and f"decision {move.decision_id}" in move.reason
    told = [each for each in slack.heard if "guests" in each and f"version {OLDER} serves instead" in each]
    assert len(told) == 1, slack.heard

    again = monitored(running, 30, "moved_again")
    assert (again["fall_back"], served()["version"]) == ("success", OLDER)
    moves = [entry.event for entry in ledger.entries("guests") if isinstance(entry.event, RolledBack)]
    assert moves == [move], "once"
