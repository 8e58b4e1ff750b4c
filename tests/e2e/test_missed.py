"""Intervals that went by while nothing ran, and runs that are late: a paused DAG, a full pool, a stopped scheduler.

The model `steady` has daily intervals until now. A backfill of its first day stands for the time when it ran;
Airflow takes up a paused DAG's backfill once the DAG is unpaused.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from evergreen.airflow_client.runs import FINISHED
from evergreen.interval import Interval, days
from evergreen.local.processes import Processes
from evergreen.local.services import services
from evergreen.orchestration.airflow import INGEST_POOL
from tests.listeners import Listener

from .conftest import STEADY_DAYS, Stack

pytestmark = pytest.mark.timeout(900)
INGEST, MONITOR = "steady__ingest", "steady__monitor"


def until(condition: Callable[[], Any], what: str, patience: float = 240) -> Any:
    """What the condition says, once it is true."""
    deadline = time.monotonic() + patience
    while not (result := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(1)
    return result


@pytest.fixture(scope="module")
def past() -> list[Interval]:
    """The days of the model, which end with yesterday: one that never had a run, one that had, and those since."""
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    return days(yesterday - timedelta(days=STEADY_DAYS - 1), yesterday)


def scheduled(running: Stack, dag_id: str) -> list[dict[str, Any]]:
    return [run for run in running.demo.runs.of(dag_id) if run["run_type"] == "scheduled"]


def starts(runs: list[dict[str, Any]]) -> list[datetime]:
    return [datetime.fromisoformat(run["logical_date"]) for run in runs]


def heard(slack: Listener, *words: str) -> list[str]:
    return [said for said in slack.heard if all(word in said for word in words)]


def status() -> dict[str, Any]:
    """What `evergreen status` says of the model."""
    command = [sys.executable, "-m", "evergreen", "status", "steady", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["steady"]
    return found


def ran_once(running: Stack, dag_id: str, day: Interval, following: Interval) -> None:
    """Let a paused DAG have a run of a day, so that the scheduler plans the one after it."""
    api = running.demo.runs.api
    until(lambda: api.call("GET", f"/dags/{dag_id}", accept=(404,)), "the DAG is not parsed")
    running.demo.runs.backfill(dag_id, day, day, 1)

    def planned() -> bool:
        text = api.get(f"/dags/{dag_id}")["next_dagrun_logical_date"]
        return bool(text) and datetime.fromisoformat(text) == following.start

    until(planned, f"the next run of {dag_id} is not of {following}")


@pytest.fixture
def full_pool(running: Stack) -> Iterator[Callable[[], None]]:
    """A pool without a slot, and what gives it its slots back."""
    api, path = running.demo.runs.api, f"/pools/{INGEST_POOL}"
    pool = api.get(path)
    before = pool["slots"]

    def slots(number: int) -> None:
        kept = {field: pool[field] for field in ("description", "include_deferred")}
        api.patch(path, {"pool": INGEST_POOL, "slots": number} | kept)

    slots(0)
    yield lambda: slots(before)
    slots(before)


def test_what_a_pause_missed_is_caught_up_and_one_alarm_tells_that_the_newest_waits_for_a_full_pool(
    running: Stack, slack: Listener, past: list[Interval], full_pool: Callable[[], None]
) -> None:
    runs, (never, ran, *missed) = running.demo.runs, past
    ran_once(running, INGEST, ran, missed[0])
    runs.api.patch(f"/dags/{INGEST}", {"is_paused": False})
    made = until(lambda: len(made := scheduled(running, INGEST)) == len(missed) and made, "a missed day has no run")
    assert starts(made) == [day.start for day in missed]
    queued = [run["queued_at"] for run in made]
    assert queued == sorted(queued), "the oldest first"

    until(lambda: heard(slack, f"{INGEST} is late"), "nobody is told that the newest day is late")
    late = status()["loops"]["ingest"]
    assert (late["late"], late["missing"]) == ([missed[-1].partition], [day.partition for day in past[:-1]])
    counted = f'evergreen_intervals{{loop="ingest",name="steady",state="missing"}} {len(past) - 1}.0'
    until(lambda: counted in httpx.get(f"{running.settings.server_url}/metrics", timeout=20).text, counted)

    full_pool()
    for run in made:
        runs.wait(run)
    runs.wait(runs.of(INGEST)[0])
    (alarm,) = heard(slack, f"{INGEST} is late")
    assert f"{missed[-1].start:%Y-%m-%dT}" in alarm, "a day that is only caught up raised it"
    assert "schedule.late" in alarm and "Next step" in alarm
    (missing,) = heard(slack, f"No run of {INGEST}")
    assert f"{INGEST} {never.partition} missing" in missing, "what is worked on at this moment is not missing"
    assert "backfill create" in missing
    ended = status()["loops"]["ingest"]
    assert (ended["done"], ended["missing"]) == ([day.partition for day in past[1:]], [never.partition])


@pytest.mark.long
def test_what_a_stopped_scheduler_missed_is_caught_up_one_by_one_where_the_order_counts(
    running: Stack, past: list[Interval]
) -> None:
    runs, (_, ran, *missed) = running.demo.runs, past
    processes, scheduler = Processes(running.settings.home), services(running.settings)["airflow-scheduler"]
    ran_once(running, MONITOR, ran, missed[0])
    processes.stop("airflow-scheduler")
    try:
        runs.api.patch(f"/dags/{MONITOR}", {"is_paused": False})
        assert not scheduled(running, MONITOR)
    finally:
        processes.start(scheduler)
    processes.wait(scheduler)

    def ended() -> list[dict[str, Any]] | None:
        made = scheduled(running, MONITOR)
        return made if len(made) == len(missed) and all(run["state"] in FINISHED for run in made) else None

    made = until(ended, "a missed day has no run")
    assert starts(made) == [day.start for day in missed]
    assert {run["state"] for run in made} == {"success"}
    spans = [(run["start_date"], run["end_date"]) for run in made]
    assert all(one[1] <= other[0] for one, other in itertools.pairwise(spans)), "side by side"
    assert status()["loops"]["monitor"]["missing"] == []
