"""`evergreen up` and `evergreen down`: Postgres, MLflow, the model server, the reports and Airflow on this machine."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from evergreen import exposure
from evergreen.errors import PermanentError, PortTaken, StackNotReady
from evergreen.lake import space
from evergreen.local import environment, logins, permissions, postgres
from evergreen.local.airflow_objects import load_airflow_settings
from evergreen.local.processes import Processes, Service, answers
from evergreen.settings import DATABASES, ENVIRONMENT_FILE, Settings, settings

PARTS = ("postgres", "mlflow", "airflow", "server", "reports")
Progress = Callable[[str], None]


def up(progress: Progress = print, *, replay: bool | None = None, only: Collection[str] = PARTS) -> Settings:
    """Start what is not running; returns the settings in force. Does nothing when all of it runs.

    Args:
        only: the parts to start, of `PARTS`; Postgres always.
        replay: whether the model server accepts a request's own `as_of`; None: as at the last start.

    Raises:
        PortTaken: naming the port and the setting that changes it.
        StackNotReady: a process did not come up, with the end of its log.
    """
    here = settings()
    check_exposed(here)
    processes = Processes(here.home)
    _check_ports(here, processes, only)
    here = up_database(here, progress, replay=replay)
    for line in space.warnings(space.places(here)):
        progress(f"WARNING: {line}")
    write_login(here)

    wanted = {name: service for name, service in services(here).items() if _part(name) in only}
    if "mlflow" in wanted:
        processes.start(wanted["mlflow"])  # migrates its database while Airflow migrates its own
    progress("database migrations, Feast registry")
    with ThreadPoolExecutor() as together:  # both spend their time importing, each on a core
        migrate = ["-m", "airflow", "db", "migrate"]
        migrated = (
            together.submit(_run, migrate, environment.of_service("airflow", here), "migrating Airflow's database")
            if "airflow" in only
            else None
        )
        applying = environment.of_service("apply", here)
        _run(["-m", "evergreen", "apply"], applying, "applying the Feast objects of every model")
        if migrated is not None:
            migrated.result()
    if "mlflow" in wanted:
        processes.wait(wanted["mlflow"])
    for name, service in wanted.items():
        progress(f"starting {name}")
        processes.start(service)
    for name, service in wanted.items():
        processes.wait(service)
        progress(f"{name} answers")
    if "airflow" in only:
        load_airflow_settings(here, here.project / "airflow_settings.yaml")
    return here


def check_exposed(here: Settings) -> None:
    """Refuse to listen beyond this machine with what somebody may guess; what is not set yet will be generated.

    Raises:
        PermanentError: naming the settings to change.
    """
    logins = {
        "EVERGREEN_AIRFLOW_PASSWORD": here.airflow_password or environment.password_of_before(here.home),
        "EVERGREEN_SERVER_TOKEN": here.server_token,
        "MLFLOW_TRACKING_PASSWORD": here.mlflow_password,
    }
    if not exposure.is_loopback(here.bind):
        exposure.check(f"the stack on {here.bind}", {name: value for name, value in logins.items() if value})


def up_database(here: Settings, progress: Progress = print, *, replay: bool | None = None) -> Settings:
    """The part of `up` that everything else stands on: what is remembered, Postgres, the databases."""
    here = _remember(here, here.replay if replay is None else replay, progress)
    permissions.close_to_others(here.home)
    if here.embedded_database:
        progress(f"Postgres on {_address(here.database)}")
        _start_postgres(here, Processes(here.home))
    create_databases(here)
    return here


def create_databases(here: Settings) -> None:
    """The databases that are missing, each with its login where it has one of its own."""
    server = urlsplit(here.database).netloc.rpartition("@")[2]
    own = {name: url for name, url in here.databases.items() if urlsplit(url).netloc.rpartition("@")[2] == server}
    if own:
        logins.create_logins(here.database, own.values(), alone=here.embedded_database)
    shared = [f"{here.database_prefix}{name}" for name in DATABASES if name not in here.databases]
    if shared:
        postgres.create_databases(here.database, shared)


def down() -> list[str]:
    """Stop everything that `up` started; returns the names of what was running."""
    here = settings()
    processes = Processes(here.home)
    others = [name for name in processes.names() if name != "postgres"]
    return [*processes.stop(*others), *processes.stop("postgres")]  # the others still write while they end


def reset(*, ours: bool = False) -> list[str]:
    """Stop everything and delete the home: data, models, databases, logs.

    Args:
        ours: the caller knows that the home may be deleted.

    Returns:
        What holds data of the stack and is not ours to delete: databases on a user's own server, a lake or landing zone elsewhere.

    Raises:
        PermanentError: the home is a folder that no stack wrote.
    """
    here = settings()
    ours = ours or here.home.name == ".evergreen" or environment.is_home(here.home)
    if not ours and here.home.exists() and any(here.home.iterdir()):
        raise PermanentError(
            "deleting the local stack", found=f"a folder {here.home} that no stack wrote, with something in it",
            expected="the home of a stack (EVERGREEN_HOME)", next_step="set EVERGREEN_HOME to it, or delete the folder by hand",
        )  # fmt: skip
    down()
    left = [place for place in (here.lake, here.landing) if not Path(place).is_relative_to(here.home)]
    if here.embedded_database:
        postgres.remove(_cluster(here))
    else:
        names = ", ".join(f"{here.database_prefix}{name}" for name in DATABASES)
        left.insert(0, f"the databases {names} on {_address(here.database)}")
    shutil.rmtree(here.home, ignore_errors=True)
    settings.cache_clear()
    return left


def addresses(here: Settings, only: Collection[str] = PARTS) -> dict[str, str]:
    """Where each part answers that has a page."""
    file = here.home / ENVIRONMENT_FILE
    login = f"(login {environment.ADMIN_USER}; its password is {{}} in {file})".format
    pages = {
        "airflow": ("Airflow", f"{here.airflow_url}  {login('EVERGREEN_AIRFLOW_PASSWORD')}"),
        "mlflow": ("MLflow", f"{here.mlflow_url}  {login('MLFLOW_TRACKING_PASSWORD')}"),
        "server": ("Model server", f"{here.server_url}/docs"),
        "reports": ("Reports", here.reports_url),
    }
    return dict(page for part, page in pages.items() if part in only)


def _remember(here: Settings, replay: bool, progress: Progress) -> Settings:
    chosen = {
        "EVERGREEN_AIRFLOW_PASSWORD": here.airflow_password,
        "EVERGREEN_SERVER_TOKEN": here.server_token,
        "MLFLOW_TRACKING_USERNAME": here.mlflow_user if here.mlflow_password else "",
        "MLFLOW_TRACKING_PASSWORD": here.mlflow_password,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": here.mlflow_secret_key,
    }
    new = environment.remember(
        here.home,
        {name: value for name, value in chosen.items() if value}
        | {
            "EVERGREEN_MLFLOW_URL": here.mlflow_url,
            "EVERGREEN_SERVER_URL": here.server_url,
            "EVERGREEN_REPORTS_URL": here.reports_url,
            "EVERGREEN_AIRFLOW_URL": here.airflow_url,
            "EVERGREEN_DATABASE_PREFIX": here.database_prefix,
            "EVERGREEN_BIND": here.bind,
            "EVERGREEN_REPLAY": "1" if replay else "0",
        }
        | (
            {
                "EVERGREEN_POSTGRES_PORT": str(urlsplit(here.database).port),
                "EVERGREEN_POSTGRES_DATA": str(_cluster(here).data),
            }
            if here.embedded_database
            else {"EVERGREEN_DATABASE": here.database} | {DATABASES[name]: url for name, url in here.databases.items()}
        ),
    )
    settings.cache_clear()
    for name, of in (("EVERGREEN_AIRFLOW_PASSWORD", "Airflow"), ("MLFLOW_TRACKING_PASSWORD", "MLflow")):
        if name in new:  # shown once; it stays in the file
            progress(
                f"the login of {of}: {environment.ADMIN_USER} / {new[name]}  (kept as {name} in {here.home / ENVIRONMENT_FILE})"
            )
    return settings()


def _cluster(here: Settings) -> postgres.Cluster:
    parts = urlsplit(here.database)
    return postgres.cluster(here.home, parts.port or 5432, parts.password or "")


def _start_postgres(here: Settings, processes: Processes) -> None:
    cluster = _cluster(here)
    postgres.prepare(cluster)
    service = Service("postgres", cluster.command(), {}, lambda: postgres.answers(cluster.url), 60, cluster.user)
    processes.start(service)
    processes.wait(service)


def services(here: Settings) -> dict[str, Service]:
    """The background processes after Postgres, in the order in which they start."""
    python = sys.executable
    mlflow, server, reports = (urlsplit(url) for url in (here.mlflow_url, here.server_url, here.reports_url))
    here.reports.mkdir(parents=True, exist_ok=True)
    variables = partial(environment.of_service, settings=here)
    return {
        "mlflow": Service(
            "mlflow",
            [
                *(python, "-m", "mlflow", "server", "--host", here.bind, "--port", str(mlflow.port), "--workers", "1"),
                *("--app-name", "evergreen", "--artifacts-destination", str(here.home / "mlflow")),
            ],
            variables("mlflow")
            | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_AUTH_ADMIN_USERNAME": here.mlflow_user}
            | {"MLFLOW_BASIC_AUTH_FAIL_CLOSED": "true"},  # a route that MLflow's login knows nothing of is refused
            lambda: answers(f"{here.mlflow_url}/health"),
        ),
        "airflow-scheduler": Service(
            "airflow-scheduler", [python, "-m", "airflow", "scheduler", "--skip-serve-logs"], variables("airflow-scheduler"),
            lambda: _airflow_healthy(here, "scheduler"),
        ),
        "airflow-api-server": Service(
            "airflow-api-server", [python, "-m", "airflow", "api-server"], variables("airflow-api-server"),
            lambda: answers(f"{here.airflow_url}/api/v2/monitor/health"),
        ),
        "airflow-dag-processor": Service(
            "airflow-dag-processor", [python, "-m", "airflow", "dag-processor"], variables("airflow-dag-processor"),
            lambda: _airflow_healthy(here, "dag_processor"),
        ),
        "airflow-triggerer": Service(
            "airflow-triggerer", [python, "-m", "airflow", "triggerer", "--skip-serve-logs"], variables("airflow-triggerer"),
            lambda: _airflow_healthy(here, "triggerer"),
        ),
        "server": Service(
            "server", [python, "-m", "evergreen.serve", "--host", here.bind, "--port", str(server.port)], variables("server"),
            lambda: answers(f"{here.server_url}/healthz"),
        ),
        "reports": Service(
            "reports",
            [python, "-m", "evergreen.reports", "--host", here.bind, "--port", str(reports.port), "--folder", str(here.reports)],
            variables("reports"), lambda: answers(here.reports_url),
        ),
    }  # fmt: skip


def _part(service: str) -> str:
    return "airflow" if service.startswith("airflow-") else service


def _check_ports(here: Settings, processes: Processes, only: Collection[str]) -> None:
    wanted = {
        "airflow-api-server": ("EVERGREEN_AIRFLOW_URL", here.airflow_url),
        "mlflow": ("EVERGREEN_MLFLOW_URL", here.mlflow_url),
        "server": ("EVERGREEN_SERVER_URL", here.server_url),
        "reports": ("EVERGREEN_REPORTS_URL", here.reports_url),
    }
    for name, (setting, url) in wanted.items():
        if _part(name) in only:
            _check_port(processes, here.bind, name, setting, url)
    if here.embedded_database:
        port = urlsplit(here.database).port
        _check_port(processes, "127.0.0.1", "postgres", "EVERGREEN_POSTGRES_PORT", f"//127.0.0.1:{port}")


def _check_port(processes: Processes, host: str, name: str, setting: str, url: str) -> None:
    port = urlsplit(url).port
    if processes.running(name) or port is None:
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            other = str(port + 1000)
            raise PortTaken(
                f"starting {name}",
                found=f"port {port} is taken",
                expected=f"a free port for {name}",
                next_step="stop what listens there, or choose another port: "
                f"{setting}={url.replace(str(port), other) if '://' in url else other}",
            ) from error


def _address(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}"


def write_login(here: Settings) -> None:
    """The file from which Airflow's simple login takes the password of `admin`."""
    path = here.home / "airflow" / "passwords.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(json.dumps({environment.ADMIN_USER: here.airflow_password}))


def _run(arguments: list[str], variables: dict[str, str], doing: str) -> None:
    done = subprocess.run(
        [sys.executable, *arguments],
        env=variables,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        umask=exposure.UMASK,
    )
    if done.returncode != 0:
        raise StackNotReady(
            doing, found=f"status {done.returncode}:\n{done.stdout[-1500:]}\n{done.stderr[-3000:]}", expected="status 0",
            next_step="mend what the lines above say, then start again",
        )  # fmt: skip


def _airflow_healthy(here: Settings, component: str) -> bool:
    try:
        health = httpx.get(f"{here.airflow_url}/api/v2/monitor/health", timeout=5).json()
    except (httpx.TransportError, ValueError):
        return False
    return bool((health.get(component) or {}).get("status") == "healthy")
