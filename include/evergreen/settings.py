"""Where things are: the only module that reads the process environment.

Every setting has an embedded default below `EVERGREEN_HOME`, and one environment variable that replaces it. What the
local stack chose at its start (ports, generated passwords) stands in `<home>/environment`, so that every later command
finds it; the environment of the process wins over the file.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote, urlencode

from evergreen.errors import PermanentError
from evergreen.quoting import shown

ENVIRONMENT_FILE = "environment"  # below the home
ADMIN_USER = "admin"  # of the local stack's Airflow and MLflow
# Evergreen's databases, and the setting that holds the URL of each: a login of its own, which may connect to no other.
DATABASES = MappingProxyType(
    {
        "airflow": "EVERGREEN_DATABASE_AIRFLOW",
        "mlflow": "EVERGREEN_DATABASE_MLFLOW",
        "mlflow_auth": "EVERGREEN_DATABASE_MLFLOW_AUTH",
        "optuna": "EVERGREEN_DATABASE_OPTUNA",
        "feast": "EVERGREEN_DATABASE_FEAST",
        "evergreen": "EVERGREEN_DATABASE_EVERGREEN",
    }
)
OWNER_PASSWORD = "EVERGREEN_POSTGRES_PASSWORD_"  # and the database's name: on the stack's own Postgres
# Of a process that the local stack starts: its name. What it may see stands in its
# environment, so it reads no file for it.
SERVICE = "EVERGREEN_SERVICE"
CHANNELS = frozenset({"log", "smtp", "slack"})
MEGABYTE = 1_000_000
PROJECT = Path(__file__).resolve().parents[2]
Network = IPv4Network | IPv6Network


@dataclass(frozen=True)
class Settings:
    """Resolved locations. Paths are absolute; URLs have no trailing slash."""

    project: Path
    home: Path  # everything that Evergreen writes, when nothing else is set
    models: Path  # one folder per model
    data: Path  # one folder per dataset
    landing: str  # folder, s3://bucket/prefix, or an address that a package of fsspec knows
    lake: str  # folder or s3://bucket/prefix
    staging: str  # what passes between the tasks of a run: folder or s3://bucket/prefix
    staging_kept: timedelta  # how long it is kept, however the run ended
    reports: Path  # Data Docs and drift reports, served over HTTP
    service: str  # the part of the local stack that this process is; empty for all others
    database: str = field(repr=False)  # the login that may create databases: postgresql://user:password@host:port
    databases: Mapping[str, str] = field(repr=False)  # whole URLs, of the databases that have a login of their own
    embedded_database: bool  # the stack runs its own Postgres; false when EVERGREEN_DATABASE names a server
    database_alone: bool  # the server is Evergreen's alone: no login of a database may use its maintenance databases
    database_folder: Path | None  # the embedded Postgres' data, once it was started
    database_bound: int  # bytes of the database `evergreen`, at which predictions are refused; 0: none
    feature_copy: int  # bytes of features that a server keeps in memory for while their database is away; 0: none
    unlogged: int  # bytes of predictions that a server keeps on its disk while Postgres is away; 0: it refuses them
    disk_reserve: int  # bytes of a disk that predictions leave free
    database_prefix: str  # stands before the names of Evergreen's databases, on a server shared with others
    mlflow_url: str
    server_url: str
    reports_url: str
    airflow_url: str
    bind: str  # the address that the local stack listens on; Postgres stays on loopback
    airflow_password: str = field(repr=False)  # of the local login `admin`
    airflow_users: tuple[str, ...]  # who else has a login of the local Airflow, such as those who approve versions
    mlflow_user: str
    mlflow_password: str = field(repr=False)  # empty: MLflow has no login, or one that its own variables tell
    mlflow_secret_key: str = field(repr=False)  # signs the forms of MLflow's login
    when_unconfirmed: str  # undo or finish: a promotion that not every live replica has loaded
    when_cut_off: str  # serve or stop: what a replica does that Postgres does not answer
    cut_off: float  # seconds after which it does so
    server_hosts: frozenset[str]  # names by which the server may be asked; empty: docs/serving.md
    trusted_proxies: tuple[Network, ...]  # whose X-Forwarded-For the server believes
    client_keys: str  # auto, on or off: whether the server asks its clients for keys; auto: beyond loopback
    server_key: str = field(repr=False)  # by which our own tasks ask the server, where it asks for keys
    client_entities: int  # per second, of one client of the server
    client_requests: int  # of one client of the server, under way at once
    replay: bool  # the server accepts a request's own `as_of`
    largest_batch: int  # bytes that one source's day may have: its files together, or the rows of its query
    query_memory: int  # bytes that a query of features or labels may take; what is more goes to the temporary folder
    signing_key: str  # that signs versions: a file, or awskms: and the id of a key; empty: none is signed
    public_keys: tuple[str, ...]  # files of those that verify; none, and no key that signs: nothing is verified
    alerts: frozenset[str]  # channels that tell a model's owner of a failed task: log, smtp, slack

    def database_url(self, name: str, driver: str = "postgresql") -> str:
        """The URL of one of Evergreen's databases (`DATABASES`), as the login that this process has for it.

        Raises:
            PermanentError: this process is a part of the stack that has no business there.
        """
        if self.service and name not in self.databases:
            raise PermanentError(
                f"connecting to the database {name}",
                found=f"no login for it in the environment of {self.service}",
                expected=DATABASES[name],
                next_step="look at the table of who may see what in docs/security.md",
            )
        url = self.databases.get(name) or f"{self.database}/{self.database_prefix}{name}"
        return url.replace("postgresql", driver, 1)

    def database_setting(self, name: str) -> str:
        """The setting that holds the login of one of Evergreen's databases."""
        return DATABASES[name] if name in self.databases else "EVERGREEN_DATABASE"

    @classmethod
    def from_environment(cls, environment: dict[str, str] | None = None) -> Settings:
        env = dict(os.environ) if environment is None else environment
        project = Path(env.get("EVERGREEN_PROJECT", PROJECT))
        home = home_folder(env)
        models = Path(env.get("EVERGREEN_MODELS", project / "include" / "models"))
        if not env.get(SERVICE):
            env = read_environment_file(home / ENVIRONMENT_FILE) | env
        own_server = env.get("EVERGREEN_DATABASE", "")
        port, prefix = env.get("EVERGREEN_POSTGRES_PORT", "5442"), env.get("EVERGREEN_DATABASE_PREFIX", "")
        stated = {name: env[variable] for name, variable in DATABASES.items() if env.get(variable)}
        embedded = not own_server and not env.get(SERVICE) and len(stated) < len(DATABASES)
        logins = {} if own_server else _embedded_logins(env, f"127.0.0.1:{port}", prefix)
        login = f"evergreen:{env.get('EVERGREEN_POSTGRES_PASSWORD', '')}"
        return cls(
            project=project,
            home=home,
            models=models,
            data=Path(env.get("EVERGREEN_DATA", models.absolute().parent / "data")),
            landing=env.get("EVERGREEN_LANDING", str(home / "landing")),
            lake=env.get("EVERGREEN_LAKE", str(home / "lake")),
            staging=env.get("EVERGREEN_STAGING", str(home / "staging")),
            staging_kept=timedelta(days=_number(env, "EVERGREEN_STAGING_DAYS", 7, least=1)),
            reports=Path(env.get("EVERGREEN_REPORTS", home / "reports")),
            service=env.get(SERVICE, ""),
            database=own_server or (f"postgresql://{login}@127.0.0.1:{port}" if embedded else ""),
            databases=MappingProxyType(logins | stated),
            embedded_database=embedded,
            database_alone=embedded or env.get("EVERGREEN_DATABASE_ALONE", "") == "1",
            database_folder=None if own_server or not (data := env.get("EVERGREEN_POSTGRES_DATA")) else Path(data),
            database_bound=_number(env, "EVERGREEN_DATABASE_BOUND_MB", 0) * MEGABYTE,
            unlogged=_number(env, "EVERGREEN_UNLOGGED_MB", 256) * MEGABYTE,
            feature_copy=_number(env, "EVERGREEN_FEATURE_COPY_MB", 256) * MEGABYTE,
            disk_reserve=_number(env, "EVERGREEN_DISK_RESERVE_MB", 1_000) * MEGABYTE,
            database_prefix=prefix,
            mlflow_url=env.get("EVERGREEN_MLFLOW_URL", "http://127.0.0.1:5050"),
            server_url=env.get("EVERGREEN_SERVER_URL", "http://127.0.0.1:8090"),
            reports_url=env.get("EVERGREEN_REPORTS_URL", "http://127.0.0.1:8091"),
            airflow_url=env.get("EVERGREEN_AIRFLOW_URL", "http://127.0.0.1:8080"),
            bind=env.get("EVERGREEN_BIND", "127.0.0.1"),
            airflow_password=env.get("EVERGREEN_AIRFLOW_PASSWORD", ""),
            airflow_users=_users(env.get("EVERGREEN_AIRFLOW_USERS", "")),
            mlflow_user=env.get("MLFLOW_TRACKING_USERNAME", "admin"),
            mlflow_password=env.get("MLFLOW_TRACKING_PASSWORD", ""),
            mlflow_secret_key=env.get("MLFLOW_FLASK_SERVER_SECRET_KEY", ""),
            when_unconfirmed=_one_of(env, "EVERGREEN_WHEN_UNCONFIRMED", ("undo", "finish")),
            when_cut_off=_one_of(env, "EVERGREEN_WHEN_CUT_OFF", ("serve", "stop")),
            cut_off=float(_number(env, "EVERGREEN_CUT_OFF_SECONDS", 60, least=10)),
            server_hosts=frozenset(_listed(env.get("EVERGREEN_SERVER_HOSTS", "").lower())),
            trusted_proxies=_networks(env.get("EVERGREEN_TRUSTED_PROXIES", "")),
            client_keys=_one_of(env, "EVERGREEN_CLIENT_KEYS", ("auto", "on", "off")),
            server_key=env.get("EVERGREEN_SERVER_KEY", ""),
            client_entities=_number(env, "EVERGREEN_CLIENT_ENTITIES_PER_SECOND", 2_000, least=1),
            client_requests=_number(env, "EVERGREEN_CLIENT_REQUESTS", 64, least=1),
            replay=env.get("EVERGREEN_REPLAY", "") == "1",
            largest_batch=_number(env, "EVERGREEN_LARGEST_BATCH_MB", 1_000, least=1) * MEGABYTE,
            query_memory=_number(env, "EVERGREEN_QUERY_MEMORY_MB", 600, least=100) * MEGABYTE,
            signing_key=_key(home, env.get("EVERGREEN_SIGNING_KEY", "").strip()),
            public_keys=tuple(_key(home, each) for each in _listed(env.get("EVERGREEN_PUBLIC_KEYS", ""))),
            alerts=_channels(env.get("EVERGREEN_ALERTS", "log")),
        )


def _embedded_logins(env: dict[str, str], server: str, prefix: str) -> dict[str, str]:
    """The URLs of the databases on the stack's own Postgres for which a password was generated."""
    passwords = {name: env.get(f"{OWNER_PASSWORD}{name.upper()}", "") for name in DATABASES}
    return {
        name: f"postgresql://{prefix}{name}_owner:{password}@{server}/{prefix}{name}"
        for name, password in passwords.items()
        if password
    }


def home_folder(environment: Mapping[str, str] | None = None) -> Path:
    """Where everything stands that Evergreen writes; known also where the file of settings in it is damaged."""
    env = os.environ if environment is None else environment
    return Path(env.get("EVERGREEN_HOME", Path(env.get("EVERGREEN_PROJECT", PROJECT)) / ".evergreen")).absolute()


def _channels(stated: str) -> frozenset[str]:
    """The channels of EVERGREEN_ALERTS; `log` is always one."""
    channels = frozenset(_listed(stated))
    if unknown := channels - CHANNELS:
        raise PermanentError(
            "reading EVERGREEN_ALERTS",
            found=", ".join(sorted(unknown)),
            expected=f"some of {', '.join(sorted(CHANNELS))}, with commas between",
            next_step="correct it where the processes get their environment (docs/deployment.md)",
        )
    return channels | {"log"}


def _key(home: Path, stated: str) -> str:
    """Where a key is: a relative path begins at the home, which may move."""
    return str(home / stated) if stated and ":" not in stated else stated


def _users(stated: str) -> tuple[str, ...]:
    """The names of EVERGREEN_AIRFLOW_USERS."""
    names = _listed(stated)
    for name in names:
        if not re.fullmatch(r"\w[\w.@+-]{0,99}", name) or name == ADMIN_USER:
            raise PermanentError(
                "reading EVERGREEN_AIRFLOW_USERS",
                found=shown(name),
                expected=f"names of letters, digits and . @ + - _, with commas between, none of them {ADMIN_USER}",
                next_step="correct it where the stack gets its environment (docs/deployment.md)",
            )
    return tuple(dict.fromkeys(names))


def _listed(stated: str) -> list[str]:
    return [name.strip() for name in stated.split(",") if name.strip()]


def _networks(stated: str) -> tuple[Network, ...]:
    """The networks of EVERGREEN_TRUSTED_PROXIES; an address alone is a network of one."""
    try:
        return tuple(ip_network(name) for name in _listed(stated))
    except ValueError as error:
        raise PermanentError(
            "reading EVERGREEN_TRUSTED_PROXIES",
            found=str(error),
            expected="addresses or networks (10.0.0.0/8), with commas between",
            next_step="correct it where the model server gets its environment (docs/deployment.md)",
        ) from error


def _number(env: dict[str, str], name: str, default: int, *, least: int = 0) -> int:
    stated = env.get(name, "").strip()
    if stated and not (stated.isascii() and stated.isdigit() and len(stated) < 13 and int(stated) >= least):
        raise PermanentError(
            f"reading {name}",
            found=shown(stated),
            expected=f"a whole number, {least} or more, of at most 12 digits",
            next_step="correct it where the processes get their environment (docs/deployment.md)",
        )
    return int(stated or default)


def _one_of(env: dict[str, str], name: str, allowed: tuple[str, ...]) -> str:
    """The setting's value; the first one where it is not set."""
    stated = env.get(name, "").strip() or allowed[0]
    if stated not in allowed:
        raise PermanentError(
            f"reading {name}",
            found=shown(stated),
            expected=" or ".join(allowed),
            next_step="correct it where the processes get their environment (docs/deployment.md)",
        )
    return stated


def read_environment_file(path: Path) -> dict[str, str]:
    """The `NAME=value` lines of a file; none when there is no such file.

    Raises:
        PermanentError: it is damaged, or may not be read.
    """
    variables: dict[str, str] = {}
    if not path.is_file():
        return variables
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(path, str(error)) from error
    for number, line in enumerate(lines, 1):
        name, equals, value = line.partition("=")
        if "\0" in line or (line.strip() and not line.startswith("#") and not (equals and name.strip().isidentifier())):
            # Nothing of it is shown: it may be the rest of a password, also before an `=`.
            raise _damaged(path, f"line {number} of {len(lines)} is none of these")
        if equals and not line.startswith("#"):
            variables[name.strip()] = value.strip()
    return variables


def _damaged(path: Path, found: str) -> PermanentError:
    return PermanentError(
        f"reading {path}",
        found=found,
        expected="lines NAME=value, as `evergreen up` wrote them, which this user may read",
        next_step=(
            "put the file back from a copy: it holds the passwords of the data. Without one, `evergreen reset` "
            "deletes both"
        ),
    )


def connection_uri(name: str) -> str:
    """The URI of an Airflow connection that stands in the environment, as a URI or as JSON.

    Raises:
        LookupError: AIRFLOW_CONN_<NAME> is not set.
        ValueError: it cannot be read; the message shows nothing of it.
    """
    stated = os.environ[f"AIRFLOW_CONN_{name.upper()}"]
    if not stated.lstrip().startswith("{"):
        return stated
    try:
        parts = json.loads(stated)
        extra = parts.get("extra") or {}
        extra = json.loads(extra) if isinstance(extra, str) else extra
        login, password, host, schema = (
            quote(parts.get(part) or "", safe="") for part in ("login", "password", "host", "schema")
        )
        user = f"{login}{':' if password else ''}{password}{'@' if login or password else ''}"
        address = f"{host}:{parts['port']}" if parts.get("port") else host
        return f"{parts.get('conn_type')}://{user}{address}/{schema}{'?' if extra else ''}{urlencode(extra)}"
    except (ValueError, TypeError, AttributeError):
        raise ValueError(f"AIRFLOW_CONN_{name.upper()} is no JSON of a connection") from None


@cache
def settings() -> Settings:
    """The settings of this process. Tests that change the environment call `settings.cache_clear()`."""
    return Settings.from_environment()
