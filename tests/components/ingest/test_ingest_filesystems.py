"""A landing zone that fsspec reads: as a folder's and S3's, files by name, changes noticed, and errors of ours."""

from __future__ import annotations

import errno
from datetime import timedelta
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from evergreen import folders
from evergreen.errors import (
    BatchChanging,
    BatchMissing,
    BatchUnreadable,
    EvergreenError,
    RequestRefused,
    ServiceUnavailable,
)
from evergreen.ingest import landing
from evergreen.settings import Settings, settings
from evergreen_simulator.landing import write_days

from .conftest import FIRST, WORLD, Json, churn, ingest, lake, run_of

SUBJECT = "shop/visits of 2026-01-01"


@pytest.fixture(params=["memory", "local"])
def zone(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "memory":
        return f"memory://{tmp_path.name}/landing"
    return f"local://{tmp_path}/landing"


def put(uri: str, content: bytes) -> None:
    system, path = fsspec.core.url_to_fs(uri)
    system.makedirs(path.rpartition("/")[0], exist_ok=True)
    system.pipe_file(path, content)


def read(zone: str, path: str = "{partition}.csv") -> list[landing.Part]:
    return landing.read(zone, path, "2026-01-01", SUBJECT)


def failure(kind: type[EvergreenError], zone: str, path: str = "{partition}.csv") -> EvergreenError:
    with pytest.raises(kind) as caught:
        read(zone, path)
    assert "reading the batch of shop/visits of 2026-01-01" in caught.value.doing
    return caught.value


def test_a_day_from_there_is_the_day_on_the_disk(
    home: Settings, reference: Json, zone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = tmp_path / "disk"
    for _ in write_days(WORLD, FIRST, FIRST + timedelta(days=0), str(disk)):
        pass
    for file in disk.rglob("*.csv"):
        put(f"{zone}/{file.relative_to(disk)}", file.read_bytes())
    monkeypatch.setenv("EVERGREEN_LANDING", zone)
    settings.cache_clear()
    ingest(run_of(0))
    stored = lake(churn())
    settings.cache_clear()
    assert stored == {name: reference["lake"][name] for name in stored}
    assert {name.split("/")[0] for name in stored} == {"raw", "quarantine", "features"}


def test_files_of_a_day_are_one_batch_by_name_and_others_are_left(zone: str) -> None:
    for name in ("part-2.csv", "part-1.csv", "part-3.csv.tmp", "_SUCCESS", "part-9.csv/inner"):
        put(f"{zone}/2026-01-01/{name}", name.encode())
    parts = read(zone, "{partition}/part-*.csv")
    assert [(part.name, part.content) for part in parts] == [
        ("part-1.csv", b"part-1.csv"),
        ("part-2.csv", b"part-2.csv"),
    ]
    assert parts[0].origin.name == f"{zone}/2026-01-01/part-1.csv"
    assert [part.name for part in read(zone, "{partition}/*")] == ["part-1.csv", "part-2.csv", "part-3.csv.tmp"]
    assert folders.read(parts[0].origin.name, "EVERGREEN_LANDING") == b"part-1.csv"
    assert len(folders.below(f"{zone}/2026-01-01", "EVERGREEN_LANDING")) == 5
    assert folders.below(f"{zone}/nowhere", "EVERGREEN_LANDING") == []


def test_what_is_not_there_is_a_missing_batch(zone: str) -> None:
    assert failure(BatchMissing, zone).expected == f"{zone}/2026-01-01.csv"
    assert failure(BatchMissing, zone, "{partition}/*.csv").expected == f"{zone}/2026-01-01/*.csv"
    put(f"{zone}/2026-01-01.csv/inner", b"x")
    assert failure(BatchUnreadable, zone).found == "a folder"


def test_a_file_larger_than_a_batch_is_told_before_it_is_fetched(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERGREEN_LARGEST_BATCH_MB", "1")
    settings.cache_clear()
    put(f"{zone}/2026-01-01.csv", b"x" * 1_000_001)
    assert failure(BatchUnreadable, zone).found == "1,000,001 bytes"
    settings.cache_clear()


@pytest.mark.parametrize("change", ["a longer one", "another one of its length", "one more"])
def test_a_batch_that_changes_while_it_is_read_is_tried_again(
    change: str, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("1.csv", "2.csv"):
        put(f"{zone}/2026-01-01/{name}", b"abc")
    system = fsspec.core.url_to_fs(zone)[0]
    opened, calls = type(system).open, []

    def and_written(self: Any, path: str, *args: Any, **options: Any) -> Any:
        if not calls and args[:1] == ("rb",):
            calls.append(path)
            name, content = {"a longer one": ("1.csv", b"abcd"), "another one of its length": ("1.csv", b"xyz")}.get(
                change, ("3.csv", b"abc")
            )
            monkeypatch.setattr(type(system), "open", opened)
            put(f"{zone}/2026-01-01/{name}", content)
        return opened(self, path, *args, **options)

    monkeypatch.setattr(type(system), "open", and_written)
    failure(BatchChanging, zone, "{partition}/*.csv")
    assert calls


class StatusError(Exception):
    """As the packages of object stores have them."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the store says {status}")
        self.status = status


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (StatusError(503), ServiceUnavailable),
        (StatusError(429), ServiceUnavailable),
        (StatusError(403), RequestRefused),
        (PermissionError("no"), RequestRefused),
        (TimeoutError("slow"), ServiceUnavailable),
        (OSError(errno.ECONNRESET, "reset"), ServiceUnavailable),
        (RuntimeError("odd"), ServiceUnavailable),
    ],
)
def test_what_a_store_says_becomes_an_error_of_ours(
    said: Exception, kind: type[EvergreenError], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise said

    monkeypatch.setattr(MemoryFileSystem, "info", refuse)
    error = failure(kind, "memory://zone")
    assert str(said) in error.found and "memory://" in error.found


def test_an_address_that_nothing_knows_says_what_to_install() -> None:
    assert "install gcsfs" in failure(RequestRefused, "gs://bucket").found
    assert "Protocol not known: nope" in failure(RequestRefused, "nope://bucket").found


def test_a_password_in_an_address_is_refused_and_not_shown() -> None:
    error = failure(RequestRefused, "sftp://me:geheim@host/landing")
    assert "geheim" not in str(error) and "FSSPEC_SFTP_PASSWORD" in error.next_step
