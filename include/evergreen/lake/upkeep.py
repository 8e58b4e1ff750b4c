"""What keeps tables small: partitions dropped, small files put together, files removed that no kept version names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import TypeVar

from deltalake import DeltaTable

from evergreen import folders
from evergreen.errors import VersionGone
from evergreen.lake import tables
from evergreen.lake.schema import TableId
from evergreen.lake.tables import table_path
from evergreen.spec.columns import PARTITION

T = TypeVar("T")


def drop(table: TableId, partitions: Sequence[str]) -> None:
    """Let the newest version of a table be without some partitions; older versions have them still.

    Raises:
        WriteConflict: other writers kept replacing one of them.
    """
    quoted = ", ".join(f"'{key}'" for key in partitions)
    _act(table, "dropping partitions of", lambda opened: opened.delete(f"{PARTITION} in ({quoted})"))


def scattered(table: TableId) -> int:
    """How many partitions of a table have several files."""
    opened = tables.opened(table)
    folders_of = [] if opened is None else [file.rpartition("/")[0] for file in opened.file_uris()]
    return sum(count > 1 for count in Counter(folders_of).values())


def compact(table: TableId) -> int:
    """Put the small files of each partition together; no row changes. Returns how many files there are fewer.

    Raises:
        WriteConflict: other writers kept replacing partitions.
    """
    done = _act(table, "compacting", lambda opened: opened.optimize.compact())
    return 0 if done is None else int(done["numFilesRemoved"] - done["numFilesAdded"])


def vacuum(table: TableId, kept: timedelta, needed: Iterable[int], *, apply: bool) -> list[str]:
    """Remove the files that neither the newest version names, nor one that is needed, nor one that was the newest
    within `kept`; and those of killed writers that are as old. Returns their names.

    Args:
        needed: versions that somebody pinned; one that is gone already keeps nothing.
    """
    opened = tables.opened(table)
    if opened is None:
        return []
    readable = [version for version in sorted(set(needed)) if _readable(table, version)]
    options = {
        "retention_hours": kept // timedelta(hours=1),
        "enforce_retention_duration": False,
        "keep_versions": readable or None,
        "full": True,
    }
    # Delta names a file for as long as its log does, also once it is gone.
    there = {file.rpartition("/")[2] for file in folders.below(table_path(table), tables.SETTING)}
    removed = sorted({file.rpartition("/")[2] for file in opened.vacuum(dry_run=True, **options)} & there)
    if removed and apply:
        opened.vacuum(dry_run=False, **options)
    return removed


def _readable(table: TableId, version: int) -> bool:
    try:
        return tables.opened(table, version) is not None
    except VersionGone:
        return False


def _act(table: TableId, doing: str, act: Callable[[DeltaTable], T]) -> T | None:
    """What acting on the newest version of a table returns; None when there is no such table."""

    def commit() -> T | None:
        opened = tables.opened(table)
        return None if opened is None else act(opened)

    return tables.committed(doing, table_path(table), commit)
