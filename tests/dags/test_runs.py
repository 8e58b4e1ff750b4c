"""Every DAG run by `dag.test()`: the real wiring, stages, database, MLflow and model server;
only the scheduler is left out.

The runs share one history and take place once a session, in the process of `runs.py`;
the tests look at what it reports.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import psycopg
import pytest
import yaml

from evergreen.addresses import free_port
from evergreen.local import environment, postgres
from evergreen.local.processes import Processes, Service, answers
from evergreen.settings import PROJECT, settings
from tests import meters
from tests.churn import declared, one_folder
from tests.listeners import Http, Listener
from tests.parcels import A_DAY, Day

from . import runs

pytestmark = pytest.mark.timeout(900)  # of the first test, for which a hundred tasks run by dag.test(), one by one

# The shipped model on five days of 250 customers: a shorter horizon and window, and bounds that so few rows can meet.
SMALL: dict[str, Any] = {
    "label": {"horizon": "1d"},
    "split": {"window": "10d", "evaluation": "1d", "folds": 2, "minimum_rows": 100},
    "search": {"trials": 2},
    "gates": {
        "minimum_rows": 100,
        "minimum_positives": 5,
        "floor": {"roc_auc": 0.55},
        "better_than_baseline": 0.01,
        "slices": None,  # parts of so few rows tell nothing
        "fairness": None,
        "leaks": None,  # an input alone may do as well as a model of so few
    },
    "monitoring": {"minimum_rows": 50, "report_rows": 500},
}
FAMILIES: dict[str, Any] = {"logistic_regression": {}, "gradient_boosting": {"max_iter": [10, 30]}}
INGEST = [
    "extract",
    "validate",
    "publish",
    "features",
    "validate_features",
    "publish_features",
    "materialize",
]
Report = dict[str, Any]


def small_model(folder: Path) -> None:
    content = declared()
    changes = {section: content[section] | values for section, values in SMALL.items()}
    one_folder(folder, families=FAMILIES, **changes)


ROADS_SQL = """SELECT depot_id, measured_at, congestion FROM roads
WHERE measured_at >= %(start)s AND measured_at < %(end)s ORDER BY measured_at, depot_id"""


def _parcels(home: Path, database: str) -> None:
    """Two models by folder: one of files a day, and one whose parcels stand in a single history file
    and whose roads in a database."""
    example = PROJECT / "tests" / "specs" / "valid" / "parcels"
    declared = yaml.safe_load((example / "model.yaml").read_text())
    # Names of their own: MLflow is shared with other tests, and the same training under the same name is found there.
    folder = shutil.copytree(example, home / "models" / "parcels_daily")
    (folder / "model.yaml").write_text(yaml.safe_dump(declared | {"model": "parcels_daily"}, sort_keys=False))
    folder = shutil.copytree(example, home / "models" / "parcels_history")
    declared["model"] = "parcels_history"
    declared["sources"]["parcels"] |= {"path": "parcels_history.csv.gz", "history": True}
    roads = declared["sources"]["roads"]
    declared["sources"]["roads"] = {"connection": "roads_db"} | {
        name: roads[name] for name in ("event_time", "keys", "columns")
    }
    (folder / "sources").mkdir()
    (folder / "sources" / "roads.sql").write_text(ROADS_SQL)
    declared |= {"families": {"ridge": {}}, "search": declared["search"] | {"trials": 1}}
    (folder / "model.yaml").write_text(yaml.safe_dump(declared, sort_keys=False))
    days = [Day(runs.FIRST + timedelta(days=number)) for number in range(runs.FOLDER_DAYS + 1)]
    for day in days:
        day.write(home / "landing")
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("create table roads (depot_id int, measured_at timestamptz, congestion float8)")
        rows = [tuple(row) for day in days for row in day.roads().itertuples(index=False)]
        connection.cursor().executemany("insert into roads values (%s, %s, %s)", rows)
    history = pd.concat([day.parcels() for day in days]).sample(frac=1.0, random_state=1)  # in no order
    history.to_csv(home / "landing" / "parcels_history.csv.gz", index=False)


def _meters(home: Path) -> None:
    """A model of hours, under a name of its own as above."""
    folder = shutil.copytree(PROJECT / "tests" / "specs" / "valid" / "meters", home / "models" / "meters_hourly")
    file = folder / "model.yaml"
    file.write_text(file.read_text().replace("model: meters", "model: meters_hourly"))
    for hour in meters.HOURS:
        meters.write(hour, home / "landing")


@pytest.fixture(scope="session")
def slack() -> Iterator[Listener]:
    """What the owner's Slack channel hears."""
    with Listener(Http) as server:
        yield server


class Collector(Http):
    """A collector of lineage that has bad moments: it refuses what is told of one task, and once it does not answer."""

    def answer(self, told: str) -> bytes:
        if sum('"churn__ingest.materialize"' in each for each in self.server.heard) == 1:
            time.sleep(4)
        if '"churn__ingest.validate"' in told:
            return b"HTTP/1.1 500 Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        return super().answer(told)


@pytest.fixture(scope="session")
def collector() -> Iterator[Listener]:
    """What a collector of lineage hears."""
    with Listener(Collector) as server:
        yield server


@pytest.fixture(scope="session")
def stack(
    postgres_url: str,
    mlflow_url: str,
    services: Processes,
    slack: Listener,
    collector: Listener,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, str]]:
    """The environment of the stack's processes, with a migrated Airflow database and a running model server."""
    home, prefix = tmp_path_factory.mktemp("runs"), f"t{os.getpid()}_runs_"
    small_model(home / "models" / "churn")
    port = free_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "HOME": str(home),
            "MODELS": str(home / "models"),
            "DATABASE": postgres_url,
            "DATABASE_PREFIX": prefix,
            "MLFLOW_URL": mlflow_url,
            "SERVER_URL": f"http://127.0.0.1:{port}",
            "REPLAY": "1",
        }.items():
            patch.setenv(f"EVERGREEN_{name}", value)
        settings.cache_clear()
        postgres.create_databases(
            postgres_url, [f"{prefix}{name}" for name in ("airflow", "evergreen", "optuna", "feast")]
        )
        environment.remember(home, {})
        variables = environment.of_service("airflow", settings())
    settings.cache_clear()
    variables["PYTHONPATH"] += os.pathsep + str(PROJECT)
    host, told_at = slack.server_address[:2]
    webhook = {"conn_type": "slackwebhook", "password": f"http://{host}:{told_at}/services/T0/B0/X"}
    variables |= {"EVERGREEN_ALERTS": "log,slack", "AIRFLOW_CONN_SLACK_DEFAULT": json.dumps(webhook)}
    host, told_at = collector.server_address[:2]
    variables["EVERGREEN_OPENLINEAGE_URL"] = f"http://{host}:{told_at}"
    url = f"http://127.0.0.1:{port}/healthz"
    command = [sys.executable, "-m", "evergreen.serve", "--port", str(port)]
    server = Service("server-of-runs", command, variables, lambda: answers(url), 120)
    services.start(server)
    _airflow(variables, "db", "migrate")
    services.wait(server)
    yield variables
    services.stop("server-of-runs")


def _airflow(variables: dict[str, str], *command: str) -> None:
    """One of Airflow's commands."""
    whole = [sys.executable, "-m", "airflow", *command]
    done = subprocess.run(whole, env=variables, cwd=PROJECT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.fixture(scope="session")
def folders(stack: dict[str, str], postgres_url: str) -> dict[str, str]:
    """The same with three more models. They are not there before: each run by `dag.test()` parses and stores the DAGs
    of all models."""
    home, roads = Path(stack["EVERGREEN_HOME"]), f"t{os.getpid()}_runs_roads"
    postgres.create_databases(postgres_url, [roads])
    _parcels(home, f"{postgres_url}/{roads}")
    _meters(home)
    # A connection as one makes it in the UI: in Airflow's own database.
    _airflow(stack, "connections", "add", "roads_db", "--conn-uri", f"{postgres_url}/{roads}")
    return stack


@pytest.fixture(scope="session")
def report(stack: dict[str, str]) -> Report:
    file = Path(stack["EVERGREEN_HOME"]) / "report.json"
    done = subprocess.run(
        [sys.executable, "-m", "tests.dags.runs", str(file)],
        env=stack,
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-6000:]
    content: Report = json.loads(file.read_text())
    return content


def log_of(run: Report, task: str) -> str:
    return "\n".join(run["log"].get(task, []))


def test_every_day_is_ingested_by_every_task(report: Report) -> None:
    assert len(report["ingest"]) == runs.DAYS
    for run in report["ingest"]:
        assert run["state"] == "success", run["tasks"]
        assert run["tasks"] == dict.fromkeys(INGEST, "success")


def test_a_run_works_on_the_day_of_its_interval_or_on_the_one_it_names(report: Report) -> None:
    days = [f"2026-01-0{number + 1}" for number in range(runs.DAYS)]
    assert [run["results"]["extract"]["partition"] for run in report["ingest"]] == days
    assert [run["assets"]["churn_features"]["partition"] for run in report["ingest"]] == days
    assert all(run["assets"]["churn_features"]["rows"] > 0 for run in report["ingest"]), (
        "what was published, in numbers"
    )
    first = report["ingest"][0]
    assert first["interval"] == ["2026-01-01 00:00:00+00:00", "2026-01-02 00:00:00+00:00"]


def test_results_travel_from_task_to_task(report: Report) -> None:
    for run in report["ingest"]:
        for name, source in run["results"]["extract"]["sources"].items():
            published = run["results"]["publish"]["sources"][name]
            assert source["staged"]["rows"] == published["rows"] + published["quarantined"], name
    last = report["ingest"][-1]["results"]
    assert all(list(partitions) == ["2026-01-05"] for partitions in last["publish_features"]["views"].values())
    assert all(list(partitions) == ["2026-01-05"] for partitions in last["materialize"]["views"].values())


def heard(collector: Listener, job: str, number: int = 0) -> dict[str, Any]:
    """What a collector heard of a task that ended well, of its run of that number: its inputs and outputs, by name."""
    events = [json.loads(each) for each in collector.heard]
    ended = [each for each in events if each["job"]["name"] == job and each["eventType"] == "COMPLETE"]
    each = ended[number]
    return {side: {dataset["name"]: dataset for dataset in each[side]} for side in ("inputs", "outputs")}


def test_a_collector_hears_what_each_task_read_and_wrote(
    report: Report, collector: Listener, stack: dict[str, str]
) -> None:
    first = report["ingest"][0]["results"]
    published = heard(collector, "churn__ingest.publish")
    for name, source in first["publish"]["sources"].items():
        written = published["outputs"][f"churn/raw/{name}"]
        assert written["namespace"] == f"file://{stack['EVERGREEN_HOME']}/lake"
        assert written["outputFacets"]["outputStatistics"]["rowCount"] == source["rows"]
        assert written["facets"]["version"]["datasetVersion"] == str(source["version"])
        assert written["facets"]["evergreen_content"]["partitions"] == {"2026-01-01": source["content_hash"]}
        (file,) = first["extract"]["sources"][name]["files"]
        assert published["inputs"][file["name"]]["facets"]["version"]["datasetVersion"] == file["sha256"]
        columns = [field["name"] for field in written["facets"]["schema"]["fields"]]
        lineage = written["facets"]["columnLineage"]["fields"]
        assert columns and all(lineage[column]["inputFields"][0]["field"] == column for column in columns)
    views = heard(collector, "churn__ingest.publish_features")["outputs"]
    for view, partitions in first["publish_features"]["views"].items():
        assert views[f"churn/features/{view}"]["outputFacets"]["outputStatistics"]["rowCount"] == sum(
            written["rows"] for written in partitions.values()
        )
    assert heard(collector, "churn__ingest.materialize")["outputs"], "the collector did not answer once, and went on"

    build = report["train"]["results"]["build"]
    built = heard(collector, "churn__train.build")
    versions = {name: dataset["facets"]["version"]["datasetVersion"] for name, dataset in built["inputs"].items()}
    assert versions == {f"churn/{name}": str(version) for name, version in build["versions"].items()}
    (training_set,) = built["outputs"].values()
    assert training_set["facets"]["evergreen_content"]["contentHash"] == build["content_hash"]
    assert heard(collector, "churn__train.deploy")["outputs"]["churn"]["facets"]["version"]["datasetVersion"] == "1"
    decided = heard(collector, "churn__monitor.decide")
    assert decided["outputs"]["churn/decisions"]["facets"]["version"]["datasetVersion"]
    predictions = report["monitor"]["results"]["collect"]
    assert (
        heard(collector, "churn__monitor.collect")["outputs"]["churn/predictions/live"]["outputFacets"][
            "outputStatistics"
        ]["rowCount"]
        == predictions["rows"]
    )


def test_a_collector_hears_of_no_customer(report: Report, collector: Listener, stack: dict[str, str]) -> None:
    file = Path(stack["EVERGREEN_HOME"]) / "landing" / "churn" / "customers" / "2026-01-01.csv"
    customers = [line.split(",")[0] for line in file.read_text().splitlines()[1:]]
    everything = "".join(collector.heard)
    assert len(customers) > 100 and len(everything) > 10_000
    assert not [customer for customer in customers if f'"{customer}"' in everything]


def test_a_day_that_is_run_again_writes_nothing_new(report: Report) -> None:
    again = report["again"]
    assert again["state"] == "success"
    assert not any(again["results"]["publish_features"]["views"].values())
    assert not any(again["results"]["materialize"]["views"].values())
    first = report["ingest"][0]["results"]["publish"]["sources"]
    assert {n: s["content_hash"] for n, s in again["results"]["publish"]["sources"].items()} == {
        n: s["content_hash"] for n, s in first.items()
    }


def test_a_task_shows_its_pages(report: Report) -> None:
    links = report["ingest"][0]["links"]
    assert any(
        str(value).endswith("/churn/data_docs/sources/2026-01-01.html") for value in links["validate"].values()
    ), links
    assert any("/experiments/" in str(value) for value in report["train"]["links"]["register"].values())
    assert any("/experiments/" in str(value) for value in report["train_again"]["links"]["register"].values()), (
        "a task that is skipped shows the pages of what it was given"
    )


def test_a_missing_batch_fails_its_task_at_once_and_the_log_ends_with_the_next_step(report: Report) -> None:
    run = report["missing"]
    assert run["state"] == "failed"
    assert run["tasks"] == {"extract": "failed"} | dict.fromkeys(INGEST[1:], "upstream_failed")
    log = run["log"]["extract"]
    assert log[-1] == (
        "Next step: ask the upstream system for the file, then clear this task;"
        " a day without rows is a file with only its header"
    ), log[-5:]
    assert (
        "retention <retention@example.com> is told: Failed while reading the batch of churn/customers of 2026-01-07"
        in log_of(run, "extract")
    )


def test_training_ends_with_a_version_that_serves(report: Report, stack: dict[str, str]) -> None:
    run = report["train"]
    assert run["state"] == "success", run["tasks"]
    assert run["tasks"] == {
        "labels": "success",
        "build": "success",
        "validate_training": "success",
        "tune": ["success", "success"],
        "evaluate": "success",
        "gates": "success",
        "approve": "success",
        "refit": "success",
        "register": "success",
        "card": "success",
        "probe": "success",
        "deploy": "success",
        "describe": "success",
    }
    assert run["results"]["gates"]["passed"] is True, run["results"]["gates"]["reason"]
    assert (run["results"]["deploy"]["version"], run["results"]["deploy"]["replaced"]) == (1, None)
    extra = run["assets"]["churn_champion"]
    assert (extra["version"], extra["metric"]) == (1, "roc_auc") and 0.5 < extra["score"] <= 1, extra
    serving = httpx.get(f"{stack['EVERGREEN_SERVER_URL']}/models/churn", timeout=10).json()
    assert serving["version"] == 1, serving
    assert report["traffic"]["versions"] == {"1": report["traffic"]["answered"]}


def test_the_same_training_again_finds_its_version_and_promotes_nothing(report: Report) -> None:
    first, again = report["train"], report["train_again"]
    assert again["state"] == "success"
    assert again["results"]["build"]["key"] == first["results"]["build"]["key"]
    assert again["tasks"]["gates"] == "success", "evidence that says 'not better' is a good run"
    assert [again["tasks"][task] for task in ("register", "probe", "deploy")] == ["skipped"] * 3
    assert "the candidate is the champion already" in again["results"]["gates"]["reason"]


def test_a_monitored_day_without_drift_triggers_nothing(report: Report) -> None:
    run = report["monitor"]
    assert run["state"] == "success", run["tasks"]
    assert run["results"]["collect"]["rows"] == report["traffic"]["answered"] > 100
    assert run["results"]["collect"]["version"] == 1
    assert run["results"]["decide"]["action"] in ("none", "alert"), run["results"]["decide"]
    assert run["tasks"]["alert"] == ("skipped" if run["results"]["decide"]["action"] == "none" else "success")
    assert [run["tasks"][task] for task in ("collect", "labels", "quality", "drift", "performance", "decide")] == [
        "success"
    ] * 6
    assert [run["tasks"][task] for task in ("retrain_wanted", "retrain")] == ["skipped"] * 2
    decided = run["results"]["decide"]
    assert run["assets"]["churn_decisions"] == {
        "partition": "2026-01-06",
        "action": decided["action"],
        "decision_id": decided["decision_id"],
        "triggers": False,
    }


def test_a_silent_day_alerts_and_the_owner_is_told_of_failures_warnings_and_alerts(
    report: Report, slack: Listener
) -> None:
    run = report["silent"]
    assert run["state"] == "success", run["tasks"]
    assert run["results"]["decide"]["action"] == "alert"
    assert (run["tasks"]["alert"], run["tasks"]["retrain"]) == ("success", "skipped")
    assert report["warned"]["state"] == "success", report["warned"]["tasks"]
    heard = [said for said in slack.heard if "churn__correct" not in said and "churn__rollout" not in said]
    (failed,) = [said for said in heard if "failed" in said]
    assert "churn__ingest extract failed" in failed and "ask the upstream system for the file" in failed
    warned = [said for said in heard if "churn__ingest validate warns" in said]
    assert "distinct_values_to_be_in_set(plan)" in warned[-1] and not any("set(plan)" in said for said in warned[:-1])
    assert "churn__monitor alert warns" in heard[-1]
    assert "no predictions, although a champion serves" in heard[-1]


def test_a_correction_is_a_dry_run_unless_somebody_says_otherwise_and_says_what_it_changes(report: Report) -> None:
    dry, unexplained, correct, again = (report[name] for name in ("dry", "unexplained", "correct", "correct_again"))
    after = ["begin", *INGEST, "relabel"]
    assert dry["state"] == "success"
    assert dry["tasks"] == {"plan": "success"} | dict.fromkeys(after, "skipped")
    assert unexplained["tasks"]["plan"] == "failed"
    assert unexplained["log"]["plan"][-1] == "Next step: trigger the run again with `reason`, or as a dry run"
    assert correct["tasks"] == dict.fromkeys(["plan", *after], "success")
    assert again["tasks"] == dry["tasks"], "nothing is left to correct"
    assert correct["results"]["plan"] == dry["results"]["plan"]
    assert "churn of 2026-01-03: nothing to change" in log_of(again, "plan")
    for run in (dry, correct):
        assert "churn of 2026-01-03:" in run["log"]["plan"]
        assert any(text.startswith("  features activity: 3 changed") for text in run["log"]["plan"]), run["log"]["plan"]


def test_a_correction_names_the_versions_that_learned_from_the_old_rows_and_their_days(report: Report) -> None:
    before, now = report["training_sets"]["before"], report["training_sets"]["now"]
    differing = [partition for partition in now if now[partition] != before.get(partition)]
    assert differing and report["dry"]["results"]["plan"]["versions"] == {"churn": {"1": sorted(differing)}}
    told = f"version 1 of churn was trained on rows that change: the same training would differ by {differing[0]}"
    assert told in log_of(report["dry"], "plan")


@pytest.mark.long
@pytest.mark.timeout(900)  # forty-odd tasks by dag.test(), on a machine that may be busy
@pytest.mark.parametrize(("model", "families"), [("parcels_daily", 3), ("parcels_history", 1)])
def test_a_model_of_which_there_is_a_folder_and_nothing_else_runs_all_its_loops(
    folders: dict[str, str], model: str, families: int
) -> None:
    """Its DAGs appear, ingest, train and monitor run, and the server answers for it, without Python of its own."""
    assert not list((Path(folders["EVERGREEN_MODELS"]) / model).rglob("*.py"))
    file = Path(folders["EVERGREEN_HOME"]) / f"{model}.json"
    command = [sys.executable, "-m", "tests.dags.runs", str(file), model]
    done = subprocess.run(command, env=folders, cwd=PROJECT, capture_output=True, text=True, timeout=800)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-6000:]
    outcome: Report = json.loads(file.read_text())
    for run in outcome["ingest"]:
        assert set(run["tasks"].values()) == {"success"}, run["tasks"]
        assert run["results"]["publish"]["sources"]["parcels"] | {"version": 0, "content_hash": ""} == {
            "rows": A_DAY,
            "quarantined": 0,
            "version": 0,
            "content_hash": "",
        }
    train = outcome["train"]
    assert train["tasks"]["tune"] in ("success", ["success"] * families) and train["tasks"]["deploy"] == "success", (
        train["tasks"]
    )
    assert train["results"]["gates"]["scores"]["rmse"] < 2.0
    assert outcome["traffic"] == {"answered": A_DAY, "unknown": 0, "versions": {"1": A_DAY}}
    assert outcome["monitor"]["results"]["collect"]["rows"] == A_DAY
    assert outcome["monitor"]["results"]["decide"]["action"] in ("none", "alert")
    serving = httpx.get(f"{folders['EVERGREEN_SERVER_URL']}/models/{model}", timeout=10).json()
    assert (serving["version"], serving["role"]) == (1, "champion")
    origin = outcome["ingest"][0]["results"]["extract"]["sources"]["roads"]["origin"]
    assert (origin == "roads_db by sources/roads.sql") == (model == "parcels_history"), origin


@pytest.mark.long
@pytest.mark.timeout(1500)  # ninety tasks by dag.test(), on a machine that may be busy
def test_a_model_of_hours_runs_all_its_loops_in_the_night_in_which_the_clock_is_put_back(
    folders: dict[str, str],
) -> None:
    file = Path(folders["EVERGREEN_HOME"]) / "meters.json"
    command = [sys.executable, "-m", "tests.dags.runs", str(file), "meters_hourly"]
    done = subprocess.run(command, env=folders, cwd=PROJECT, capture_output=True, text=True, timeout=1400)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-6000:]
    outcome: Report = json.loads(file.read_text())
    worked_on = [run["results"]["extract"]["partition"] for run in outcome["ingest"]]
    assert worked_on == [hour.partition for hour in meters.HOURS[: meters.TRAINED + 2]]
    for run, hour in zip(outcome["ingest"], meters.HOURS, strict=False):
        assert set(run["tasks"].values()) == {"success"}, run["tasks"]
        assert run["interval"] == [str(hour.start), str(hour.end)]
        assert run["results"]["publish"]["sources"]["readings"]["rows"] == 2 * meters.METERS
        assert f"meters_hourly of {hour.partition}: extract, as of {hour.end.isoformat()}" in log_of(run, "extract")
    train = outcome["train"]
    assert train["results"]["gates"]["passed"] and train["tasks"]["deploy"] == "success", train["tasks"]
    assert outcome["answered"] == 2 * meters.METERS
    monitor = outcome["monitor"]
    assert set(monitor["tasks"].values()) <= {"success", "skipped"}, monitor["tasks"]
    assert monitor["results"]["performance"]["rows"] == meters.METERS, "of the hour whose outcome is known by now"


def test_a_look_at_rollouts_ends_green_at_its_first_task_while_none_is_open(report: Report) -> None:
    run = report["rollout"]
    assert run["state"] == "success"
    assert run["tasks"] == {"collect": "skipped", "compare": "skipped", "move": "skipped"}
    assert run["assets"] == {}, "nothing serves otherwise"


def test_an_act_that_names_no_rollout_is_refused(report: Report) -> None:
    run = report["unnamed"]
    assert run["tasks"]["collect"] == "failed" and run["tasks"]["move"] == "upstream_failed"
    assert "Next step: run it again with rollout: " in log_of(run, "collect")
