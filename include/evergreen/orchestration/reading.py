"""What is read and written, as a collector of lineage names it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Dataset:
    """Something that a stage reads or writes."""

    namespace: str
    name: str
    columns: Mapping[str, str] = field(default_factory=dict)  # its declared columns, with their types
    version: str | None = None
    rows: int | None = None
    content_hash: str | None = None
    partitions: Mapping[str, str] = field(default_factory=dict)  # partition that was written → digest of its rows
    # column → what it is made of, where that is known: each a dataset and its column, unchanged
    same_as: Mapping[str, tuple[Dataset, str]] = field(default_factory=dict)
    made_of: tuple[Dataset, ...] = ()  # what decides about its rows as a whole


@dataclass(frozen=True)
class ReadAndWritten:
    """What a stage reads and writes."""

    inputs: Sequence[Dataset] = ()
    outputs: Sequence[Dataset] = ()
