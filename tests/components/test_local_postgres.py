"""The embedded Postgres is real, keeps to its own folders, and stops."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import psycopg
import pytest

from evergreen.addresses import free_port
from evergreen.errors import StackNotReady
from evergreen.local import postgres
from evergreen.local.processes import Processes, Service


def modes(path: Path) -> dict[Path, int]:
    return {parent: stat.S_IMODE(parent.stat().st_mode) for parent in path.parents}


def test_first_start_leaves_the_folders_above_as_they_were_and_stops(tmp_path: Path) -> None:
    home = tmp_path / "private" / "home"
    home.mkdir(parents=True)
    (tmp_path / "private").chmod(0o700)
    before = modes(home)
    cluster = postgres.cluster(home, free_port(), "secret")
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
        with pytest.raises(StackNotReady, match="EVERGREEN_POSTGRES_PASSWORD"):
            postgres.answers(cluster.url.replace("secret", "wrong"))
    finally:
        assert processes.stop("postgres") == ["postgres"]
        postgres.remove(cluster)
    assert modes(home) == before
    assert not processes.running("postgres")
    assert not postgres.refuge_folder(home).exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts Postgres as another user, which must reach its files")
def test_binaries_that_the_other_user_cannot_reach_run_from_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a clone below a folder that only its owner may enter."""
    monkeypatch.setattr(postgres, "_reachable", lambda _: False)
    cluster = postgres.cluster(tmp_path / "home", free_port(), "secret")
    assert postgres.refuge_folder(tmp_path / "home") in cluster.binaries.parents
    try:
        postgres.prepare(cluster)
        assert (cluster.data / "PG_VERSION").exists()
    finally:
        postgres.remove(cluster)


@pytest.mark.skipif(
    os.geteuid() != 0, reason="only root starts Postgres as another user, in the shared temporary folder"
)
@pytest.mark.parametrize("trap", ["link", "folder", "cluster"])
def test_what_somebody_else_put_in_the_way_is_not_taken(
    trap: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "private" / "home"
    home.mkdir(parents=True, mode=0o700)
    (tmp_path / "private").chmod(0o700)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    target = tmp_path / "target"
    target.mkdir()
    if trap == "link":
        postgres.refuge_folder(home).symlink_to(target)
    else:
        postgres.refuge_folder(home).mkdir()
        if trap == "cluster":  # as if Evergreen had made it
            (postgres.refuge_folder(home) / "data").mkdir()
            (postgres.refuge_folder(home) / "data" / "PG_VERSION").touch()
        os.chown(postgres.refuge_folder(home), 12345, -1)
    with pytest.raises(StackNotReady, match=r"is a link|owned by user 12345"):
        postgres.prepare(postgres.cluster(home, free_port(), "secret"))
    assert target.stat().st_uid == 0 and not any(target.iterdir())
