"""Runs every DAG of one model by `dag.test()` and writes what came of it as JSON.
Run as a script, in a process of its own.

Airflow reads its configuration at its first import, and the other tests of this folder import it without a database: so
the runs have a process, whose environment the test sets before. Usage: python -m tests.dags.runs <report.json> [model
by folder]
"""

from __future__ import annotations

import json
import logging
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

FIRST = date(2026, 1, 1)
DAYS = 5  # of history; the model is trained as of their end, and monitored on the day after
FOLDER_DAYS = 7  # of history of a model by folder: its labels take longer to be known
AS_OF = FIRST + timedelta(days=DAYS)
MISSING = AS_OF + timedelta(days=1)  # a day whose batches never arrived
WARNED = AS_OF + timedelta(days=2)  # a day with a category that the contract does not know
CORRECTED = AS_OF + timedelta(days=9)  # when the data of an earlier day is corrected
SEED, CUSTOMERS = 4, 250


class Lines(logging.Handler):
    """Everything that is logged while a task runs: in Airflow, the task's log."""

    def __init__(self) -> None:
        super().__init__()
        self.of_task: dict[str, list[str]] = {}
        self._task = ""

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if message.startswith("[DAG TEST] starting task_id="):
            self._task = message.split("task_id=")[1].split()[0]
            self.of_task[self._task] = []
        elif message.startswith("[DAG TEST] end task"):
            self._task = ""
        elif self._task and not message.startswith("[DAG TEST]"):
            self.of_task[self._task] += message.splitlines()


def run(loop: str, lines: Lines, begins: date | datetime, model: str = "churn", **conf: str | bool) -> dict[str, Any]:
    """One run of the interval that begins with a day, or at a moment: states by task (a list where it is mapped),
    results, logs and asset events.

    It parses the DAG anew, as a task's process does: `dag.test()` leaves the run's params in the object.
    """
    from airflow.dag_processing.dagbag import DagBag
    from airflow.models.asset import AssetEvent
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    from evergreen.settings import PROJECT

    bag = DagBag(PROJECT / "dags" / f"{loop}.py")
    assert not bag.import_errors, bag.import_errors
    dag = bag.dags[f"{model}__{loop}"]
    dag.deadline = None  # Airflow 3.3's `dag.test()` ends every run of a DAG that has one with an SQL error
    lines.of_task.clear()
    logging.getLogger().addHandler(lines)  # each time: Airflow's first import has replaced the handlers of the root
    begin = time.monotonic()
    if not isinstance(begins, datetime):
        begins = datetime(begins.year, begins.month, begins.day, tzinfo=UTC)
    ended = dag.test(logical_date=begins, run_conf=conf or None)
    states: dict[str, list[str]] = {}
    for instance in ended.get_task_instances():
        states.setdefault(instance.task_id, []).append(str(instance.state))
    with create_session() as session:
        events = session.scalars(
            select(AssetEvent).where(AssetEvent.source_run_id == ended.run_id, AssetEvent.source_dag_id == dag.dag_id)
        )
        extras = {event.asset.name: event.extra for event in events}
        values = session.scalars(
            select(XComModel).where(XComModel.run_id == ended.run_id, XComModel.dag_id == dag.dag_id)
        )
        xcoms = [(xcom.task_id, xcom.key, XComModel.deserialize_value(xcom)) for xcom in values]
    return {
        "state": str(ended.state),
        "interval": [str(ended.data_interval_start), str(ended.data_interval_end)],
        "tasks": {task: of_task[0] if len(of_task) == 1 else sorted(of_task) for task, of_task in states.items()},
        "results": {task: value for task, key, value in xcoms if key == "return_value"},
        "links": {task: {k: v for t, k, v in xcoms if t == task and k != "return_value"} for task in states},
        "log": {task: list(messages) for task, messages in lines.of_task.items()},
        "assets": extras,
        "seconds": round(time.monotonic() - begin, 1),
    }


def main(report: Path) -> None:
    from evergreen.settings import settings
    from evergreen_simulator.delivery import World
    from evergreen_simulator.landing import write_day, write_days
    from evergreen_simulator.scenarios import NewCategory
    from evergreen_simulator.traffic import replay_day

    lines = Lines()
    sleep = time.sleep
    # dag.test() sleeps a second for each task that it will not run.
    time.sleep = lambda seconds: sleep(min(seconds, 0.1))
    world = World(SEED, CUSTOMERS)
    for _ in write_days(world, FIRST, AS_OF, settings().landing):
        pass
    # By the interval that begins with the date, as the schedule would; the last two by naming the day, as by hand.
    done: dict[str, Any] = {"ingest": [run("ingest", lines, FIRST + timedelta(days=n)) for n in range(DAYS - 2)]}
    for day in (AS_OF - timedelta(days=2), AS_OF - timedelta(days=1)):
        done["ingest"].append(run("ingest", lines, day + timedelta(days=1), partition=day.isoformat()))
    done["again"] = run("ingest", lines, FIRST)
    done["missing"] = run("ingest", lines, MISSING)
    write_day(World(SEED, CUSTOMERS, (NewCategory(since=WARNED),)), WARNED, settings().landing)
    done["warned"] = run("ingest", lines, WARNED)
    moment = f"{AS_OF.isoformat()}T00:00:00Z"  # in the middle of the week that the schedule would train after
    done["train"] = run("train", lines, AS_OF, as_of=moment)
    done["train_again"] = run("train", lines, AS_OF + timedelta(days=1), as_of=moment, reason="once more")
    replay = replay_day(world, AS_OF, settings().server_url)
    done["traffic"] = {"answered": replay.answered, "versions": dict(replay.versions)}
    done["monitor"] = run("monitor", lines, AS_OF)
    done["rollout"] = run("rollout", lines, AS_OF, partition=AS_OF.isoformat())  # none is open
    nobody = {"act": "roll_back", "reason": "it is slow"}
    done["unnamed"] = run("rollout", lines, AS_OF + timedelta(days=1), partition=AS_OF.isoformat(), **nobody)
    done["silent"] = run("monitor", lines, AS_OF + timedelta(days=1))  # nobody asked anything on that day
    done |= corrections(lines)
    report.write_text(json.dumps(done, indent=1, default=str))


def corrections(lines: Lines) -> dict[str, Any]:
    """A day of the training's data sent again: the dry run, the correction, and the training set of now."""
    from evergreen.registry.records import version
    from evergreen.settings import settings
    from evergreen.spec.load import load_spec
    from evergreen.train import dataset, records, rules

    day = AS_OF - timedelta(days=3)
    file = Path(settings().landing) / "churn" / "usage" / f"{day.isoformat()}.csv"
    header, *rows = file.read_text().splitlines()
    file.write_text("\n".join([header, *rows[::2]]) + "\n")
    done = {
        "dry": run("correct", lines, CORRECTED, partition=day.isoformat()),
        "unexplained": run("correct", lines, CORRECTED + timedelta(days=1), partition=day.isoformat(), dry_run=False),
    }
    options: dict[str, Any] = {"partition": day.isoformat(), "dry_run": False, "reason": "half came twice"}
    done["correct"] = run("correct", lines, CORRECTED + timedelta(days=2), **options)
    done["correct_again"] = run("correct", lines, CORRECTED + timedelta(days=3), **options)
    spec = load_spec(settings().models / "churn")
    moment = datetime(AS_OF.year, AS_OF.month, AS_OF.day, tzinfo=UTC)
    sets = {
        "before": records.of("churn", version("churn", 1)).partitions,
        "now": dataset.build(spec, rules.split(moment, spec)).partitions,
    }
    return done | {"training_sets": sets}


def by_folder(report: Path, model: str) -> None:
    """The loops of a model of which there is a folder and data in the landing zone (tests/parcels.py),
    and nothing else."""
    from evergreen.settings import settings
    from evergreen_simulator.replay import replay
    from tests.parcels import Day

    lines = Lines()
    sleep = time.sleep
    time.sleep = lambda seconds: sleep(min(seconds, 0.1))
    days = [FIRST + timedelta(days=number) for number in range(FOLDER_DAYS + 1)]
    done: dict[str, Any] = {"ingest": [run("ingest", lines, day, model) for day in days[:-1]]}
    done["train"] = run("train", lines, days[-1], model, as_of=f"{days[-1].isoformat()}T00:00:00Z")
    replayed = replay(Day(days[-1]).requests(), model, "parcel_id", settings().server_url)
    done["traffic"] = {
        "answered": replayed.answered,
        "unknown": len(replayed.unknown),
        "versions": dict(replayed.versions),
    }
    done["ingest"].append(run("ingest", lines, days[-1], model))
    done["monitor"] = run("monitor", lines, days[-1], model)
    report.write_text(json.dumps(done, indent=1, default=str))


def by_hours(report: Path, model: str) -> None:
    """The loops of a model whose intervals are hours (tests/meters.py), in the night in which the clock is put back."""
    from evergreen.settings import settings
    from evergreen_simulator.replay import replay
    from tests.meters import HOURS, IDS, TRAINED

    lines = Lines()
    sleep = time.sleep
    time.sleep = lambda seconds: sleep(min(seconds, 0.1))
    known, asked = HOURS[:TRAINED], HOURS[TRAINED : TRAINED + 2]
    done: dict[str, Any] = {"ingest": [run("ingest", lines, hour.start, model) for hour in known]}
    done["train"] = run("train", lines, asked[0].start, model, as_of=f"{known[-1].end:%Y-%m-%dT%H:%M:%SZ}")
    done["answered"] = 0
    for hour in asked:
        moment = (hour.start + timedelta(minutes=20)).isoformat()
        requests = [{"entity": {"meter_id": meter}, "as_of": moment} for meter in IDS]
        done["answered"] += replay(requests, model, "meter_id", settings().server_url).answered
        done["ingest"].append(run("ingest", lines, hour.start, model))
        done["monitor"] = run("monitor", lines, hour.start, model)
    report.write_text(json.dumps(done, indent=1, default=str))


if __name__ == "__main__":
    if sys.argv[2:] == ["meters_hourly"]:
        by_hours(Path(sys.argv[1]), sys.argv[2])
    elif len(sys.argv) > 2:
        by_folder(Path(sys.argv[1]), sys.argv[2])
    else:
        main(Path(sys.argv[1]))
