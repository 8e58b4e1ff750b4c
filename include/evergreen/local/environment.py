"""The environment of the local stack's processes: Airflow's options, each with its reason."""

from __future__ import annotations

import base64
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from evergreen import files
from evergreen.settings import (
    ADMIN_USER,
    DATABASES,
    ENVIRONMENT_FILE,
    OWNER_PASSWORD,
    SERVICE,
    Settings,
    read_environment_file,
)

# Import and progress chatter of the libraries stays out of task logs; their warnings stay in.
LIBRARIES = (
    "alembic",
    "botocore",
    "duckdb",
    "evidently",
    "feast",
    "git",
    "great_expectations",
    "h5py",
    "httpx",
    "matplotlib",
    "mlflow",
    "numexpr",
    "optuna",
    "py4j",
    "sqlalchemy",
    "tensorflow",
    "urllib3",
)


_WRITTEN = "# Written by `evergreen up`. The environment of a process wins over this file."


def is_home(folder: Path) -> bool:
    """Whether a stack wrote the folder."""
    file = folder / ENVIRONMENT_FILE
    return file.is_file() and file.read_text(errors="replace").startswith(_WRITTEN)


def remember(home: Path, chosen: dict[str, str]) -> dict[str, str]:
    """Keep what must be the same at every start: generated secrets and the ports in
    use, in `<home>/environment` (mode 600).

    Returns:
        The generated values that the file did not hold before.
    """
    path = home / ENVIRONMENT_FILE
    known = {name: value for name, value in read_environment_file(path).items() if name not in _FORMER} | chosen
    generated = {
        "EVERGREEN_POSTGRES_PASSWORD": secrets.token_hex(16),
        **{f"{OWNER_PASSWORD}{name.upper()}": secrets.token_hex(16) for name in DATABASES},
        "EVERGREEN_AIRFLOW_PASSWORD": password_of_before(home) or secrets.token_urlsafe(18),
        "MLFLOW_TRACKING_USERNAME": ADMIN_USER,
        "MLFLOW_TRACKING_PASSWORD": secrets.token_urlsafe(18),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_urlsafe(48),
        "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(48),
        "AIRFLOW__API__SECRET_KEY": secrets.token_urlsafe(48),
    }
    lines = [_WRITTEN, *(f"{name}={value}" for name, value in sorted((generated | known).items()))]
    with files.whole(path, mode=0o600, durable=True) as partial:
        partial.write_text("".join(f"{line}\n" for line in lines))
    return {name: value for name, value in generated.items() if name not in known}


def signing_keys(home: Path) -> dict[str, str]:
    """The keys of a new home, which sign its versions, and the settings that name them; of a home that is there
    already none: what it registered is not signed, and would be refused."""
    if (home / ENVIRONMENT_FILE).exists():
        return {}
    from evergreen.registry import signing_keys as keys

    private, public = keys.generate()
    for name, content, mode in (("signing.key", private, 0o600), ("signing.pub", public, 0o644)):
        with files.whole(home / name, mode=mode, durable=True) as partial:
            partial.write_bytes(content)
    return {"EVERGREEN_SIGNING_KEY": "signing.key", "EVERGREEN_PUBLIC_KEYS": "signing.pub"}


def password_of_before(home: Path) -> str:
    """The password of `admin` in a home that was made before passwords were generated: it stays as it was."""
    file = home / "airflow" / "passwords.json"
    return str(json.loads(file.read_text()).get(ADMIN_USER, "")) if file.exists() else ""


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
        # Worker processes, not tasks: the pools of airflow_settings.yaml bound the tasks that run side by side. A
        # worker whose task has ended may still wait one heartbeat interval for the process to be gone (its
        # sockets close first, and nothing wakes the supervisor after that): so there are more workers than pool
        # slots, and the interval is the shortest.
        "AIRFLOW__CORE__PARALLELISM": str(8 * (os.cpu_count() or 2)),
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        # Who else has a login sees everything, and may start runs, decide about approvals and nothing else.
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(
            [f"{ADMIN_USER}:admin", *(f"{name}:user" for name in settings.airflow_users)]
        ),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
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
        "AIRFLOW__LOGGING__FILE_TASK_HANDLER_NEW_FOLDER_PERMISSIONS": "0o700",
        "AIRFLOW__LOGGING__FILE_TASK_HANDLER_NEW_FILE_PERMISSIONS": "0o600",
        "AIRFLOW__LOGGING__NAMESPACE_LEVELS": ",".join(f"{name}=WARNING" for name in LIBRARIES),
    }


@dataclass(frozen=True)
class Sees:
    """What one process of the stack may see."""

    secrets: frozenset[str] = frozenset()  # of `secret_values`
    families: tuple[str, ...] = ()  # what else of the caller's variables, by their start


_FORMER = frozenset({"EVERGREEN_SERVER_TOKEN"})  # what a release before kept in the file, and nothing reads
_METADATA = frozenset({"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "AIRFLOW__CORE__FERNET_KEY"})
_TASKS = frozenset(
    {
        "EVERGREEN_DATABASE_EVERGREEN",
        "EVERGREEN_DATABASE_FEAST",
        "EVERGREEN_DATABASE_OPTUNA",
        "MLFLOW_TRACKING_PASSWORD",
        "EVERGREEN_SIGNING_KEY",
    }
)
# The whole table: a secret that stands in no line is seen by no process.
# docs/security.md tells why each one is where it is.
SEES = {
    "mlflow": Sees(
        frozenset(
            {
                "MLFLOW_BACKEND_STORE_URI",
                "EVERGREEN_DATABASE_MLFLOW_AUTH",
                "MLFLOW_AUTH_ADMIN_PASSWORD",
                "MLFLOW_FLASK_SERVER_SECRET_KEY",
            }
        ),
        ("MLFLOW_",),
    ),
    "airflow-scheduler": Sees(  # its tasks are forked from it, and have its environment
        _METADATA | _TASKS | {"AIRFLOW__API_AUTH__JWT_SECRET"}, ("EVERGREEN_", "AIRFLOW_", "MLFLOW_")
    ),
    "airflow-api-server": Sees(
        _METADATA | {"AIRFLOW__API_AUTH__JWT_SECRET", "AIRFLOW__API__SECRET_KEY"}, ("EVERGREEN_", "AIRFLOW__")
    ),
    "airflow-dag-processor": Sees(_METADATA, ("EVERGREEN_", "AIRFLOW_")),  # it calls what tells of a run out of time
    "airflow-triggerer": Sees(_METADATA, ("EVERGREEN_", "AIRFLOW_")),  # it calls what tells of a run that is late
    "server": Sees(
        frozenset(
            {
                "EVERGREEN_DATABASE_EVERGREEN",
                "EVERGREEN_DATABASE_FEAST",
                "MLFLOW_TRACKING_PASSWORD",
            }
        ),
        ("EVERGREEN_", "MLFLOW_"),
    ),
    "reports": Sees(),
    # commands, which end
    "apply": Sees(frozenset({"EVERGREEN_DATABASE_EVERGREEN", "EVERGREEN_DATABASE_FEAST"}), ("EVERGREEN_",)),
    "airflow": Sees(
        _METADATA | _TASKS | {"AIRFLOW__API_AUTH__JWT_SECRET", "AIRFLOW__API__SECRET_KEY"},
        ("EVERGREEN_", "AIRFLOW_", "MLFLOW_"),
    ),
}
_PLAIN = (
    "HOME",
    "LANG",
    "LANGUAGE",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "LOGNAME",
    "PATH",
    "TMPDIR",
    "TZ",
    "USER",
)  # of any process


def secret_values(settings: Settings) -> dict[str, str]:
    """Every secret of the stack by the variable that holds it; those of `SEES`, and those that no process sees."""
    kept = dict(os.environ) | read_environment_file(settings.home / ENVIRONMENT_FILE)
    named = ("AIRFLOW__CORE__FERNET_KEY", "AIRFLOW__API_AUTH__JWT_SECRET", "AIRFLOW__API__SECRET_KEY")
    hidden = [f"{OWNER_PASSWORD}{name.upper()}" for name in DATABASES]
    return {
        **{name: kept.get(name, "") for name in (*named, *hidden, "EVERGREEN_POSTGRES_PASSWORD")},
        **{variable: settings.database_url(name) for name, variable in DATABASES.items()},
        "EVERGREEN_DATABASE": settings.database,
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": settings.database_url("airflow", "postgresql+psycopg2"),
        "MLFLOW_BACKEND_STORE_URI": settings.database_url("mlflow"),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": settings.mlflow_secret_key,
        "MLFLOW_TRACKING_PASSWORD": settings.mlflow_password,  # of tasks and of the model server
        "MLFLOW_AUTH_ADMIN_PASSWORD": settings.mlflow_password,  # of MLflow's own server
        "EVERGREEN_AIRFLOW_PASSWORD": settings.airflow_password,
        **({"EVERGREEN_SIGNING_KEY": settings.signing_key} if settings.signing_key else {}),  # where it is
        **({"EVERGREEN_SERVER_KEY": settings.server_key} if settings.server_key else {}),
    }


def of_service(name: str, settings: Settings) -> dict[str, str]:
    """The whole environment of one process of the stack, named in `SEES`."""
    sees, values = SEES[name], secret_values(settings)
    ours = ("EVERGREEN_", "AIRFLOW_", "MLFLOW_")
    if sees.families:
        caller = {
            key: value for key, value in os.environ.items() if key.startswith(sees.families) or not key.startswith(ours)
        }
        file = {
            key: value
            for key, value in read_environment_file(settings.home / ENVIRONMENT_FILE).items()
            if key.startswith(sees.families)
        }
    else:
        caller, file = {key: os.environ[key] for key in _PLAIN if key in os.environ}, {}
    caller.pop("PYTHONDONTWRITEBYTECODE", None)  # without bytecode every process compiles every library anew
    options = airflow_options(settings) if any(family.startswith("AIRFLOW_") for family in sees.families) else {}
    plain = {key: value for key, value in (caller | options | file).items() if key not in values}
    paths = [str(settings.project / "config"), str(settings.project / "include")]
    return (
        plain
        | {key: values[key] for key in sees.secrets if values.get(key)}
        | {SERVICE: name, "EVERGREEN_HOME": str(settings.home), "PYTHONPATH": os.pathsep.join(paths)}
    )
