"""One start of the whole stack for all tests that need a running Airflow:
real processes, on free ports, in a home of its own."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from evergreen.addresses import free_port
from evergreen.airflow_client.api import AirflowApi
from evergreen.exposure import UMASK
from evergreen.local import stack
from evergreen.settings import DATABASES, PROJECT, Settings, settings
from evergreen.spec.load import load_spec
from evergreen.spec.schema import ModelSpec
from evergreen_demo.churn import Story, business
from evergreen_demo.driver import Clock, Demo
from evergreen_simulator.delivery import World
from evergreen_simulator.landing import write_day
from tests.churn import declared, one_folder
from tests.components.monitor.conftest import WATCHED
from tests.components.train.conftest import SECTIONS, write_queries
from tests.listeners import Http, Listener
from tests.small_models import TINY

CUSTOMERS = 400
STORY = Story(
    seed=7,
    customers=CUSTOMERS,
    first=date(2026, 1, 1),
    history_end=date(2026, 1, 22),
    drift=date(2026, 1, 25),
    end=date(2026, 2, 15),
)


STEADY_DAYS = 5  # of a second model, whose days end with yesterday


@dataclass(frozen=True)
class Stack:
    """The running stack, and the driver of the demo's story on it."""

    settings: Settings
    spec: ModelSpec
    demo: Demo


def _smaller_churn(models: Path) -> None:
    """The churn model, alone with its data, for fewer customers and a shorter history, with real queries."""
    content = declared()
    # No query looks further back than the first rows that are learned from do:
    # while a look-back fills, its counts really drift.
    for view in ("activity", "payments_support"):
        content["features"][view]["look_back"] = "1w"
    content["split"] |= {"window": "2w", "evaluation": "3d", "minimum_rows": 1000}
    content["search"] |= {"trials": 3}
    content["gates"] |= {"minimum_rows": 1000, "minimum_positives": 15, "floor": {"roc_auc": 0.6}}
    # Parts of so few rows tell nothing, and an input alone may do as well as a model of them.
    content["gates"] |= {"slices": None, "fairness": None, "leaks": None}
    content["monitoring"] |= {"minimum_rows": CUSTOMERS // 2}
    content["families"] = {
        "logistic_regression": {},
        "gradient_boosting": {"max_iter": [20, 60]},
        "mlp": {"epochs": 5},
    }
    one_folder(models / "churn", **content)


def _steady(churn: Path, models: Path, landing: Path) -> None:
    """A model whose intervals go on until now, and its batches."""
    folder = shutil.copytree(churn, models / "steady")
    content = yaml.safe_load((folder / "model.yaml").read_text())
    first = datetime.now(UTC).date() - timedelta(days=STEADY_DAYS)
    schedule = content["schedule"] | {"catch_up": True, "late": {"ingest": "0h"}}
    content |= {"model": "steady", "first_day": first, "last_day": None, "schedule": schedule}
    for source in content["sources"].values():
        source["path"] = f"steady/{source['path']}"
    (folder / "model.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    for number in range(STEADY_DAYS + 1):  # of today too: a test may run past midnight
        write_day(World(STORY.seed, CUSTOMERS), first + timedelta(days=number), str(landing / "steady"))


def _spot(models: Path) -> None:
    """A model whose versions a person must allow; a test runs its loops."""
    folder = shutil.copytree(PROJECT / "tests" / "specs" / "valid" / "spot", models / "spot")
    content = yaml.safe_load((folder / "model.yaml").read_text())
    content["risk"] = {
        "tier": "high",
        "impact": "A bid <b>too high</b> is paid.",
        "approvers": ["anna"],
        "within": "1h",
    }
    content["last_day"] = date(2026, 1, 12)
    (folder / "model.yaml").write_text(yaml.safe_dump(content, sort_keys=False))


def _guests(models: Path) -> None:
    """A model whose versions and answers a test makes itself; nobody runs it by a schedule."""
    folder = models / "guests"
    write_queries(folder)
    monitoring = {"minimum_rows": 20, "cooldown": "5d", "while_waiting": "fall_back"}
    own = {"model": "guests", "monitoring": monitoring, "last_day": date(2026, 2, 10)}
    content = json.dumps({**TINY, **SECTIONS, **WATCHED, **own}, default=str)
    (folder / "model.yaml").write_text(yaml.safe_dump(json.loads(content), sort_keys=False))
    some = [{"type": "expect_table_row_count_to_be_between", "min_value": 1, "severity": "critical"}]
    (folder / "contracts").mkdir()
    for table in ("events", "activity"):
        (folder / "contracts" / f"{table}.yaml").write_text(yaml.safe_dump({"expectations": some}))


@pytest.fixture(scope="package")
def slack() -> Iterator[Listener]:
    """What the owners' Slack channel hears."""
    with Listener(Http) as server:
        yield server


@pytest.fixture(scope="package")  # the settings of its stack are not those of another folder's tests
def running(postgres_url: str, slack: Listener, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Started once; stopped with all that it started, also after a failed start."""
    home, prefix = tmp_path_factory.mktemp("stack"), f"t{os.getpid()}_e2e_"
    address = postgres_url.rpartition("@")[2]
    models = home / "models"
    _smaller_churn(models)
    _steady(models / "churn", models, home / "home" / "landing")
    _guests(models)
    _spot(models)
    shutil.copytree(PROJECT / "tests" / "specs" / "invalid" / "five_mistakes", models / "five_mistakes")
    bundles = [
        {
            "name": name,
            "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
            "kwargs": {"path": str(path)},
        }
        for name, path in (("dags-folder", PROJECT / "dags"), ("soak", PROJECT / "tests" / "e2e" / "dags"))
    ]
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AIRFLOW", "MLFLOW", "SERVER", "REPORTS"):
            patch.setenv(f"EVERGREEN_{name}_URL", f"http://127.0.0.1:{free_port()}")
        # A server of the user's own; `make demo` starts the embedded one.
        patch.setenv("EVERGREEN_DATABASE", postgres_url)
        patch.setenv("EVERGREEN_DATABASE_PREFIX", prefix)
        for name, variable in DATABASES.items():  # and a login for each database, as it makes them on its own
            patch.setenv(variable, f"postgresql://{prefix}{name}:{secrets.token_hex(16)}@{address}/{prefix}{name}")
        patch.setenv("EVERGREEN_HOME", str(home / "home"))
        patch.setenv("EVERGREEN_MODELS", str(models))
        patch.setenv("EVERGREEN_ALERTS", "log,slack")
        patch.setenv("EVERGREEN_AIRFLOW_USERS", "anna,berta")
        patch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps(bundles))
        settings.cache_clear()
        umask = os.umask(UMASK)  # as `evergreen up` does
        try:
            here = stack.up(replay=True)
            host, port = slack.server_address[:2]
            webhook = {"conn_type": "slackwebhook", "password": f"http://{host}:{port}/services/T0/B0/X"}
            AirflowApi.of(here).patch("/connections/slack_default", {"connection_id": "slack_default"} | webhook)
            spec = load_spec(models / "churn")
            demo = Demo(spec, business(STORY), STORY.span, here, Clock())
            yield Stack(here, spec, demo)
        finally:
            stack.down()
            assert stack.reset()[0].startswith(f"the databases t{os.getpid()}_e2e_airflow"), (
                "those are not ours to delete"
            )
            os.umask(umask)
            settings.cache_clear()
