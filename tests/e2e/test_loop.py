"""The closed loop on a running Airflow, driven through its REST API and the model server.
The tests run in the order of the file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import optuna
import pytest

from evergreen.airflow_client.api import AirflowApi
from evergreen.errors import RequestRefused, RunFailed
from evergreen.history import ledger
from evergreen.history.events import RolledBack
from evergreen.interval import Interval, days
from evergreen.registry import store
from evergreen.serve import predictions
from evergreen.settings import settings
from evergreen_demo import timeline
from evergreen_demo.churn import business

from .conftest import STORY, Stack

pytestmark = pytest.mark.timeout(2400)


def run_of(running: Stack, loop: str, run_id: str) -> dict[str, Any]:
    run: dict[str, Any] = running.demo.runs.api.get(f"/dags/{running.demo.ids[loop]}/dagRuns/{run_id}")
    return run


def states(running: Stack, run: dict[str, Any]) -> dict[str, str]:
    return {task["task_id"]: task["state"] for task in running.demo.runs.tasks(run)}


def train(running: Stack, run_id: str, last_day: date) -> dict[str, Any]:
    conf = {"as_of": Interval.of_day(last_day).end.isoformat(), "reason": run_id}
    return running.demo.runs.wait(running.demo.runs.trigger(running.demo.ids["train"], run_id, conf=conf))


def finished_trials() -> dict[str, int]:
    """Finished trials of every study."""
    url = settings().database_url("optuna", "postgresql+psycopg2")
    return {
        study.study_name: sum(
            trial.state.is_finished() for trial in optuna.load_study(study_name=study.study_name, storage=url).trials
        )
        for study in optuna.get_all_study_summaries(url)
    }


def where_its_tasks_are(running: Stack) -> str:
    """What each task that runs says of itself, as on-call would ask it."""
    runs = running.demo.runs
    open_ones = [run for dag_id in running.demo.ids.values() for run in runs.of(dag_id, state="running")]
    tasks = [task for run in open_ones for task in runs.tasks(run) if task["state"] == "running"]
    for task in tasks:
        os.kill(task["pid"], signal.SIGUSR1)
    time.sleep(5)  # until Airflow has it in the logs
    return "\n".join(f"{task['dag_run_id']} {task['task_id']}:\n{runs.log(task, 100)}" for task in tasks)


def test_backfill_train_serve_drift_monitor_retrain(running: Stack) -> None:
    try:
        running.demo.play()
    except RunFailed:
        print(where_its_tasks_are(running))
        raise
    story = timeline.read(running.spec, STORY.drift)
    print("\n".join(story.lines()))
    story.check()
    ingested = running.demo.runs.of(running.demo.ids["ingest"])
    past = days(running.spec.first_day, STORY.history_end)
    assert sum(run["run_type"] == "backfill" for run in ingested) == len(past), "history came by backfill runs"
    assert {run["state"] for run in ingested} == {"success"}
    assert (story.old.number, story.new.number) == (1, 2)


def test_every_answered_prediction_is_in_the_log_and_was_monitored(running: Stack) -> None:
    live = days(STORY.history_end + timedelta(days=1), STORY.end)
    logged = predictions.between(running.spec.model, live[0].start, live[-1].end)
    expected = sum(len(business(STORY).world.active_on(day.start.date())) for day in live)
    assert len(logged) == expected
    assert {row.version for row in logged} == {1, 2}


def test_an_invalid_spec_costs_only_its_own_model_and_the_ui_says_why(running: Stack) -> None:
    api = running.demo.runs.api
    errors = api.get("/importErrors")["import_errors"]
    (error,) = [e for e in errors if e["filename"].endswith("spec_errors.py")]
    assert "five_mistakes" in error["stack_trace"]
    assert error["stack_trace"].count("model.yaml") >= 3, "every mistake is told"
    assert len(errors) == 1
    assert {dag["dag_id"] for dag in api.get("/dags")["dags"]} == {
        *running.demo.ids.values(),
        "churn__correct",
        "churn__rollback",
        "churn__rollout",
        "evergreen__housekeeping",
        "evergreen__serving",
        *(
            f"{model}__{loop}"
            for model in ("steady", "guests", "spot")
            for loop in ("ingest", "correct", "train", "monitor", "rollback", "rollout")
        ),
        "late",
        "soak",
        "long_soak",
        "stuck",
    }


def test_pages_are_linked_from_their_tasks_and_answer(running: Stack) -> None:
    api = running.demo.runs.api
    day = STORY.end.isoformat()
    for loop, task, link in (
        ("ingest", "validate", "Data Docs"),
        ("monitor", "decide", "Window"),
        ("monitor", "report", "Window"),
        ("monitor", "report", "Drift report"),
        ("monitor", "report", "Performance report"),
    ):
        links = api.get(f"/dags/{running.demo.ids[loop]}/dagRuns/live__{day}/taskInstances/{task}/links")["extra_links"]
        page = httpx.get(links[link], timeout=20)
        assert page.status_code == 200 and "<html" in page.text.lower(), f"{link}: {links}"
    retraining = next(
        run for run in running.demo.runs.of(running.demo.ids["train"]) if run["dag_run_id"].startswith("loss__")
    )
    links = api.get(f"/dags/{running.demo.ids['train']}/dagRuns/{retraining['dag_run_id']}/taskInstances/deploy/links")
    assert links["extra_links"]["MLflow run"].startswith(running.settings.mlflow_url)
    assert links["extra_links"]["Model server"].startswith(running.settings.server_url)


def test_a_missing_batch_fails_at_once_and_its_log_ends_with_the_next_step(running: Stack) -> None:
    missing = Interval.of_day(STORY.end + timedelta(days=3))
    run = running.demo.runs.trigger(running.demo.ids["ingest"], "missing", missing)
    with pytest.raises(RunFailed):
        running.demo.runs.wait(run, patience=120)
    tasks = {task["task_id"]: task for task in running.demo.runs.tasks(run)}
    assert tasks["extract"]["state"] == "failed" and tasks["extract"]["try_number"] == 1, (
        "a permanent error is not retried"
    )
    assert tasks["publish"]["state"] == "upstream_failed"
    lines = [line for line in running.demo.runs.log(tasks["extract"]).splitlines() if "::" not in line]
    assert "Next step: ask the upstream system for the file" in lines[-1]
    assert any(f"{missing.partition}.csv" in line for line in lines), "the log names the file"


def test_a_contract_that_is_broken_links_its_page_from_the_failed_task(running: Stack) -> None:
    runs, day = running.demo.runs, Interval.of_day(STORY.end + timedelta(days=4))
    running.demo.write(day)
    customers = Path(running.settings.landing) / "churn" / "customers" / f"{day.partition}.csv"
    customers.write_text(customers.read_text().splitlines()[0] + "\n")  # a snapshot of nobody
    run = runs.trigger(running.demo.ids["ingest"], "broken", day)
    with pytest.raises(RunFailed, match="validate") as failed:
        runs.wait(run, patience=120)
    assert "Next step: correct the batch upstream" in failed.value.found
    links = runs.api.get(f"/dags/{running.demo.ids['ingest']}/dagRuns/broken/taskInstances/validate/links")
    page = httpx.get(links["extra_links"]["Data Docs"], timeout=20)
    assert page.status_code == 200 and "broken" in page.text and day.partition in page.text


def test_a_wrong_password_is_told_with_the_setting(running: Stack) -> None:
    with pytest.raises(RequestRefused, match=r"401[\s\S]*EVERGREEN_AIRFLOW_PASSWORD"):
        AirflowApi(running.settings.airflow_url, "admin", "wrong").get("/dags")


def test_task_logs_read_like_a_report(running: Stack) -> None:
    """No library speaks in a task's log: what is there comes from Evergreen, or is Airflow's own report of the task."""
    root = running.settings.home / "logs" / "airflow"
    files = [path for path in Path(root).rglob("*.log") if "dag_id=churn" in str(path)]
    assert len(files) > 200
    lines = [json.loads(line) for path in files for line in path.read_text().splitlines()]
    speakers = {line.get("logger", "") for line in lines}
    strangers = {
        name
        for name in speakers
        if name.partition(".")[0] not in ("", "evergreen", "airflow", "task", "unusual_prefix")
    }
    said = {
        f"{line['logger']}: {line['event']}"[:300]
        for line in lines
        if line.get("logger") in {*strangers, "task.stderr", "task.stdout"}
    }
    assert not said, "\n".join(sorted(said)[:20])


def test_running_a_day_again_changes_nothing(running: Stack) -> None:
    from evergreen.lake import catalogue
    from evergreen.lake.schema import FEATURES, LABELS, RAW

    def published() -> dict[str, str]:
        return {
            f"{layer.layer}/{name}/{partition}": entry.content_hash
            for layer, names in (
                (RAW, running.spec.sources),
                (FEATURES, running.spec.features),
                (LABELS, [running.spec.label.name]),
            )
            for name in names
            for partition, entry in catalogue.published(layer.of(running.spec.model, name)).items()
        }

    before = published()
    again = Interval.of_day(STORY.history_end - timedelta(days=5))
    # As the UI's form sends it: with the logical date of now, which lies long after the model's last day of data.
    body = {
        "dag_run_id": "again",
        "logical_date": datetime.now(UTC).isoformat(),
        "conf": {"partition": again.partition},
    }
    run = running.demo.runs.api.post(f"/dags/{running.demo.ids['ingest']}/dagRuns", body)
    done = states(running, running.demo.runs.wait(run))
    assert (len(done), set(done.values())) == (7, {"success"}), "a run without tasks is green too"
    assert published() == before


def test_a_day_is_backfilled_again_from_the_command_line(running: Stack) -> None:
    day, dag_id = Interval.of_day(STORY.history_end - timedelta(days=5)), running.demo.ids["ingest"]
    command = [
        sys.executable,
        "-m",
        "evergreen",
        "airflow",
        "backfill",
        "create",
        "--dag-id",
        dag_id,
        "--from-date",
        day.partition,
        "--to-date",
        day.partition,
        "--reprocess-behavior",
        "completed",
    ]
    before, runs = datetime.now(UTC), running.demo.runs
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    (run,) = [each for each in runs.of(dag_id) if (each["data_interval_start"] or "").startswith(day.partition)]
    run = runs.wait(run)
    assert set(states(running, run).values()) == {"success"}
    assert run["note"] == f"{day.partition} ({day})", "the id that Airflow made has the day after"
    assert all(datetime.fromisoformat(task["start_date"]) > before for task in runs.tasks(run)), "it is run again"


def test_a_backfill_that_names_a_partition_is_refused_with_the_reason(running: Stack) -> None:
    day, dag_id, runs = Interval.of_day(running.spec.first_day), running.demo.ids["ingest"], running.demo.runs
    body = {
        "dag_id": dag_id,
        "from_date": day.start.isoformat(),
        "to_date": day.start.isoformat(),
        "reprocess_behavior": "completed",
        "dag_run_conf": {"partition": STORY.end.isoformat()},
    }
    while runs.api.call("POST", "/backfills", json=body, accept=(409,)) is None:
        time.sleep(0.5)  # Airflow has not yet seen that the backfill of the test before has ended
    (run,) = [each for each in runs.of(dag_id) if (each["data_interval_start"] or "").startswith(day.partition)]
    with pytest.raises(RunFailed, match="each of its runs to the same interval"):
        runs.wait(run)
    again = body | {"reprocess_behavior": "failed", "dag_run_conf": {}}  # as the message says
    while runs.api.call("POST", "/backfills", json=again, accept=(409,)) is None:
        time.sleep(0.5)
    (run,) = [each for each in runs.of(dag_id) if each["dag_run_id"] == run["dag_run_id"]]
    assert runs.wait(run)["note"] == f"{day.partition} ({day})"


def test_a_misspelt_key_of_a_conf_is_refused(running: Stack) -> None:
    runs = running.demo.runs
    with pytest.raises(RunFailed, match="write partition"):
        runs.wait(runs.trigger(running.demo.ids["ingest"], "misspelt", conf={"partiton": STORY.end.isoformat()}))


def test_a_training_done_before_makes_no_new_trial_and_no_new_version(running: Stack) -> None:
    trials, champion = finished_trials(), store.champion(running.spec.model)
    run = train(running, "the_first_one_again", STORY.history_end)
    assert finished_trials() == trials
    assert states(running, run)["register"] == "skipped"
    assert store.champion(running.spec.model) == champion, "a training of the past replaced a newer champion"


def test_rollback_by_its_dag_and_no_rerun_promotes_what_was_rolled_back_from(running: Stack) -> None:
    def served() -> int:
        number: int = httpx.get(f"{running.settings.server_url}/models/churn", timeout=10).json()["version"]
        return number

    runs = running.demo.runs
    request = {"version": served(), "reason": "a test"}
    first = runs.wait(runs.trigger("churn__rollback", "back", conf=request))
    assert (states(running, first), served()) == ({"rollback": "success"}, 1)
    trail = ledger.entries("churn")
    event = trail[-1].event
    assert isinstance(event, RolledBack)
    assert (event.version, event.actor, event.reason) == (1, "admin, run back", "a test")

    runs.wait(runs.trigger("churn__rollback", "back_again", conf=request))
    assert (served(), ledger.entries("churn")) == (1, trail), "a task that is cleared rolls back once"

    retraining = next(run for run in runs.of(running.demo.ids["train"]) if run["dag_run_id"].startswith("loss__"))
    conf = {name: value for name, value in retraining["conf"].items() if value is not None}
    run = runs.wait(runs.trigger(running.demo.ids["train"], "the_retraining_again", conf=conf))
    assert states(running, run)["deploy"] in ("skipped", "upstream_failed"), states(running, run)
    assert served() == 1

    with pytest.raises(RunFailed, match=r"found: +champion: version 1") as refused:
        runs.wait(runs.trigger("churn__rollback", "nothing", conf={"version": 1, "reason": "a test"}))
    assert "Next step: train a better version" in refused.value.found
    assert served() == 1


def test_a_scheduled_run_waits_for_a_batch_that_comes_late(running: Stack) -> None:
    runs = running.demo.runs
    runs.api.patch("/dags/late", {"is_paused": False})
    deadline = time.monotonic() + 120
    while not (late_runs := runs.of("late")) or states(running, late_runs[0])["extract"] != "up_for_reschedule":
        assert time.monotonic() < deadline, f"no scheduled run that waits: {late_runs}"
        time.sleep(1)
    (run,) = late_runs
    assert run["run_type"] == "scheduled"
    (running.settings.home / "late.csv").write_text("late")
    assert runs.result(runs.wait(run), "extract")["text"] == "late"
    (task,) = runs.tasks(run)
    assert task["try_number"] == 1, "to wait is no retry"
    assert "Waiting for" in runs.log(task)


def test_a_task_that_no_signal_reaches_ends_says_where_it_was_and_is_tried_again(running: Stack) -> None:
    runs, day = running.demo.runs, Interval.of_day(STORY.end)
    runs.wait_for_dags(["stuck"])
    run = runs.wait(runs.trigger("stuck", "once", day), patience=120)
    assert runs.result(run, "extract")["text"] == "came"
    (task,) = runs.tasks(run)
    assert task["try_number"] == 2
    assert "stuck.py" in (said := runs.log(task | {"try_number": 1})) and "in extract" in said


# The story before it has run hundreds of tasks of the same scheduler.
@pytest.mark.parametrize(
    ("dag_id", "queries", "trainings"), [("soak", 40, 4), pytest.param("long_soak", 490, 24, marks=pytest.mark.long)]
)
def test_a_soak_of_the_preloaded_scheduler_hangs_no_task(
    running: Stack, dag_id: str, queries: int, trainings: int
) -> None:
    runs = running.demo.runs
    runs.wait_for_dags([dag_id])
    run = runs.wait(runs.trigger(dag_id, "soak"), patience=1200)
    ended = runs.result(run, "totals")
    assert (ended["queries"], ended["trainings"]) == (queries, trainings)
    assert ended["worst"] > 0.6, "a network that learned nothing"
