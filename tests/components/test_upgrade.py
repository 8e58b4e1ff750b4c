"""A home that an earlier release made, its stack still running:
taken over by `evergreen up`, with its data and its password."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from evergreen.addresses import free_port
from evergreen.exposure import UMASK
from evergreen.local import postgres, stack
from evergreen.local.processes import MARK
from evergreen.settings import DATABASES, Settings, settings

PASSWORD = "0123456789abcdef0123456789abcdef"
BEFORE = ("airflow", "mlflow", "optuna", "feast", "evergreen")  # the databases of an earlier release
URLS = ("AIRFLOW", "MLFLOW", "SERVER", "REPORTS")


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where nothing is yet; nothing of it is left."""
    with tempfile.TemporaryDirectory(prefix="evergreen-upgrade-") as folder:
        Path(folder).chmod(0o711)  # Postgres' user passes
        monkeypatch.setenv("EVERGREEN_HOME", str(Path(folder) / "home"))
        for name in (
            "AIRFLOW_PASSWORD",
            "DATABASE",
            "POSTGRES_PORT",
            *(f"{name}_URL" for name in URLS),
        ):
            monkeypatch.delenv(f"EVERGREEN_{name}", raising=False)
        settings.cache_clear()
        mask = os.umask(0o022)
        yield Path(folder) / "home"
        os.umask(mask)
        stack.down(lambda _: None)
        shutil.rmtree(postgres.refuge_folder(Path(folder) / "home"), ignore_errors=True)
        settings.cache_clear()


def started(
    home: Path, name: str, command: Sequence[str], environment: dict[str, str], **options: Any
) -> psutil.Process:
    """A process as that release started and recorded it: without a mark, and without the signal that ends it."""
    with (home / "logs" / f"{name}.log").open("ab") as log:
        child = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            **options,
        )
    process = psutil.Process(child.pid)
    (home / "run" / f"{name}.json").write_text(json.dumps({"pid": child.pid, "created": process.create_time()}))
    return process


def made_before(home: Path) -> tuple[psutil.Process, psutil.Process]:
    """The home as that release left it, with its Postgres and its reports running."""
    for folder in ("", "airflow", "lake", "landing", "logs", "mlflow", "reports", "run"):
        (home / folder).mkdir()
        (home / folder).chmod(0o755)
    (home / "lake" / "rows.parquet").touch(mode=0o644)
    (home / "airflow" / "passwords.json").write_text('{"admin": "admin"}')
    ports = {name: free_port() for name in ("POSTGRES", *URLS)}
    (home / "environment").touch(mode=0o600)
    (home / "environment").write_text(
        "# Written by `evergreen up`. The environment of a process wins over this file.\n"
        "AIRFLOW__API_AUTH__JWT_SECRET=a\nAIRFLOW__API__SECRET_KEY=b\nAIRFLOW__CORE__FERNET_KEY=c\n"
        "EVERGREEN_BIND=127.0.0.1\nEVERGREEN_DATABASE_PREFIX=\nEVERGREEN_REPLAY=0\nEVERGREEN_SERVER_TOKEN=its-token\n"
        f"EVERGREEN_POSTGRES_PASSWORD={PASSWORD}\nEVERGREEN_POSTGRES_PORT={ports['POSTGRES']}\n"
        + "".join(f"EVERGREEN_{name}_URL=http://127.0.0.1:{ports[name]}\n" for name in URLS)
    )
    cluster = postgres.cluster(home, ports["POSTGRES"], PASSWORD)
    postgres.prepare(cluster)
    server = started(
        home,
        "postgres",
        cluster.command(),
        {},
        **({"cwd": "/"} if cluster.user is not None else {}),
        **postgres.demoted(cluster.user),
    )
    while not postgres.answers(cluster.url):
        time.sleep(0.05)
    postgres.create_databases(cluster.url, list(BEFORE))
    for name in BEFORE:
        with psycopg.connect(f"{cluster.url}/{name}") as connection:
            connection.execute("create table runs (id serial primary key, said text)")
            connection.execute("insert into runs (said) values ('of before')")
    command = [
        sys.executable,
        "-m",
        "http.server",
        str(ports["REPORTS"]),
        "--bind",
        "127.0.0.1",
        "--directory",
        str(home / "reports"),
    ]
    return server, started(home, "reports", command, {name: os.environ[name] for name in os.environ if name != MARK})


def rows(here: Settings) -> set[tuple[str, str, str]]:
    """Who owns `runs`, and what it says, in each database, asked with the database's own login."""
    entries: set[tuple[str, str, str]] = set()
    for name in BEFORE:
        with psycopg.connect(here.database_url(name)) as connection:
            connection.execute("insert into runs (said) values ('more'); delete from runs where said = 'more'")
            owners = connection.execute(
                "select current_user, tableowner, said from pg_tables, runs where tablename = 'runs'"
            ).fetchall()
            entries.update((owner, table, said) for owner, table, said in owners)
    return entries


def open_to_others(home: Path) -> list[Path]:
    kept = {home / "postgres"}  # Postgres closes its own
    return [
        path
        for path in home.rglob("*")
        if not kept & {path, *path.parents} and stat.S_IMODE(path.stat().st_mode) & UMASK
    ]


@pytest.mark.timeout(120)
def test_up_takes_over_a_home_and_a_running_stack_of_an_earlier_release(home: Path) -> None:
    server, reports = made_before(home)
    os.umask(UMASK)  # as the command does
    messages: list[str] = []
    here = stack.up(messages.append, only=("postgres", "reports"))
    assert server.is_running() and reports.is_running(), "what runs is left running"
    for _ in range(2):
        assert {f"{name}_owner" for name in DATABASES} == {url.split(":")[1][2:] for url in here.databases.values()}
        with psycopg.connect(here.database_url("mlflow_auth")) as connection:  # there was none
            assert connection.execute("select current_user").fetchone() == ("mlflow_auth_owner",)
        assert rows(here) == {(f"{name}_owner", f"{name}_owner", "of before") for name in BEFORE}
        with pytest.raises(psycopg.OperationalError, match="permission denied"):
            psycopg.connect(here.database_url("mlflow").rpartition("/")[0] + "/evergreen")
        assert not open_to_others(home) and stat.S_IMODE(home.stat().st_mode) in (0o700, 0o711)
        assert here.airflow_password == "admin" and PASSWORD in here.database
        assert json.loads((home / "airflow" / "passwords.json").read_text()) == {"admin": "admin"}
        assert "its-token" not in (home / "environment").read_text(), "no endpoint takes it any more"
        assert here.mlflow_password and f"EVERGREEN_MLFLOW_URL={here.mlflow_url}" in (home / "environment").read_text()
        assert stack.down() == ["reports", "postgres"]
        assert not server.is_running() or server.status() == psutil.STATUS_ZOMBIE
        here = stack.up(messages.append, only=("postgres", "reports"))  # on its data, by this release
    assert stack.reset() == [] and not home.exists()
