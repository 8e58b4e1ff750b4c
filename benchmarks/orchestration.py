"""The price of orchestration: Airflow against the same stages in one plain process."""

from __future__ import annotations

import importlib
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from itertools import pairwise
from typing import Any

from benchmarks import workload
from benchmarks.collector import collecting
from benchmarks.document import ratios, table
from benchmarks.measure import Ratio, timed
from config.airflow_local_settings import PRELOADED
from evergreen.airflow_client.api import AirflowApi
from evergreen.airflow_client.runs import AirflowRuns, moment
from evergreen.interval import Interval
from evergreen.run import Run
from evergreen.spec.schema import ModelSpec

CUSTOMERS = 1000
WAVES, WAVE = 3, 6  # backfills in turns with the plain process, of so many days each; the first warms both up
WIDTH = 4  # days of a backfill side by side
IMPORTED = [name for name in PRELOADED if not name.startswith("evergreen.orchestration")]  # what a plain process uses
EMPTY = "empty_chain"  # of benchmarks/dags
TURNS = 5  # days after those, one by one


@dataclass(frozen=True)
class Seconds:
    """Where a task instance's seconds went, by Airflow's own record."""

    scheduler: float  # from the end of what it waited for until it was queued
    executor: float  # until its process ran
    start_up: float  # until the operator's first line: parse the DAG, render the inputs
    stage: float  # until it ended

    @property
    def total(self) -> float:
        return self.scheduler + self.executor + self.start_up + self.stage


@dataclass(frozen=True)
class Flown:
    """A run in Airflow."""

    seconds: float  # from being queued to its end
    closing: float  # of these, after its last task
    tasks: dict[str, Seconds]


def run() -> str:
    """The section's text."""
    with collecting("told__ingest") as collector, workload.whole_stack("churn", "plain", "told") as here:
        flown, plain, told = (workload.declared(here, name) for name in ("churn", "plain", "told"))
        print(f"  importing {len(IMPORTED)} modules, as the scheduler does at its start")
        imports = timed(lambda: [importlib.import_module(name) for name in IMPORTED])
        intervals = workload.deliver(here, CUSTOMERS, workload.FIRST, WAVES * WAVE + TURNS)
        airflow = Airflow(AirflowRuns(AirflowApi.of(here)), flown)
        print(f"  {WAVES} waves of {WAVE} days, by backfill and in this process")
        history = [
            (airflow.backfill(wave), sum(sum(workload.ingest(plain, day).values()) for day in wave))
            for wave in (intervals[at : at + WAVE] for at in range(0, WAVES * WAVE, WAVE))
        ]
        for day in intervals[: WAVES * WAVE]:
            workload.ingest(told, day)
        print(f"  {TURNS} days in turns, once more with a collector of lineage")
        days, with_lineage, empty = [], [], []
        heard_of = Airflow(AirflowRuns(AirflowApi.of(here)), told)
        airflow.empty_chain("warm")
        for day in intervals[WAVES * WAVE :]:
            empty.append(airflow.empty_chain(day.partition))
            days.append((airflow.ingest(day), workload.ingest(plain, day)))
            with_lineage.append(heard_of.ingest(day).seconds)
        assert collector.heard >= TURNS * 2 * len(days[0][1]), f"{collector.heard} events: not of every task two"
        print("  a training each")
        training = (airflow.train(intervals[-1]), workload.seconds(Run(plain, intervals[-1]), "train"))
    return _text(imports, history[1:], days, with_lineage, empty, training)


class Airflow:
    """Runs of one model's loops."""

    def __init__(self, runs: AirflowRuns, spec: ModelSpec) -> None:
        self._runs = runs
        self._ingest, self._train = f"{spec.model}__ingest", f"{spec.model}__train"
        self._runs.wait_for_dags([self._ingest, self._train, EMPTY])

    def backfill(self, days: Sequence[Interval]) -> float:
        """Seconds from the first run's start to the last one's end."""
        backfill = self._runs.backfill(self._ingest, days[0], days[-1], WIDTH)
        self._runs.wait_for_backfill(backfill, self._ingest, len(days), lambda done: None)
        starts = {day.start for day in days}
        runs = [run for run in self._runs.of(self._ingest) if moment(run["logical_date"]) in starts]
        assert len(runs) == len(days), f"{len(runs)} runs of {len(days)} days"
        ended, began = max(moment(run["end_date"]) for run in runs), min(moment(run["start_date"]) for run in runs)
        return (ended - began).total_seconds()

    def ingest(self, day: Interval) -> Flown:
        return self._ended(self._runs.trigger(self._ingest, f"bench__{day.partition}", day))

    def empty_chain(self, name: str) -> float:
        """Seconds from being queued to its end, of a run of as many tasks as an ingestion has, each empty."""
        ended = self._runs.wait(self._runs.trigger(EMPTY, f"bench__{name}"))
        return (moment(ended["end_date"]) - moment(ended["queued_at"])).total_seconds()

    def train(self, day: Interval) -> Flown:
        conf = {"as_of": day.as_of.isoformat(), "reason": "benchmark"}
        return self._ended(self._runs.trigger(self._train, f"bench__{day.partition}", conf=conf))

    def _ended(self, run: dict[str, Any]) -> Flown:
        ended = self._runs.wait(run)
        started = moment(ended["queued_at"])
        before, tasks = started, {}
        # In the order of their ends each task waited for the one before it, mapped ones
        # (which start together) for the last other.
        instances = sorted(self._runs.tasks(ended), key=lambda task: str(task["end_date"]))
        for task in instances:
            if task["state"] != "success":
                raise AssertionError(f"{task['task_id']} is {task['state']}: the two ways would not do the same work")
            queued, started_at, ended_at = (moment(task[name]) for name in ("queued_when", "start_date", "end_date"))
            begun = self._begun(task)
            mapped = task["map_index"] >= 0
            waited = max((moment(t["end_date"]) for t in instances if moment(t["end_date"]) <= queued), default=before)
            name = f"{task['task_id']} ({task['rendered_map_index']})" if mapped else task["task_id"]
            steps = (waited, queued, started_at, begun, ended_at)
            tasks[name] = Seconds(*((b - a).total_seconds() for a, b in pairwise(steps)))
        closed, last = moment(ended["end_date"]), moment(instances[-1]["end_date"])
        return Flown((closed - started).total_seconds(), (closed - last).total_seconds(), tasks)

    def _begun(self, task: dict[str, Any]) -> Any:
        """When the operator wrote its line, which is the first that it does."""
        whose = f"/dags/{task['dag_id']}/dagRuns/{task['dag_run_id']}/taskInstances/{task['task_id']}"
        path = f"{whose}/logs/{task['try_number']}"
        events = self._runs.api.get(path, full_content=True, map_index=task["map_index"])["content"]
        return next(moment(e["timestamp"]) for e in events if f": {task['task_id']}, as of " in str(e.get("event")))


def _text(
    imports: float,
    history: Sequence[tuple[float, float]],
    days: Sequence[tuple[Flown, dict[str, float]]],
    with_lineage: Sequence[float],
    empty: Sequence[float],
    training: tuple[Flown, dict[str, float]],
) -> str:
    flown_day = statistics.median(flown.seconds for flown, _ in days)
    plain_day = statistics.median(sum(plain.values()) for _, plain in days)
    backfilled, in_turn = (statistics.mean(wave) / WAVE for wave in zip(*history, strict=True))
    price = statistics.median(flown.seconds - sum(plain.values()) for flown, plain in days)
    tasks = len(days[0][1])
    reason = _DAY.format(tasks=tasks)
    rows = [
        Ratio(
            f"what Airflow adds to an ingest day, of {tasks} tasks",
            f"median of {TURNS} differences to the plain process",
            price,
            statistics.median(empty),
            f"a chain of {tasks} empty tasks in the same Airflow, in turns",
            _PRICE,
        ),
        Ratio(
            "an ingest day",
            f"{CUSTOMERS:,} customers, median of {TURNS}",
            flown_day,
            plain_day,
            "plain process",
            reason,
        ),
        Ratio(
            "an ingest day that a collector of lineage hears of",
            f"{CUSTOMERS:,} customers, median of {TURNS}",
            statistics.median(with_lineage),
            flown_day,
            "the same without",
        ),
        Ratio(
            f"a day of a backfill, {WIDTH} side by side",
            f"{len(history)} times {WAVE} days",
            backfilled,
            in_turn,
            "plain process, one after the other",
            reason,
        ),
        Ratio(
            "a training",
            "3 families, once each, Airflow first",
            training[0].seconds,
            sum(training[1].values()),
            "plain process",
            _TRAINING,
        ),
    ]
    median_day = {name: _median(flown.tasks[name] for flown, _ in days) for name in days[0][1]}
    plain = {name: statistics.median(stages[name] for _, stages in days) for name in days[0][1]}
    return "\n\n".join(
        [
            _PROSE.format(imports=imports, modules=len(IMPORTED)),
            ratios(rows),
            "Where each second of an ingest day goes:",
            _seconds(Flown(flown_day, statistics.median(flown.closing for flown, _ in days), median_day), plain),
            (
                "Where each second of a training goes (the families are tuned two at a time, so the sum is more than "
                "the run):"
            ),
            _seconds(*training),
        ]
    )


def _median(instances: Iterable[Seconds]) -> Seconds:
    return Seconds(*map(statistics.median, zip(*map(astuple, instances), strict=True)))


def _seconds(flown: Flown, plain: dict[str, float]) -> str:
    rows = [(name, *astuple(flown.tasks[name]), flown.tasks[name].total, plain[name]) for name in plain]
    sums = ("sum of the tasks", *(sum(column) for column in list(zip(*rows, strict=True))[1:]))
    whole = [[name, *(f"{value:.2f}" for value in values)] for name, *values in [*rows, sums]]
    whole.append(["the run's end, after its last task", f"{flown.closing:.2f}", "", "", "", f"{flown.closing:.2f}", ""])
    whole.append(["**the run, queued to ended**", "", "", "", "", f"{flown.seconds:.2f}", f"{sum(plain.values()):.2f}"])
    return table(("seconds", "scheduler", "executor", "start-up", "stage", "task in all", "plain process"), whole)


_PROSE = """The same stages on the same batches, on two models that differ in nothing but the name: one through Airflow
(LocalExecutor, Postgres, as `make up` starts it), one in a plain process that calls them one after the other. Each
writes its own tables of one lake, and both use the same Postgres, MLflow and model server. The plain process first
imported what the scheduler preloads ({modules} modules, {imports:.1f} s); no task pays for imports again.

*scheduler*: from the end of what a task waited for until it is queued. *executor*: until its process runs. *start-up*:
until the operator's first line (parse the DAG file, read the inputs). *stage*: from there to the task's end, with its
result and links sent to the api-server; a task's process is new, so it also opens its own connections to Postgres,
Feast's registry and MLflow, and the families that are tuned side by side share the cores. The plain process has the
stage alone, and comes second: what the model server does once, at its first deployment, is in Airflow's `deploy`."""
_PRICE = "a task also compares the folders, opens its own connections, and hands over results and pages"
_DAY = "{tasks} tasks, each queued, started and set up, and a stage that opens its own connections: the next table"
_TRAINING = (
    "families side by side share two cores, every task opens its own connections, and what only the first deployment "
    "does: the last table"
)
