"""What reads the files of a format that is none of ours: a function of an installed package.

It is one entry point of the group `evergreen.readers`, whose name is what a source writes as its `format`:

    [project.entry-points."evergreen.readers"]
    fixed_width = "our_company.mainframe:read"

Specs are read where no heavy library may be loaded, so its module imports its libraries inside the function.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from evergreen import packages
from evergreen.packages import Unusable

if TYPE_CHECKING:
    import pyarrow as pa

GROUP = "evergreen.readers"
OURS = ("csv", "jsonl", "parquet")  # formats that need none


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


class ReaderUnusable(Unusable):
    """A format that no source can have; its text says why, after the format's name."""


def names() -> tuple[str, ...]:
    """The names of all formats, ours first; nothing is imported."""
    return (*OURS, *sorted(_installed()))


def reader(name: str) -> Reader:
    """The reader of that name.

    Raises:
        ReaderUnusable: there is none, or its package does not bring one that can be used.
    """
    point = packages.only(_installed().get(name, []), ReaderUnusable)
    try:
        loaded = point.load()
    except Exception as error:
        raise packages.failed(point, ReaderUnusable, error) from error
    if not callable(loaded):
        raise ReaderUnusable(f"{point.value} of {packages.package_of(point)} is no function")
    read: Reader = loaded
    return read


def package(name: str) -> str:
    """The package that brings a reader, as a message names it."""
    return ", ".join(map(packages.package_of, _installed().get(name, ())))


def _installed() -> dict[str, list[EntryPoint]]:
    return packages.brought(GROUP, "reader", OURS)
