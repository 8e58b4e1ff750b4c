"""What a driver asks of Airflow, against answers as Airflow gives them; tests/e2e asks a real one."""

from __future__ import annotations

import time
from datetime import date
from typing import Any, cast

import pytest

from evergreen.airflow_client.api import AirflowApi
from evergreen.airflow_client.runs import AirflowRuns
from evergreen.errors import RunFailed
from evergreen.interval import days

DAG = "churn__ingest"


class Airflow:
    """An Airflow with one backfill: busy with an earlier one at first, and slow to notice that this one is over."""

    def __init__(self, busy: int, succeeded: list[int]) -> None:
        self.busy, self.succeeded = busy, succeeded
        self.counted: list[dict[str, Any]] = []

    def call(self, method: str, path: str, *, accept: tuple[int, ...] = (), **options: Any) -> Any:
        assert (method, path) == ("POST", "/backfills")
        if self.busy:
            self.busy -= 1
            assert 409 in accept
            return None
        return {"id": 7}

    def get(self, path: str, **query: Any) -> Any:
        if path == "/backfills/7":
            return {"from_date": "2026-01-01", "to_date": "2026-01-03", "completed_at": None}
        if query["state"] == "failed":
            return {"dag_runs": []}
        self.counted.append(query)
        return {"total_entries": self.succeeded.pop(0)}


def test_a_backfill_is_over_when_its_runs_are_and_not_when_airflow_notices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    airflow, told = Airflow(busy=2, succeeded=[0, 2, 3]), list[int]()
    runs = AirflowRuns(cast("AirflowApi", airflow))
    first, _, last = days(date(2026, 1, 1), date(2026, 1, 3))
    backfill = runs.backfill(DAG, first, last, 4)
    runs.wait_for_backfill(backfill, DAG, 3, told.append)
    assert (airflow.busy, told) == (0, [0, 2, 3])
    assert {(each["logical_date_gte"], each["logical_date_lte"]) for each in airflow.counted} == {
        ("2026-01-01", "2026-01-03")
    }, "runs of other days are not its own"


class Stuck:
    """An Airflow with one run, whose second task never ends."""

    def get(self, path: str, **query: Any) -> Any:
        if path.endswith("/taskInstances"):
            began = {"dag_id": DAG, "dag_run_id": "of_today", "try_number": 1, "map_index": -1, "start_date": "10:00"}
            states = {"extract": "success", "validate": "running", "publish": None, "tell": "skipped"}
            waits = {"start_date": None}
            return {
                "task_instances": [
                    began | {"task_id": task, "state": state} | (waits if state is None else {})
                    for task, state in states.items()
                ]
            }
        if "/logs/" in path:
            assert "/validate/" in path
            return {"content": [{"level": "info", "event": "asking Postgres"}]}
        return {"dag_id": DAG, "dag_run_id": "of_today", "state": "running"}


def test_of_a_run_that_does_not_end_it_is_told_which_tasks_have_not_and_what_they_said_last() -> None:
    runs = AirflowRuns(cast("AirflowApi", Stuck()))
    with pytest.raises(RunFailed) as refused:
        runs.wait({"dag_id": DAG, "dag_run_id": "of_today", "state": "running"}, patience=0)
    assert "validate: running since 10:00, the end of its log:\ninfo asking Postgres" in refused.value.found
    assert "publish: waits" in refused.value.found
    assert "extract" not in refused.value.found and "tell" not in refused.value.found
