"""What a driver asks of Airflow: backfill these days, run this interval, wait, and show why a run failed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, NoReturn

from evergreen.airflow_client.api import AirflowApi
from evergreen.errors import RunFailed
from evergreen.interval import Interval

FINISHED = ("success", "failed")
_ENDED = (*FINISHED, "skipped", "upstream_failed", "removed")
_EXCERPT = 30  # lines of a log
_NOTICED = 60.0  # seconds; Airflow looks only twice a minute whether a backfill is over, and takes no other one before


class AirflowRuns:
    """DAG runs of one Airflow."""

    def __init__(self, api: AirflowApi) -> None:
        self.api = api

    def wait_for_dags(self, dag_ids: list[str], patience: float = 120) -> None:
        """Until the DAG processor has found them all; then unpause them."""
        deadline = time.monotonic() + patience
        while missing := [d for d in dag_ids if self.api.call("GET", f"/dags/{d}", accept=(404,)) is None]:
            if time.monotonic() > deadline:
                errors = self.api.get("/importErrors")["import_errors"]
                raise RunFailed(
                    "waiting for Airflow to parse the DAGs",
                    found=f"missing: {', '.join(missing)}; import errors: {[e['stack_trace'][-400:] for e in errors]}",
                    expected=f"all of {', '.join(dag_ids)}",
                    next_step="run `evergreen check`, then look at the dag-processor's log",
                )
            time.sleep(0.5)
        for dag_id in dag_ids:
            self.api.patch(f"/dags/{dag_id}", {"is_paused": False})

    def backfill(self, dag_id: str, first: Interval, last: Interval, width: int) -> int:
        """Start a backfill of the intervals from `first` to `last`, both included; returns its id.

        Raises:
            RequestRefused: among others where another backfill of the DAG is under way.
        """
        body = {
            "dag_id": dag_id,
            "from_date": first.start.isoformat(),
            "to_date": last.start.isoformat(),
            "max_active_runs": width,
            "reprocess_behavior": "failed",
        }
        deadline = time.monotonic() + _NOTICED
        while True:
            accept = (409,) if time.monotonic() < deadline else ()
            made = self.api.call("POST", "/backfills", json=body, accept=accept)
            if made is not None:
                return int(made["id"])
            time.sleep(0.5)

    def wait_for_backfill(
        self, backfill: int, dag_id: str, days: int, progress: Callable[[int], None], patience: float = 300
    ) -> None:
        """Until every run of the backfill has ended; calls `progress` with the number of days done.

        Raises:
            RunFailed: a run ended red, or none ended within `patience` seconds.
        """
        asked = self.api.get(f"/backfills/{backfill}")
        its = {"logical_date_gte": asked["from_date"], "logical_date_lte": asked["to_date"]}
        finished, deadline = -1, 0.0
        while True:
            failed = self.of(dag_id, state="failed")
            if failed:
                self.explain(failed[0])
            before, finished = finished, self.count(dag_id, "success", **its)
            progress(finished)
            if finished >= days:
                return
            if finished != before:
                deadline = time.monotonic() + patience
            elif time.monotonic() > deadline:
                raise RunFailed(
                    f"backfilling {dag_id}",
                    found=f"{finished} of {days} days done, and none more within {patience:.0f} s; the scheduler is "
                    f"{self.api.get('/monitor/health')['scheduler']['status']}",
                    expected="a day every few seconds",
                    next_step=f"look at {self.api.url}/dags/{dag_id} and at the scheduler's log",
                )
            time.sleep(1.0)

    def trigger(
        self, dag_id: str, run_id: str, interval: Interval | None = None, conf: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Start a run, for an interval or (without one) by its conf alone; a run of that
        id that is there already is returned."""
        body: dict[str, Any] = {"dag_run_id": run_id, "logical_date": None, "conf": conf or {}}
        if interval is not None:
            body |= {
                "logical_date": interval.start.isoformat(),
                "data_interval_start": interval.start.isoformat(),
                "data_interval_end": interval.end.isoformat(),
            }
        made = self.api.call("POST", f"/dags/{dag_id}/dagRuns", json=body, accept=(409,))
        run: dict[str, Any] = made or self.api.get(f"/dags/{dag_id}/dagRuns/{run_id}")
        return run

    def wait(
        self, run: dict[str, Any], patience: float = 900, meanwhile: Callable[[], None] = lambda: None
    ) -> dict[str, Any]:
        """Until the run has ended well; calls `meanwhile` at each look.

        Raises:
            RunFailed: it ended red, or did not end in time.
        """
        deadline = time.monotonic() + patience
        while run["state"] not in FINISHED:
            if time.monotonic() > deadline:
                raise RunFailed(
                    f"waiting for {run['dag_id']} {run['dag_run_id']}",
                    found=f"still {run['state']} after {patience:.0f} s{self._open(run)}",
                    expected="an ended run",
                    next_step="look at the run in Airflow and at the scheduler's log",
                )
            meanwhile()
            time.sleep(0.5)
            run = self.api.get(f"/dags/{run['dag_id']}/dagRuns/{run['dag_run_id']}")
        if run["state"] == "failed":
            self.explain(run)
        return run

    def _open(self, run: dict[str, Any]) -> str:
        """What of a run has not ended: its tasks, and of each that began the end of its log."""
        told = ""
        for task in (each for each in self.tasks(run) if each["state"] not in _ENDED):
            told += f"; {task['task_id']}: {task['state'] or 'waits'}"
            if task["start_date"] is not None:
                told += f" since {task['start_date']}, the end of its log:\n{self.log(task, _EXCERPT)}"
        return told

    def of(self, dag_id: str, **query: Any) -> list[dict[str, Any]]:
        """The runs of a DAG, oldest first."""
        answer = self.api.get(f"/dags/{dag_id}/dagRuns", limit=500, order_by="run_after", **query)
        runs: list[dict[str, Any]] = answer["dag_runs"]
        return runs

    def count(self, dag_id: str, state: str, **query: Any) -> int:
        total: int = self.api.get(f"/dags/{dag_id}/dagRuns", limit=1, state=state, **query)["total_entries"]
        return total

    def tasks(self, run: dict[str, Any]) -> list[dict[str, Any]]:
        """The task instances of a run."""
        answer = self.api.get(f"/dags/{run['dag_id']}/dagRuns/{run['dag_run_id']}/taskInstances", limit=500)
        instances: list[dict[str, Any]] = answer["task_instances"]
        return instances

    def mean_durations(self, dag_id: str) -> dict[str, float]:
        """Task → mean seconds of its successful instances, over all runs of a DAG."""
        seconds: dict[str, list[float]] = {}
        offset = 0
        while True:
            path = f"/dags/{dag_id}/dagRuns/~/taskInstances"
            answer = self.api.get(path, state="success", limit=500, offset=offset)
            for task in answer["task_instances"]:
                seconds.setdefault(task["task_id"], []).append(task["duration"] or 0.0)
            offset += len(answer["task_instances"])
            if not answer["task_instances"] or offset >= answer["total_entries"]:
                return {task: sum(each) / len(each) for task, each in seconds.items()}

    def result(self, run: dict[str, Any], task_id: str) -> Any:
        """What a task of a run returned; None when it returned nothing, or did not end well."""
        path = f"/dags/{run['dag_id']}/dagRuns/{run['dag_run_id']}/taskInstances/{task_id}/xcomEntries/return_value"
        entry = self.api.call("GET", path, params={"deserialize": False}, accept=(404,))
        return None if entry is None else entry["value"]

    def log(self, task: dict[str, Any], lines: int | None = None) -> str:
        """The log of a task's last try."""
        address = f"/dags/{task['dag_id']}/dagRuns/{task['dag_run_id']}"
        path = f"{address}/taskInstances/{task['task_id']}/logs/{task['try_number']}"
        content = self.api.get(path, full_content=True, map_index=task["map_index"])["content"]
        text = list(_lines(content))
        return "\n".join(text[-lines:] if lines else text)

    def explain(self, run: dict[str, Any]) -> NoReturn:
        """Raise `RunFailed` with the end of the first failed task's log."""
        failed = [t for t in self.tasks(run) if t["state"] == "failed"]
        excerpt = self.log(failed[0], _EXCERPT) if failed else "no task failed: the run's own time-out?"
        raise RunFailed(
            f"running {run['dag_id']} {run['dag_run_id']}" + (f", task {failed[0]['task_id']}" if failed else ""),
            found=f"the end of its log:\n{excerpt}",
            expected="a green run",
            next_step=f"{self.api.url}/dags/{run['dag_id']}/runs/{run['dag_run_id']}",
        )


def _lines(content: list[Any]) -> Iterator[str]:
    for event in content:
        if isinstance(event, str):
            yield event
            continue
        yield " ".join(part for part in (event.get("level", ""), str(event.get("event", ""))) if part)
        for error in event.get("error_detail") or []:
            yield f"{error['exc_type']}: {error['exc_value']}"


def moment(text: str) -> datetime:
    """A time of Airflow's answers."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
