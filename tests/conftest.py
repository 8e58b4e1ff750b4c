"""Real servers for the tests: one of each a run, whatever the number of workers;
a fresh home and fresh databases a test."""

from __future__ import annotations

import fcntl
import itertools
import json
import logging
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath
from typing import Any

import pytest
from hypothesis import settings as property_settings

from evergreen import cores
from evergreen.addresses import free_port
from evergreen.local import postgres
from evergreen.local.processes import Processes, Service, answers
from evergreen.settings import Settings, settings

# A property's example may take long on a machine that other processes share: that says nothing about the property.
property_settings.register_profile("evergreen", deadline=None)
property_settings.load_profile("evergreen")

PROJECT = Path(__file__).resolve().parents[1]

cores.one_for_algebra()  # as in tasks: the tests' processes run side by side too

# Airflow reads its configuration once, at its first import, which any test module may be the first to do.
# Its home is not Evergreen's, which a demo wants to be empty.
os.environ.setdefault("AIRFLOW_HOME", str(PROJECT / ".pytest_cache" / "airflow"))
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__PLUGINS_FOLDER"] = str(PROJECT / "plugins")
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "False"
os.environ["AIRFLOW__USAGE_DATA_COLLECTION__ENABLED"] = "False"

_numbers = itertools.count()
_OF_THE_STACK = ("EVERGREEN_", "AWS_")  # what tests set for processes and settings of their own
_FOUND = pytest.StashKey[dict[str, str]]()
_SHARED = "EVERGREEN_TEST_SERVICES"  # names the folder in which a run's worker processes find one another's servers


def pytest_configure(config: pytest.Config) -> None:
    """One folder per run, made by the first process and inherited by pytest-xdist's workers."""
    if not hasattr(config, "workerinput"):
        os.environ[_SHARED] = tempfile.mkdtemp(prefix="evergreen-tests-")
    config.stash[_FOUND] = _of_the_stack()


def _of_the_stack() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(_OF_THE_STACK)}


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """A test is not named by bytes, which may be made anew in each worker: all must collect the same names."""
    return argname if isinstance(val, bytes) else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """A folder's tests leave the environment as they found it, and a command that ran in this process the log's level:
    which folder the worker takes next depends on the machine's speed."""
    result = yield
    logging.getLogger("evergreen").setLevel(logging.NOTSET)
    if nextitem is None or nextitem.path.parent != item.path.parent:
        left = {name for name, _ in _of_the_stack().items() ^ item.config.stash[_FOUND].items()}
        assert not left, f"the tests of {item.path.parent.name} leave {sorted(left)} changed"
    return result


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Tests of one folder run in one worker, in their order: they share its fixtures.
    Files of `components` itself and of `hostile` share none: each is a folder to it.

    pytest-xdist's own groups (3.8.0) need a name that pytest 9.2 has no more.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFolder(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = PurePath(nodeid.partition("::")[0])
            folder = file.parent.as_posix()
            return file.as_posix() if folder in ("tests/components", "tests/hostile") else folder

    return ByFolder(config, log)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """The last process to end stops what the run's workers shared."""
    if hasattr(session.config, "workerinput"):
        return
    folder = Path(os.environ[_SHARED])
    processes = Processes(folder)
    processes.stop(*(name for name in processes.names() if name != "postgres"))
    processes.stop("postgres")  # the others still write while they end
    if (folder / "postgres.json").exists():
        postgres.remove(postgres.cluster(folder / "postgres", 0, ""))
    shutil.rmtree(folder, ignore_errors=True)


def started_once(name: str, start: Callable[[Processes, Path], dict[str, str]]) -> dict[str, str]:
    """What `start` told of a server, which the first worker that asks for it starts for all of them.

    Args:
        start: gets the run's processes and a folder for the server's files.
    """
    folder = Path(os.environ[_SHARED])
    record = folder / f"{name}.json"
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not record.exists():
            record.write_text(json.dumps(start(Processes(folder), folder / name)))
    details: dict[str, str] = json.loads(record.read_text())
    return details


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """The background processes of this worker's own tests; all of them are stopped at its end."""
    processes = Processes(tmp_path_factory.mktemp("services"))
    yield processes
    processes.stop(*processes.names())


@pytest.fixture(scope="session")
def postgres_url() -> str:
    """A real Postgres server: its URL without a database name. EVERGREEN_TEST_DATABASE names one of your own."""
    return os.environ.get("EVERGREEN_TEST_DATABASE") or started_once("postgres", _start_postgres)["url"]


def _start_postgres(processes: Processes, folder: Path) -> dict[str, str]:
    import psycopg
    from psycopg import sql

    cluster = postgres.cluster(folder, free_port(), secrets.token_hex(8))
    postgres.prepare(cluster)
    # No test takes the machine's power away, so nothing waits for the disk.
    command = [*cluster.command(), "-cfsync=off", "-cfull_page_writes=off"]
    service = Service("postgres", command, dict(os.environ), lambda: postgres.answers(cluster.url), 30, cluster.user)
    processes.start(service)
    processes.wait(service)
    with psycopg.connect(f"{cluster.url}/postgres") as connection:
        # The 4,096 rounds of a password's hash are a third of what each of some ten thousand connections costs.
        connection.execute("set scram_iterations = 1")
        connection.execute(sql.SQL("alter role current_user password {}").format(cluster.password))
    return {"url": cluster.url}


@pytest.fixture(scope="session")
def mlflow_url(postgres_url: str) -> str:
    """A real MLflow server on the real Postgres; one per run, since it takes seconds to start."""

    def start(processes: Processes, folder: Path) -> dict[str, str]:
        name = f"t{os.getpid()}_mlflow"
        postgres.create_databases(postgres_url, [name])
        port = free_port()
        command = [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--workers",
            "1",
            "--backend-store-uri",
            f"{postgres_url}/{name}",
            "--artifacts-destination",
            str(folder),
        ]
        url = f"http://127.0.0.1:{port}"
        # Its job workers would be four more processes that no test needs.
        environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        service = Service("mlflow", command, environment, lambda: answers(f"{url}/health"))
        processes.start(service)
        processes.wait(service)
        return {"url": url}

    server_url = started_once("mlflow", start)["url"]
    import mlflow

    # For the tests' own calls; the code under test names the server in its settings itself.
    mlflow.set_tracking_uri(server_url)
    return server_url


@pytest.fixture
def opened() -> Iterator[list[str]]:
    """The data files of the lake that are opened, each time that one is."""
    from benchmarks.lakes import files_opened

    with files_opened() as files:
        yield files


@pytest.fixture
def home(tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings on a fresh folder and fresh databases."""
    prefix = f"t{os.getpid()}_{next(_numbers)}_"
    monkeypatch.setenv("EVERGREEN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("EVERGREEN_DATABASE", postgres_url)
    monkeypatch.setenv("EVERGREEN_DATABASE_PREFIX", prefix)
    postgres.create_databases(postgres_url, [f"{prefix}{name}" for name in ("evergreen", "optuna", "feast")])
    settings.cache_clear()
    yield settings()
    settings.cache_clear()


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of models that commands work on: a copy of tests/specs/valid."""
    folder = shutil.copytree(PROJECT / "tests" / "specs" / "valid", tmp_path / "models")
    monkeypatch.setenv("EVERGREEN_MODELS", str(folder))
    settings.cache_clear()
    yield folder
    settings.cache_clear()


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """A real S3 server with the bucket `evergreen`: its endpoint URL. Credentials stand in the environment."""
    environment = started_once("s3", _start_s3)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.setattr("boto3.DEFAULT_SESSION", None)  # it keeps the credentials that an earlier test gave it
        yield environment["AWS_ENDPOINT_URL"]


def _start_s3(processes: Processes, folder: Path) -> dict[str, str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    credentials = {"AWS_ACCESS_KEY_ID": "EVERGREENTESTKEY0001", "AWS_SECRET_ACCESS_KEY": secrets.token_hex(20)}
    (folder / "evergreen").mkdir(parents=True)  # a folder of rclone's is a bucket
    command = [
        str(Path(sys.executable).with_name("rclone")),
        "serve",
        "s3",
        str(folder),
        "--addr",
        f"127.0.0.1:{port}",
        "--auth-key",
        ",".join(credentials.values()),
    ]
    service = Service("s3", command, dict(os.environ), lambda: answers(url), 30)
    processes.start(service)
    processes.wait(service)
    return credentials | {"AWS_ENDPOINT_URL": url, "AWS_DEFAULT_REGION": "us-east-1", "AWS_ALLOW_HTTP": "true"}
