"""The environment of the local stack's processes: Airflow's options, each with its reason."""

from __future__ import annotations

import base64
import os
import secrets
from pathlib import Path
from urllib.parse import urlsplit

from evergreen.settings import ENVIRONMENT_FILE, Settings, read_environment_file

ADMIN_USER = "admin"

# Import and progress chatter of the libraries stays out of task logs; their warnings stay in.
LIBRARIES = ("alembic", "botocore", "duckdb", "evidently", "feast", "git", "great_expectations", "h5py", "httpx", "matplotlib",
             "mlflow", "numexpr", "optuna", "py4j", "sqlalchemy", "tensorflow", "urllib3")  # fmt: skip


_WRITTEN = "# Written by `evergreen up`. The environment of a process wins over this file."


def is_home(folder: Path) -> bool:
    """Whether a stack wrote the folder."""
    file = folder / ENVIRONMENT_FILE
    return file.is_file() and file.read_text(errors="replace").startswith(_WRITTEN)


def remember(home: Path, chosen: dict[str, str]) -> None:
    """Keep what must be the same at every start: generated secrets and the ports in use, in `<home>/environment` (mode 600)."""
    path = home / ENVIRONMENT_FILE
    values = {
        "EVERGREEN_POSTGRES_PASSWORD": secrets.token_hex(16),
        "EVERGREEN_SERVER_TOKEN": secrets.token_urlsafe(24),
        "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(48),
        "AIRFLOW__API__SECRET_KEY": secrets.token_urlsafe(48),
    }
    values |= read_environment_file(path) | chosen
    home.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.touch(mode=0o600)
    partial.write_text(f"{_WRITTEN}\n")
    with partial.open("a") as file:
        file.writelines(f"{name}={value}\n" for name, value in sorted(values.items()))
    partial.rename(path)


def airflow_options(settings: Settings) -> dict[str, str]:
    """Airflow's configuration, as environment variables."""
    port = urlsplit(settings.airflow_url).port or 8080
    home = settings.home / "airflow"
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(settings.project / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(settings.project / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        # Worker processes, not tasks: the pools of airflow_settings.yaml bound the tasks that run side by side. A worker whose
        # task has ended may still wait one heartbeat interval for the process to be gone (its sockets close first, and nothing
        # wakes the supervisor after that): so there are more workers than pool slots, and the interval is the shortest.
        "AIRFLOW__CORE__PARALLELISM": str(8 * (os.cpu_count() or 2)),
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{ADMIN_USER}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": settings.database_url("airflow", "postgresql+psycopg2"),
        "AIRFLOW__API__HOST": settings.bind,
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": settings.airflow_url,
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",  # the default of 1 s is most of a short chain's time
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "30",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "30",
        "AIRFLOW__DAG_PROCESSOR__DAG_VERSION_INFLATION_CHECK_LEVEL": "error",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(settings.home / "logs" / "airflow"),
        "AIRFLOW__LOGGING__NAMESPACE_LEVELS": ",".join(f"{name}=WARNING" for name in LIBRARIES),
    }


def of_processes(settings: Settings) -> dict[str, str]:
    """The whole environment of every process of the stack."""
    environment = dict(os.environ)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # without bytecode every process compiles every library anew
    paths = [str(settings.project / "config"), str(settings.project / "include")]
    return (
        environment
        | airflow_options(settings)
        | read_environment_file(settings.home / ENVIRONMENT_FILE)
        | {"EVERGREEN_HOME": str(settings.home), "PYTHONPATH": os.pathsep.join(paths)}
    )
