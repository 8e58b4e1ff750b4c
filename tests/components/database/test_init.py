"""deploy/init.py on a real Postgres: what an earlier release stored there is brought to this one, once."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from typing import Any

import psycopg
import pytest

from evergreen.database.migrations import MIGRATIONS
from evergreen.settings import DATABASES, PROJECT, Settings
from tests.components.database.conftest import STORED, restore

PASSWORD = "0123456789abcdef01234567"


def environment(home: Settings) -> dict[str, str]:
    """What compose gives to `init`, on this machine's folders."""
    return os.environ | {
        "EVERGREEN_MODELS": str(PROJECT / "tests" / "specs" / "valid"),
        "EVERGREEN_AIRFLOW_PASSWORD": PASSWORD,
        "MLFLOW_TRACKING_PASSWORD": PASSWORD,
        "AIRFLOW_HOME": str(home.home / "airflow"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": home.database_url("airflow", "postgresql+psycopg2"),
    }


def start(home: Settings, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PROJECT / "deploy" / "init.py")]
    return subprocess.run(command, env=environment(home) | more, capture_output=True, text=True)


def databases(home: Settings) -> set[str]:
    """Which of this home's databases are there."""
    prefix = home.database_prefix
    with psycopg.connect(home.database_url("evergreen")) as connection:
        names = connection.execute("select datname from pg_database where starts_with(datname, %s)", [prefix])
        return {name.removeprefix(prefix) for (name,) in names}


def rows(home: Settings, database: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(home.database_url(database)) as connection:
        return connection.execute(query.encode()).fetchall()


def stored(home: Settings) -> dict[str, list[tuple[Any, ...]]]:
    """What a second start may not change."""
    return {
        "migrations": rows(home, "evergreen", "select number, name, at from migrations order by number"),
        "versions": rows(home, "evergreen", "select model, number from versions order by 1, 2"),
        "ledger": rows(home, "evergreen", "select * from ledger order by number"),
        "feast": rows(home, "feast", "select feature_view_name, last_updated_timestamp from feature_views order by 1"),
        "pools": rows(home, "airflow", "select pool, slots from slot_pool order by 1"),
    }


def test_a_weak_secret_stops_it_before_it_makes_anything(home: Settings) -> None:
    done = start(home, MLFLOW_TRACKING_PASSWORD="secret")
    assert done.returncode != 0 and "MLFLOW_TRACKING_PASSWORD is a default or too weak" in done.stderr
    assert "airflow" not in databases(home) and not home.home.exists()


@pytest.mark.long
def test_the_database_of_an_earlier_release_becomes_this_ones_and_a_second_start_changes_nothing(
    home: Settings,
) -> None:
    restore(home, "evergreen", STORED / "evergreen_0.1.0.sql")
    restore(home, "feast", STORED / "feast_0.1.0.sql")
    first = start(home)
    assert first.returncode == 0, first.stderr
    assert databases(home) == set(DATABASES), "those that were missing are made"
    migrated = stored(home)
    assert [number for number, *_ in migrated["migrations"]] == [migration.number for migration in MIGRATIONS]
    assert migrated["versions"] == [("parcels", 1), ("parcels", 2)], "what that release stored is there"
    assert {("evergreen_ingest", 6), ("evergreen_training", 2), ("evergreen_rollback", 1)} <= set(migrated["pools"])
    login = home.home / "airflow" / "passwords.json"
    assert json.loads(login.read_text()) == {"admin": PASSWORD} and stat.S_IMODE(login.stat().st_mode) == 0o600

    second = start(home)
    assert second.returncode == 0, second.stderr
    assert "parcels: up to date" in second.stdout and "applied" not in second.stdout
    assert stored(home) == migrated
