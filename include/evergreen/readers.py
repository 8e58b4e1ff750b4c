"""What reads the files of a format that is none of ours: a function of an installed package.

It is one entry point of the group `evergreen.readers`, whose name is what a source writes as its `format`:

    [project.entry-points."evergreen.readers"]
    fixed_width = "our_company.mainframe:read"

Specs are read where no heavy library may be loaded, so its module imports its libraries inside the function.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

GROUP = "evergreen.readers"
OURS = ("csv", "jsonl", "parquet")  # formats that need none
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")  # as a spec's names


class Reader(Protocol):
    """What the entry point names."""

    def __call__(self, file: BinaryIO, name: str) -> Iterable[pa.RecordBatch | Mapping[str, Any]]:
        """The rows of one file, in its order: batches of Arrow, or rows as Python's values by the columns' names.

        A batch of no rows says which columns there are, where a file has none. What it raises stops the batch of the
        source, with its words: let it say where in the file it was.

        Args:
            file: the file's bytes, from their start; within the bound of a batch.
            name: the file's name, without its folders.
        """


class ReaderUnusable(Exception):
    """A format that no source can have; its text says why, after the format's name."""


def names() -> tuple[str, ...]:
    """The names of all formats, ours first; nothing is imported."""
    return (*OURS, *sorted(_installed()))


def reader(name: str) -> Reader:
    """The reader of that name.

    Raises:
        ReaderUnusable: there is none, or its package does not bring one that can be used.
    """
    points = _installed().get(name, [])
    if not points:
        raise ReaderUnusable("no installed package brings it")
    if len(points) > 1:
        raise ReaderUnusable(f"several packages bring it: {', '.join(sorted(map(_package, points)))}")
    try:
        loaded = points[0].load()
    except Exception as error:  # whatever an import of foreign code raises costs this reader alone
        raise ReaderUnusable(f"{points[0].value} of {_package(points[0])}: {type(error).__name__}: {error}") from error
    if not callable(loaded):
        raise ReaderUnusable(f"{points[0].value} of {_package(points[0])} is no function")
    read: Reader = loaded
    return read


def package(name: str) -> str:
    """The package that brings a reader, as a message names it."""
    return ", ".join(map(_package, _installed().get(name, ())))


@cache
def _installed() -> dict[str, list[EntryPoint]]:
    """The entry points of other packages, by name."""
    by_name: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=GROUP):
        if point.name in OURS:
            log.warning(
                "%s brings a reader %s, which is the name of one of ours: it is not used", _package(point), point.name
            )
        elif not _NAME.fullmatch(point.name):
            log.warning("%s brings a reader %r, which is no name that a spec can write", _package(point), point.name)
        else:
            by_name.setdefault(point.name, []).append(point)
    return by_name


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unnamed package"
