"""The embedded Postgres is real, keeps to its own folders, and stops."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import psycopg

from evergreen.local import postgres
from evergreen.local.processes import Processes, Service


def modes(path: Path) -> dict[Path, int]:
    return {parent: stat.S_IMODE(parent.stat().st_mode) for parent in path.parents}


def test_first_start_leaves_the_folders_above_as_they_were_and_stops(tmp_path: Path) -> None:
    home = tmp_path / "private" / "home"
    home.mkdir(parents=True)
    (tmp_path / "private").chmod(0o700)
    before = modes(home)
    cluster = postgres.cluster(home, postgres.free_port(), "secret")
    postgres.prepare(cluster)
    service = Service(
        "postgres", cluster.command(), dict(os.environ), lambda: postgres.answers(cluster.url), 30, cluster.user
    )
    processes = Processes(home)
    try:
        processes.start(service)
        processes.wait(service)
        postgres.create_databases(cluster.url, ["one", "two"])
        postgres.create_databases(cluster.url, ["two", "three"])
        with psycopg.connect(f"{cluster.url}/three") as connection:
            assert connection.execute("select 1").fetchone() == (1,)
        assert not postgres.answers(cluster.url.replace("secret", "wrong"))
    finally:
        assert processes.stop("postgres") == ["postgres"]
        postgres.remove(cluster)
    assert modes(home) == before
    assert not processes.running("postgres")
    assert not postgres.refuge_folder(home).exists()
