"""The files below a folder, of a disk or of an object store: listed, read, replaced whole and removed, by address."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from evergreen import files, filesystems, object_store


def below(folder: str, setting: str) -> list[str]:
    """The addresses of all files below a folder, in order; none when there is no such folder.

    Args:
        setting: the variable that says where the folder is; for messages.

    Raises:
        ServiceUnavailable, RequestRefused: of the object store.
    """
    if folder.startswith(object_store.SCHEME):
        try:
            with object_store.answering("listing files", folder, setting):
                return sorted(object_store.listed(f"{folder.rstrip('/')}/"))
        except FileNotFoundError as error:
            raise object_store.no_bucket("listing files", folder, setting) from error
    if filesystems.holds(folder):
        return filesystems.below(folder, setting)
    return sorted(f"{here}/{name}" for here, _, names in os.walk(folder) for name in names)


def read(file: str, setting: str) -> bytes:
    """The bytes of a file; raises FileNotFoundError, and what `below` raises."""
    if filesystems.holds(file):
        return filesystems.read(file, setting)
    if not file.startswith(object_store.SCHEME):
        return Path(file).read_bytes()
    with object_store.answering("reading a file", file, setting):
        return object_store.get(file)


def write(file: str, content: bytes, setting: str) -> None:
    """Replace a file, whole or not at all, with its rights; raises what `below` raises."""
    if filesystems.holds(file):
        filesystems.write(file, content, setting)
        return
    if file.startswith(object_store.SCHEME):
        with object_store.answering("writing a file", file, setting):
            object_store.put(file, content)
        return
    path = Path(file)
    with files.whole(path, mode=path.stat().st_mode & 0o777 if path.exists() else 0o666, durable=True) as partial:
        partial.write_bytes(content)


def remove(removed: Sequence[str], setting: str) -> None:
    """Remove files of one folder; one that is gone already is no mistake."""
    if removed and removed[0].startswith(object_store.SCHEME):
        with object_store.answering("removing files", removed[0], setting):
            object_store.remove(removed)
        return
    for file in removed:
        Path(file).unlink(missing_ok=True)
