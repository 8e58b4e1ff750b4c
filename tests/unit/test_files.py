"""Files are whole or not there; what killed writers leave is found, and what is being written is not touched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from evergreen import files

_HOLDING = """
import sys, time
from pathlib import Path
from evergreen import files
with {block} as place:
    ((place / "part") if place.is_dir() else place).write_text("half")
    print(place, flush=True)
    time.sleep(60)
"""


def _writer(block: str) -> tuple[subprocess.Popen[str], Path]:
    """Another process within a block, and what it writes."""
    writer = subprocess.Popen([sys.executable, "-c", _HOLDING.format(block=block)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    return writer, Path(writer.stdout.readline().strip())


def _killed(writer: subprocess.Popen[str]) -> None:
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert writer.stdout is not None
    writer.stdout.close()


def _aged(path: Path, seconds: float = 3600) -> Path:
    then = time.time() - seconds
    os.utime(path, (then, then))
    return path


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    file = tmp_path / "new" / "file.json"
    with files.whole(file) as partial:
        partial.write_text("one")
        assert not file.exists()
    with pytest.raises(ZeroDivisionError), files.whole(file) as partial:
        partial.write_text("two")
        raise ZeroDivisionError
    assert (file.read_text(), [each.name for each in file.parent.iterdir()]) == ("one", ["file.json"])


def test_what_a_killed_writer_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path: Path) -> None:
    writer, partial = _writer(f"files.whole(Path({str(tmp_path / 'deep' / 'file')!r}))")
    other = tmp_path / "file.partial"
    other.write_text("theirs")
    _aged(other)
    try:
        _aged(partial)
        assert files.remove_partial(tmp_path) == [] and partial.exists(), "it is being written, however long it takes"
    finally:
        _killed(writer)
    with files.whole(tmp_path / "young") as young:
        young.write_text("")
        assert files.remove_partial(tmp_path) == [partial]
        assert not partial.exists() and young.exists()
    assert other.exists(), "not a file of ours"


def test_a_killed_process_folder_is_removed_by_the_next_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    writer, folder = _writer("files.work_folder()")
    try:
        _aged(folder)
        with files.work_folder() as ours:
            assert folder.exists() and ours.parent == folder.parent == tmp_path
        assert not ours.exists()
    finally:
        _killed(writer)
    with files.work_folder():
        assert not folder.exists()


def test_nobody_else_is_followed_or_removed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    link = tmp_path / ".file.0.partial"
    link.symlink_to(tmp_path / "precious")
    os.mkfifo(tmp_path / ".pipe.partial")
    _aged(tmp_path / "precious")
    files.remove_partial(tmp_path)
    assert (tmp_path / "precious").exists() and link.is_symlink()


def test_old_files_go_and_young_ones_stay(tmp_path: Path) -> None:
    for name in ("a/b/old", "a/young", "c/d/old"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    removed = [_aged(tmp_path / name) for name in ("a/b/old", "c/d/old")]
    assert sorted(files.remove_older(tmp_path, 1800)) == removed
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == ["a", "a/young"]
    assert files.remove_older(tmp_path / "nowhere", 1) == []


def test_a_file_has_its_rights_from_the_start(tmp_path: Path) -> None:
    with files.whole(tmp_path / "secret", mode=0o600, durable=True) as partial:
        assert partial.stat().st_mode & 0o777 == 0o600
        partial.write_text("hush")
    assert ((tmp_path / "secret").stat().st_mode & 0o777, (tmp_path / "secret").read_text()) == (0o600, "hush")


def test_a_folder_is_whole_or_not_there_and_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    for content in ("one", "two"):
        with files.whole_folder(folder) as partial:
            assert partial.stat().st_mode & 0o777 == 0o700
            (partial / content).write_text(content)
    with pytest.raises(ZeroDivisionError), files.whole_folder(folder) as partial:
        (partial / "three").write_text("three")
        raise ZeroDivisionError
    assert ([each.name for each in folder.parent.iterdir()], [each.name for each in folder.iterdir()]) == (
        ["folder"],
        ["two"],
    )


def test_a_folder_that_a_killed_writer_left_is_removed_and_one_that_is_written_is_not(tmp_path: Path) -> None:
    writer, partial = _writer(f"files.whole_folder(Path({str(tmp_path / 'folder')!r}))")
    try:
        _aged(partial)
        assert files.remove_partial(tmp_path) == [] and (partial / "part").exists()
    finally:
        _killed(writer)
    _aged(partial)
    assert files.remove_partial(tmp_path) == [partial] and not partial.exists()
