"""The one way to a file of a model's or dataset's folder: a regular file of the mount that the folder lies in, bounded,
in UTF-8.

Whoever may write to such a mount must not be able to hang a DAG file, to fill its memory or to have a file of the
machine read: a link is followed, but only to a place within the mount (git-sync and ConfigMaps link), and nothing but a
regular file is opened.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from evergreen.errors import SpecError
from evergreen.quoting import shown
from evergreen.spec.asked import noted
from evergreen.spec.dataset import Folder
from evergreen.spec.mistakes import Mistake, spec_error

MOST_BYTES = 1 << 20  # as much as a ConfigMap may hold
MOST_FOLDER_BYTES = 2 << 20  # of all files of a folder
MOST_FOLDER_NODES = 100_000  # of all YAML of a folder
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFLNK: "a link",
}


class Unreadable(Exception):
    """A file that is not read; `found` says why, and `missing` whether it is simply not there."""

    def __init__(self, found: str, *, missing: bool = False) -> None:
        super().__init__(found)
        self.found = found
        self.missing = missing


class TooMuch(Exception):
    """The files of a folder hold more than its budget; `found` and `allowed` as of a mistake."""

    def __init__(self, found: str, allowed: str) -> None:
        super().__init__(found)
        self.found = found
        self.allowed = allowed


@dataclass
class Budget:
    """What is left of what reading one folder may cost: each file counts as often as it is read, a broken one too."""

    bytes: int = MOST_FOLDER_BYTES
    nodes: int = MOST_FOLDER_NODES

    def spend(self, *, bytes: int = 0, nodes: int = 0) -> None:
        """Raises `TooMuch` when that was more than there was."""
        self.bytes -= bytes
        self.nodes -= nodes
        if self.bytes < 0:
            raise TooMuch("too many bytes in all files together", f"at most {MOST_FOLDER_BYTES:,} bytes in a folder")
        if self.nodes < 0:
            raise TooMuch("too many values in all YAML files together", f"at most {MOST_FOLDER_NODES:,} in a folder")


def text(path: Path, folder: Path, budget: Budget | None = None) -> str:
    """What a file of a folder says; line breaks are `\\n`.

    Args:
        folder: of a model or dataset; the folder that it lies in is the mount.
        budget: of the whole folder.

    Raises:
        Unreadable: there is no such file, it is not regular, outside of the mount, larger than 1
            MiB, not in UTF-8, or the system refuses.
        TooMuch: the budget does not suffice.
    """
    try:
        content = _content(path, folder)
    except FileNotFoundError as error:
        raise Unreadable("no such file", missing=True) from error
    except (
        OSError,
        RuntimeError,
        ValueError,
    ) as error:  # a circle of links is a RuntimeError, a NUL in a name a ValueError
        raise Unreadable(getattr(error, "strerror", None) or str(error)) from error
    if budget is not None:
        budget.spend(bytes=len(content))
    try:
        decoded = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Unreadable(f"bytes that are not UTF-8 at position {error.start}") from error
    if "\0" in decoded:
        raise Unreadable(f"a NUL character at position {decoded.index(chr(0))}")
    return decoded.replace("\r\n", "\n").replace("\r", "\n")


def query(spec: Folder, path: Path) -> str:
    """The query of a valid spec, read anew.

    Raises:
        SpecError: it cannot be read any more.
    """
    try:
        return text(path, spec.folder)
    except Unreadable as error:
        raise unreadable(spec, path, error, "a file with one SELECT") from error


def unreadable(spec: Folder, path: Path, error: Unreadable, expected: str) -> SpecError:
    """The error of a spec one of whose files cannot be read."""
    file = spec.relative(path)
    mistake = Mistake(file, "", error.found, expected, f"correct {file}")
    return spec_error(f"reading {path}", spec.name, [mistake])


@noted
def _content(path: Path, folder: Path) -> bytes:
    mount, real = folder.absolute().parent.resolve(), path.resolve(strict=True)
    if not real.is_relative_to(mount):
        raise Unreadable(f"a link to {shown(str(real))}, outside of the folder {shown(str(mount))}")
    file = _opened(real.relative_to(mount).parts, mount)
    try:
        state = os.fstat(file)
        _regular(state)
        if state.st_size > MOST_BYTES:
            raise Unreadable(f"{state.st_size:,} bytes; at most {MOST_BYTES:,} are read")
        content = bytearray()
        while block := os.read(file, MOST_BYTES + 1 - len(content)):  # it may grow while it is read
            content += block
            if len(content) > MOST_BYTES:
                raise Unreadable(f"more than {MOST_BYTES:,} bytes")
        return bytes(content)
    finally:
        os.close(file)


def _opened(parts: tuple[str, ...], mount: Path) -> int:
    """The descriptor of a file below the mount, step by step: no part of its path may
    have become a link since it was resolved."""
    at = os.open(mount, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            below = os.open(part, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
            os.close(at)
            at = below
        name = parts[-1] if parts else "."
        _regular(os.stat(name, dir_fd=at, follow_symlinks=False))  # opening a device may do something
        return os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY, dir_fd=at)
    finally:
        os.close(at)


def _regular(state: os.stat_result) -> None:
    if not stat.S_ISREG(state.st_mode):
        raise Unreadable(f"{_KINDS.get(stat.S_IFMT(state.st_mode), 'no regular file')}, where a file is read")
