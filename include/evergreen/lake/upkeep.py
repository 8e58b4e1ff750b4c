"""What keeps tables small: partitions dropped, small files put together, files removed that no kept version names."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta

from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError

from evergreen import folders
from evergreen.errors import VersionGone, WriteConflict
from evergreen.lake import tables
from evergreen.lake.schema import TableId
from evergreen.lake.tables import table_path
from evergreen.spec.columns import PARTITION

_ATTEMPTS = 6


def drop(table: TableId, partitions: Sequence[str]) -> None:
    """Let the newest version of a table be without some partitions; older versions have them still.

    Raises:
        WriteConflict: other writers kept replacing one of them.
    """
    quoted = ", ".join(f"'{key}'" for key in partitions)
    _alone(table, "dropping partitions of", lambda opened: opened.delete(f"{PARTITION} in ({quoted})"))


def scattered(table: TableId) -> int:
    """How many partitions of a table have several files."""
    opened = tables.opened(table)
    if opened is None:
        return 0
    keys = [key for key, count in _files(opened).items() if count > 1]
    return len(keys)


def compact(table: TableId) -> int:
    """Put the small files of each partition together; no row changes. Returns how many files there are fewer.

    Raises:
        WriteConflict: other writers kept replacing partitions.
    """
    fewer = 0

    def together(opened: DeltaTable) -> None:
        nonlocal fewer
        done = opened.optimize.compact()
        fewer = done["numFilesRemoved"] - done["numFilesAdded"]

    _alone(table, "compacting", together)
    return fewer


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


def _files(opened: DeltaTable) -> dict[str, int]:
    counts: dict[str, int] = {}
    for file in opened.file_uris():
        folder = file.rpartition("/")[0]
        counts[folder] = counts.get(folder, 0) + 1
    return counts


def _alone(table: TableId, doing: str, act: Callable[[DeltaTable], object]) -> None:
    """Act on a table; again where another writer was faster."""
    failure: DeltaError | None = None
    for attempt in range(_ATTEMPTS):
        opened = tables.opened(table)
        if opened is None:
            return
        try:
            act(opened)
        except CommitFailedError as error:
            failure = error
            time.sleep(0.05 * 2**attempt)
        else:
            return
    raise WriteConflict(
        f"{doing} {table_path(table)}",
        found=f"{_ATTEMPTS} conflicts, the last one: {failure}",
        expected="a moment without another writer of the same partitions",
        next_step="clear this task",
    ) from failure
