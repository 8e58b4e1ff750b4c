"""A disk without room.

Whoever meets it (a library's writer, the database, ourselves), it becomes one error, with the folder and what is free.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from evergreen.errors import DiskFull
from evergreen.settings import settings

_ERRNOS = {
    errno.ENOSPC: "no room left",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "a file that reached the size that the system allows",
}
# How engines say it that raise errors of their own: DuckDB, Delta's writer, MLflow's server; Postgres by its class.
_WORDS = {
    "No space left on device": "no room left",
    "Disk quota exceeded": "the disk quota is used up",
    "File too large (os error": _ERRNOS[errno.EFBIG],
}
_OF_POSTGRES = "DiskFull"


@contextmanager
def raising_disk_full(doing: str) -> Iterator[None]:
    """Raises `DiskFull` for an error in the block that has no other reason; every other error stays as it is."""
    try:
        yield
    except DiskFull:
        raise
    except Exception as error:
        reason = _reason(error)
        if reason is None:
            raise
        raise DiskFull(
            doing,
            found=reason,
            expected="room to write",
            next_step="make room there, or give it a larger disk; then clear this task"
            " (or run the command again): nothing that is half written is ever read",
        ) from error


def free(folder: Path) -> str:
    """What is left on a folder's disk, for people; of a folder that is not there
    yet, on that of the nearest one above it."""
    space = os.statvfs(existing(folder))
    return f"{space.f_bavail * space.f_frsize:,} bytes and {space.f_favail:,} files are free on the disk of {folder}"


def existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there and may be looked at."""
    for each in (folder.absolute(), *folder.absolute().parents):
        with suppress(OSError):
            each.stat()
            return each
    return Path("/")


def _reason(error: BaseException) -> str | None:
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        if type(each).__name__ == _OF_POSTGRES:
            return f"no room left on the disk of the database {settings().database_url('evergreen').rpartition('@')[2]}"
        how = _ERRNOS.get(each.errno or 0) if isinstance(each, OSError) else None
        how = how or next((reason for words, reason in _WORDS.items() if words in str(each)), None)
        if how is not None:
            named = each.filename if isinstance(each, OSError) else None
            folder = Path(os.fsdecode(named)).absolute().parent if isinstance(named, str | bytes) else _fullest()
            return f"{how}: {free(folder)}"
        each = each.__cause__ or each.__context__
    return None


def _fullest() -> Path:
    """Of the folders that we write to, the one with the least room: an error that names no file met it there."""
    here = settings()
    local = [Path(place) for place in (here.lake, here.staging) if "://" not in place]
    folders = [here.home, here.reports, Path(tempfile.gettempdir()), *local]
    there = [existing(folder) for folder in folders]
    return min(
        zip(folders, there, strict=True), key=lambda pair: os.statvfs(pair[1]).f_bavail * os.statvfs(pair[1]).f_frsize
    )[0]
