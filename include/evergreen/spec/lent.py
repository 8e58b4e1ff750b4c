"""Databases in memory that a process keeps for its next uses: opening one takes as much CPU as a usual query.

Each use has a connection of its own, and what it made there, temporary tables and names of Arrow's tables, ends with
it. No two uses share a database at the same time, and so no memory. After an error it is closed.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import duckdb  # noqa: TID253 - for adapters and the runner of queries, as `spec.query`

from evergreen import files
from evergreen.spec.query import Room, connected

_KEPT = 3  # databases of a process: of its queries, of what it reads, and one more


@dataclass(frozen=True)
class _Kept:
    of: Hashable  # what it was opened with
    database: duckdb.DuckDBPyConnection
    folder: Path | None = None  # where it puts aside what it has no room for; it is there while it is used


_keeping = threading.Lock()
_kept: list[_Kept] = []  # the one that was used last comes last


@contextmanager
def lent(options: Mapping[str, str | bool | int | float]) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to an empty database in memory that was opened with some options; they must reach no file."""
    of = tuple(sorted(options.items()))
    with _used(_taken(of) or _Kept(of, duckdb.connect(config={**options}))) as connection:
        yield connection


@contextmanager
def lent_to_query(memory: int) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to an empty database as `spec.query.connected` opens it.

    Args:
        memory: bytes that the query and its rows may take; the rest is put aside.
    """
    if (kept := _taken(memory)) is None:
        folder = files.new_work_folder()
        kept = _Kept(memory, connected(Room(memory, folder)), folder)
    with _used(kept) as connection:
        yield connection


@contextmanager
def _used(kept: _Kept) -> Iterator[duckdb.DuckDBPyConnection]:
    folder = nullcontext() if kept.folder is None else files.work_folder(kept.folder)
    try:
        with folder, kept.database.cursor() as connection:
            yield connection
    except BaseException:
        kept.database.close()
        raise
    with _keeping:  # only now, when its folder is gone: the next use makes it anew
        _kept.append(kept)
        oldest = _kept.pop(0) if len(_kept) > _KEPT else None
    if oldest is not None:
        oldest.database.close()


def _taken(of: Hashable) -> _Kept | None:
    with _keeping:
        found = next((kept for kept in reversed(_kept) if kept.of == of), None)
        if found is not None:
            _kept.remove(found)
    return found


def _close() -> None:
    """A forked process has databases of its own: at its end it would wait for ever for the threads of its parent's."""
    with _keeping:
        closing, _kept[:] = [*_kept], []
    for each in closing:
        each.database.close()


def _forked() -> None:
    global _keeping
    _keeping = threading.Lock()  # somebody may have held it


os.register_at_fork(before=_close, after_in_child=_forked)
