"""`evergreen up` and `evergreen down`: Postgres, MLflow, the model server, the reports and Airflow on this machine."""

from __future__ import annotations

import getpass
import json
import os
import secrets
import shutil
import signal
import sys
from collections.abc import Collection
from pathlib import Path
from urllib.parse import urlsplit

from evergreen import exposure
from evergreen.addresses import is_loopback
from evergreen.airflow_client.objects import load_airflow_settings
from evergreen.errors import PermanentError, StackNotReady
from evergreen.lake import space
from evergreen.local import environment, lock, logins, permissions, ports, postgres
from evergreen.local.processes import Processes, Progress, Service
from evergreen.local.services import PARTS, SERVICES, part, services
from evergreen.settings import (
    ADMIN_USER,
    DATABASES,
    ENVIRONMENT_FILE,
    Settings,
    home_folder,
    read_environment_file,
    settings,
)

# Where a home from before keeps Airflow's password, too; it would come back from there.
_KEPT = {"EVERGREEN_AIRFLOW_PASSWORD": " and airflow/passwords.json beside it"}


def up(progress: Progress = print, *, replay: bool | None = None, only: Collection[str] = PARTS) -> Settings:
    """Start what is not running; returns the settings in force. Does nothing when all of it runs.

    Another command that changes this home's stack is waited for. What is interrupted stops what it has started; what
    fails leaves the rest running.

    Args:
        only: the parts to start, of `PARTS`; Postgres always.
        replay: whether the model server accepts a request's own `as_of`; None: as at the last start.

    Raises:
        PortTaken: naming the port and the setting that changes it.
        StackNotReady: a process did not come up, with the end of its log; or the home cannot be used.
    """
    home = home_folder()
    with lock.locked(home, "evergreen up", progress):
        settings.cache_clear()  # the command that was waited for may have chosen ports and passwords
        processes = Processes(home)
        before = [name for name in processes.names() if processes.running(name)]
        try:
            return _up(settings(), processes, progress, replay, only)
        except KeyboardInterrupt:
            _stop(processes, home, [name for name in processes.names() if name not in before])
            raise


def restart(parts: Collection[str], progress: Progress = print) -> Settings:
    """Stop the parts and start them again; what else was running answers at the end, as before.

    Raises:
        PortTaken, StackNotReady: as for `up`.
    """
    home = home_folder()
    with lock.locked(home, "evergreen restart", progress):
        _check_owner(home)
        processes = Processes(home)
        running = [name for name in processes.names() if processes.running(name)]
        # Airflow's processes end by themselves, sooner or later, once their database
        # is away; the other parts connect again.
        parts = {*parts, "airflow"} if "postgres" in parts and "airflow-scheduler" in running else {*parts}
        stopped = _stop(processes, home, [name for name in running if part(name) in parts])
        if stopped:
            progress(f"stopped: {', '.join(stopped)}")
        return up(progress, only={*parts, *map(part, running)})


def _up(
    here: Settings, processes: Processes, progress: Progress, replay: bool | None, only: Collection[str]
) -> Settings:
    _check_owner(here.home)
    check_exposed(here)
    if left := processes.end_strays(*postgres.orphans(here.home)):
        progress(f"ended what an earlier start left: {', '.join(left)}")
    names = ("postgres", *(name for name in SERVICES if part(name) in only))
    missing = {name for name in names if not processes.running(name)}
    ports.check(here, missing)
    here = up_database(here, progress, replay=replay)
    for line in (*space.warnings(space.places(here)), *weaknesses(here)):
        progress(f"WARNING: {line}")
    write_login(here)

    wanted = {name: service for name, service in services(here).items() if name in names}
    if "mlflow" in missing:
        progress("starting mlflow")
        processes.start(wanted["mlflow"])  # migrates its database while Airflow migrates its own
    commands = []
    if any(part(name) == "airflow" for name in missing):
        commands.append(
            Service(
                "airflow-migrate",
                [sys.executable, "-m", "airflow", "db", "migrate"],
                environment.of_service("airflow", here),
            )
        )
    if any(part(name) in ("airflow", "server") for name in missing):
        commands.append(
            Service("apply", [sys.executable, "-m", "evergreen", "apply"], environment.of_service("apply", here))
        )
    if commands:
        progress("database migrations, Feast registry")
        processes.run(*commands, progress=progress)  # both spend their time importing, each on a core
    if "mlflow" in wanted:
        processes.wait(wanted["mlflow"], progress)
    for name, service in wanted.items():
        if not processes.running(name):
            progress(f"starting {name}")
        processes.start(service)
    for name, service in wanted.items():
        processes.wait(service, progress)
        progress(f"{name} answers")
    if "airflow" in only:
        load_airflow_settings(here, here.project / "airflow_settings.yaml")
    return here


def check_exposed(here: Settings) -> None:
    """Refuse to listen beyond this machine with what somebody may guess; what is not set yet will be generated.

    Raises:
        PermanentError: naming the settings to change.
    """
    logins = _passwords(here)
    if not is_loopback(here.bind):
        exposure.check(f"the stack on {here.bind}", {name: value for name, value in logins.items() if value})


def _passwords(here: Settings) -> dict[str, str]:
    return {
        "EVERGREEN_AIRFLOW_PASSWORD": here.airflow_password or environment.password_of_before(here.home),
        "MLFLOW_TRACKING_PASSWORD": here.mlflow_password,
    }


def weaknesses(here: Settings) -> list[str]:
    """What is not as safe as it could be, and is the owner's to change: one line each."""
    elsewhere = {
        "EVERGREEN_LAKE": here.lake,
        "EVERGREEN_STAGING": here.staging,
        "EVERGREEN_LANDING": here.landing,
        "EVERGREEN_REPORTS": str(here.reports),
    }
    lines = permissions.readable_elsewhere(here.home, elsewhere)
    for name in exposure.weak(_passwords(here)):
        lines.append(
            f"{name} is a default or too weak for all who may reach this machine's ports: delete its line in "
            f"{here.home / ENVIRONMENT_FILE}{_KEPT.get(name, '')}, and `evergreen up` makes one (stop the stack first)"
        )
    if shared := sorted(set(DATABASES) - set(here.databases)):
        lines.append(
            f"every process has the login of EVERGREEN_DATABASE, which reaches {', '.join(shared)}: set "
            f"{', '.join(DATABASES[name] for name in shared)} for a login each (docs/deployment.md, Secrets)"
        )
    return lines


def up_database(here: Settings, progress: Progress = print, *, replay: bool | None = None) -> Settings:
    """The part of `up` that everything else stands on: what is remembered, Postgres, the databases."""
    here = _remember(here, here.replay if replay is None else replay, progress)
    permissions.close_to_others(here.home)
    if here.embedded_database:
        progress(f"Postgres on {_address(here.database)}")
        _start_postgres(here, Processes(here.home), progress)
    create_databases(here)
    return here


def create_databases(here: Settings) -> None:
    """The databases that are missing, each with its login where it has one of its own."""
    server = urlsplit(here.database).netloc.rpartition("@")[2]
    own = {name: url for name, url in here.databases.items() if urlsplit(url).netloc.rpartition("@")[2] == server}
    if own:
        logins.create_logins(here.database, own.values(), alone=here.database_alone)
    shared = [f"{here.database_prefix}{name}" for name in DATABASES if name not in here.databases]
    if shared:
        postgres.create_databases(here.database, shared)


def down(progress: Progress = print) -> list[str]:
    """Stop everything that `up` started, and what a killed one left; returns the names of what was running.

    A command that starts the stack meanwhile is asked to end.
    """
    home = home_folder()
    with lock.home_errors("stopping the stack", home):
        if not home.exists():
            return []
    with lock.locked(home, "evergreen down", progress, interrupt=True):
        processes = Processes(home)
        return _stop(processes, home, processes.names())


def _stop(processes: Processes, home: Path, names: Collection[str]) -> list[str]:
    others = [name for name in names if name != "postgres"]
    stopped = processes.stop(*others)  # they still write while they end
    if "postgres" in names:
        stopped += processes.stop("postgres")
    left = processes.end_strays(*postgres.orphans(home))
    return stopped + [name for name in left if name not in stopped]


def reset(progress: Progress = print, *, ours: bool = False) -> list[str]:
    """Stop everything and delete the home: data, models, databases, logs.

    Args:
        ours: the caller knows that the home may be deleted.

    Returns:
        What holds data of the stack and is not ours to delete: databases on a user's own
        server, a lake or landing zone elsewhere.

    Raises:
        PermanentError: the home is a folder that no stack wrote, or some of it cannot be deleted.
    """
    home = home_folder()
    with lock.home_errors("deleting the local stack", home):
        ours = ours or home.name == ".evergreen" or environment.is_home(home) or not lock.occupied(home)
    if not ours:
        raise PermanentError(
            "deleting the local stack",
            found=f"a folder {home} that no stack wrote, with something in it",
            expected="the home of a stack (EVERGREEN_HOME)",
            next_step="set EVERGREEN_HOME to it, or delete the folder by hand",
        )
    if not home.exists():
        return []
    with lock.locked(home, "evergreen reset", progress, interrupt=True):
        down(progress)
        try:
            here = settings()
        except PermanentError:  # the file of settings is damaged: nothing else can be known of what is elsewhere
            (home / ENVIRONMENT_FILE).unlink()
            here = settings()
        left = [place for place in (here.lake, here.landing) if not Path(place).is_relative_to(here.home)]
        if here.embedded_database:
            postgres.remove(_cluster(here))
        else:
            names = ", ".join(f"{here.database_prefix}{name}" for name in DATABASES)
            left.insert(0, f"the databases {names} on {_address(here.database)}")
        shutil.rmtree(home)
    settings.cache_clear()
    return left


def addresses(here: Settings, only: Collection[str] = PARTS) -> dict[str, str]:
    """Where each part answers that has a page."""
    file = here.home / ENVIRONMENT_FILE
    login = f"(login {ADMIN_USER}; its password is {{}} in {file})".format
    pages = {
        "airflow": ("Airflow", f"{here.airflow_url}  {login('EVERGREEN_AIRFLOW_PASSWORD')}"),
        "mlflow": ("MLflow", f"{here.mlflow_url}  {login('MLFLOW_TRACKING_PASSWORD')}"),
        "server": ("Model server", f"{here.server_url}/docs"),
        "reports": ("Reports", here.reports_url),
    }
    return dict(page for name, page in pages.items() if name in only)


def _wants_keys(here: Settings) -> bool:
    """Whether a new home gets keys that sign versions: not where others are set, nor where a database of before may
    have versions that nobody signed."""
    return here.embedded_database and not (here.signing_key or here.public_keys)


def _remember(here: Settings, replay: bool, progress: Progress) -> Settings:
    before = read_environment_file(here.home / ENVIRONMENT_FILE).get("MLFLOW_TRACKING_USERNAME")
    if before and before != here.mlflow_user:
        progress(
            f"WARNING: {before} is still an administrator of MLflow, with its password, beside "
            f"{here.mlflow_user}: delete that user as {here.mlflow_user} (docs/deployment.md, Secrets)"
        )
    chosen = {
        "EVERGREEN_AIRFLOW_PASSWORD": here.airflow_password,
        "MLFLOW_TRACKING_USERNAME": here.mlflow_user if here.mlflow_password else "",
        "MLFLOW_TRACKING_PASSWORD": here.mlflow_password,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": here.mlflow_secret_key,
    }
    new = environment.remember(
        here.home,
        {name: value for name, value in chosen.items() if value}
        | (environment.signing_keys(here.home) if _wants_keys(here) else {})
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
                f"the login of {of}: {ADMIN_USER} / {new[name]}  (kept as {name} in {here.home / ENVIRONMENT_FILE})"
            )
    return settings()


def _cluster(here: Settings) -> postgres.Cluster:
    parts = urlsplit(here.database)
    return postgres.cluster(here.home, parts.port or 5432, parts.password or "")


def _start_postgres(here: Settings, processes: Processes, progress: Progress) -> None:
    cluster = _cluster(here)
    if not processes.running("postgres"):
        postgres.prepare(cluster, processes.marked("initdb", {}))
        postgres.forget_the_dead(cluster)
    service = Service(
        "postgres",
        cluster.command(),
        {},
        lambda: postgres.answers(cluster.url),
        user=cluster.user,
        stop=signal.SIGINT,  # at once, in good order; SIGTERM would wait until every client has gone
    )
    processes.start(service)
    processes.wait(service, progress)


def _address(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}"


def write_login(here: Settings) -> None:
    """The file from which Airflow's simple login takes the passwords: of `admin`, and one that is made here, once, for
    each of its other users."""
    path = here.home / "airflow" / "passwords.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.chmod(0o600)
    known = json.loads(path.read_text() or "{}")
    others = {name: known.get(name) or secrets.token_urlsafe(18) for name in here.airflow_users}
    path.write_text(json.dumps({ADMIN_USER: here.airflow_password, **others}))


def _check_owner(home: Path) -> None:
    """Refuse a stack that another user has started: what root would write there, its owner could not use again."""
    file = home / ENVIRONMENT_FILE
    if file.exists() and (owner := file.stat().st_uid) != os.geteuid():
        raise StackNotReady(
            f"starting the stack of {home}",
            found=f"a home of {lock.user_name(owner)}",
            expected=f"one of {getpass.getuser()}, or none",
            next_step=f"do it as {lock.user_name(owner)}, or set EVERGREEN_HOME to another folder",
        )
