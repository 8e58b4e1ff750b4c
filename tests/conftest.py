"""Real servers for the tests: one of each a session, a fresh home and fresh databases a test."""

from __future__ import annotations

import itertools
import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from evergreen.local import postgres
from evergreen.local.processes import Processes, Service, answers
from evergreen.settings import Settings, settings

PROJECT = Path(__file__).resolve().parents[1]

# Airflow reads its configuration once, at its first import, which any test module may be the first to do.
# Its home is not Evergreen's, which a demo wants to be empty.
os.environ.setdefault("AIRFLOW_HOME", str(PROJECT / ".pytest_cache" / "airflow"))
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__PLUGINS_FOLDER"] = str(PROJECT / "plugins")
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "False"
os.environ["AIRFLOW__USAGE_DATA_COLLECTION__ENABLED"] = "False"

_numbers = itertools.count()


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """The background processes of this test session; all of them are stopped at its end."""
    processes = Processes(tmp_path_factory.mktemp("services"))
    yield processes
    processes.stop(*processes.names())


@pytest.fixture(scope="session")
def postgres_url(services: Processes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Postgres server: its URL without a database name. EVERGREEN_TEST_DATABASE names one of your own."""
    if own := os.environ.get("EVERGREEN_TEST_DATABASE"):
        yield own
        return
    home = tmp_path_factory.mktemp("postgres")
    cluster = postgres.cluster(home, postgres.free_port(), secrets.token_hex(8))
    postgres.prepare(cluster)
    service = Service(
        "postgres", cluster.command(), dict(os.environ), lambda: postgres.answers(cluster.url), 30, cluster.user
    )
    services.start(service)
    services.wait(service)
    yield cluster.url
    services.stop("postgres")
    postgres.remove(cluster)


@pytest.fixture(scope="session")
def mlflow_url(services: Processes, postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A real MLflow server on the real Postgres; one a session, since it takes seconds to start."""
    name = f"t{os.getpid()}_mlflow"
    postgres.create_databases(postgres_url, [name])
    port = postgres.free_port()
    backend, artifacts = f"{postgres_url}/{name}", tmp_path_factory.mktemp("mlflow")
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
               "--backend-store-uri", backend, "--artifacts-destination", str(artifacts)]  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    # Its job workers would be four more processes that no test needs.
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    service = Service("mlflow", command, environment, lambda: answers(f"{url}/health"))
    services.start(service)
    services.wait(service)
    return url


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


@pytest.fixture(scope="session")
def s3(services: Processes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real S3 server with the bucket `evergreen`: its endpoint URL. Credentials stand in the environment."""
    import boto3

    port = postgres.free_port()
    url = f"http://127.0.0.1:{port}"
    credentials = {"AWS_ACCESS_KEY_ID": "EVERGREENTESTKEY0001", "AWS_SECRET_ACCESS_KEY": secrets.token_hex(20)}
    environment = credentials | {"AWS_ENDPOINT_URL": url, "AWS_DEFAULT_REGION": "us-east-1", "AWS_ALLOW_HTTP": "true"}
    command = [str(Path(sys.executable).with_name("rclone")), "serve", "s3", str(tmp_path_factory.mktemp("s3")), "--addr", f"127.0.0.1:{port}",
               "--auth-key", ",".join(credentials.values())]  # fmt: skip
    service = Service("s3", command, dict(os.environ), lambda: answers(url), 30)
    services.start(service)
    services.wait(service)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket="evergreen")
        yield url
    services.stop("s3")
