"""A full disk is told once, whoever meets it: with the folder and what is free; other errors stay what they are."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from evergreen.disk import existing, raising_disk_full
from evergreen.errors import BatchMissing, DiskFull, PermanentError, ServiceUnavailable
from evergreen.settings import settings


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("EVERGREEN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("EVERGREEN_DATABASE", "postgresql://me:secret@10.0.0.9:5432")
    settings.cache_clear()
    yield tmp_path / "home"
    settings.cache_clear()


def _told(error: Exception) -> str:
    with pytest.raises(DiskFull) as caught, raising_disk_full("running publish of churn"):
        raise error
    assert isinstance(caught.value, PermanentError) and caught.value.doing == "running publish of churn"
    assert "make room there" in caught.value.next_step
    return caught.value.found


def _of(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def test_whoever_says_it() -> None:
    assert _told(OSError(errno.ENOSPC, "No space left on device")).startswith("no room left: ")
    assert _told(OSError(errno.EDQUOT, "Disk quota exceeded")).startswith("the disk quota is used up: ")
    assert "the size that the system allows" in _told(OSError(errno.EFBIG, "File too large"))
    assert _told(RuntimeError("IO Error: Could not write: No space left on device")).startswith("no room left: ")
    away = ServiceUnavailable("talking", found="x", expected="y", next_step="z")
    assert (
        _told(_of(away, psycopg.errors.DiskFull("could not extend file")))
        == "no room left on the disk of the database 10.0.0.9:5432/evergreen"
    )


def test_the_folder_and_what_is_free_are_named(home: Path) -> None:
    home.mkdir()
    message = _told(OSError(errno.ENOSPC, "No space left on device", str(home / "staging" / "file")))
    assert message.endswith(f" files are free on the disk of {home / 'staging'}") and " bytes and " in message
    assert " are free on the disk of /" in _told(OSError(errno.ENOSPC, "No space left on device")), (
        "of one that we write to"
    )


def test_the_nearest_folder_that_is_there_stands_for_one_that_is_not(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert existing(tmp_path) == existing(tmp_path / "a" / "b") == tmp_path
    assert existing(tmp_path / "file" / "below") == tmp_path / "file"
    assert existing(Path("not", "there")) == Path.cwd()
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o000)
    assert existing(closed / "below") == closed


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EACCES, "Permission denied"),
        ZeroDivisionError(),
        BatchMissing("a", found="b", expected="c", next_step="d"),
    ],
)
def test_other_errors_stay_what_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, raising_disk_full("running"):
        raise error
    assert caught.value is error
