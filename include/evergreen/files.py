"""Files and folders that are whole or not there: written under another name, then renamed. What a
killed writer leaves is found, and removed.

A writer holds a lock on what it writes, which the system gives back when it dies, however it
dies: so what nobody holds is left over.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

_PARTIAL = ".partial"
_FOLDERS = "evergreen-work-"  # of ours, in the system's temporary folder
_YOUNG = 10.0  # seconds in which a writer that has just made its file surely holds it


@contextmanager
def whole(file: Path, *, mode: int = 0o666, durable: bool = False) -> Iterator[Path]:
    """The path to write to; it becomes `file` at the end of the block, and nothing after an error. Its folder is made.

    Args:
        mode: the file's rights, but for what the process's umask takes away.
        durable: a power failure leaves the old file or the new one.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(file)
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield partial
            if durable:  # else the rename may outlive a power failure, and the content not
                os.fsync(held.fileno())
            partial.replace(file)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """An empty folder to write into; it becomes `folder` at the end of the block, in the place
    of an old one, and nothing after an error.

    Only its owner may enter it, unless the block says otherwise. The folder above it is made.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(folder)
    partial.mkdir(mode=0o700)
    descriptor = os.open(partial, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield partial
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    finally:
        os.close(descriptor)
        shutil.rmtree(partial, ignore_errors=True)


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid4().hex}{_PARTIAL}")


@contextmanager
def work_folder(folder: Path | None = None) -> Iterator[Path]:
    """A temporary folder that is gone after the block; before it, what killed processes left of such folders is.

    Args:
        folder: a path that `new_work_folder` gave, in one block at a time; by default a new one.
    """
    _remove_work_folders(Path(tempfile.gettempdir()))
    folder = new_work_folder() if folder is None else folder
    folder.mkdir(mode=0o700)  # nobody else's: it fails where there is one
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield folder
    finally:
        os.close(descriptor)
        shutil.rmtree(folder, ignore_errors=True)


def new_work_folder() -> Path:
    """The path of a temporary folder that is not there yet, and whose name nobody guesses."""
    return Path(tempfile.gettempdir()) / f"{_FOLDERS}{uuid4().hex}"


def remove_partial(folder: Path) -> list[Path]:
    """Remove what killed writers left below a folder; returns it. What is being written stays."""
    left = [path for path in folder.rglob(f".*{_PARTIAL}") if _left_over(path)]
    for path in left:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return left


def remove_older(folder: Path, seconds: float) -> list[Path]:
    """Remove the files below a folder that nobody has written to for so long, and then the
    folders without any; returns the files."""
    before, removed = time.time() - seconds, []
    for here, _, names in os.walk(folder, topdown=False):
        for path in (Path(here, name) for name in names):
            with suppress(FileNotFoundError):
                if path.lstat().st_mtime < before:
                    path.unlink()
                    removed.append(path)
        if Path(here) != folder:
            with suppress(OSError):  # not empty, or gone
                Path(here).rmdir()
    return removed


def _remove_work_folders(folder: Path) -> None:
    for path in folder.glob(f"{_FOLDERS}*"):
        if _left_over(path):
            shutil.rmtree(path, ignore_errors=True)


def _left_over(path: Path) -> bool:
    """Whether a partial file or folder is ours, and its writer is dead."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # gone, or somebody else's
        return False
    try:
        state = os.fstat(descriptor)
        if state.st_uid != os.geteuid() or time.time() - state.st_mtime < _YOUNG:
            return False
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # held
        return False
    else:
        return True
    finally:
        os.close(descriptor)
