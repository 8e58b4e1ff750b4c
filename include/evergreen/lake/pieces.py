"""Rows of a table piece by piece; and what a process that works on many intervals holds of tables (`keeping`).

An interval's features look back over weeks: of the files that they read, the interval before has read all but one. A
data file of Delta's never changes, and what is new in a table's log is asked each time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.dataset as ds
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from evergreen import keeping
from evergreen.spec.columns import PARTITION

_PIECE = 500_000  # rows that are held at once where a table is read bit by bit
_SHARE = 32  # a larger part of the room is not held: it would push out the others, and be gone when it is wanted
Files = Callable[[DeltaTable, Sequence[str]], ds.Dataset]  # of some partitions
Typed = Callable[[pa.Table], pa.Table]


def opened(path: str, opening: Callable[[], DeltaTable]) -> DeltaTable:
    """A table as its log says now: opened, or brought up to date where it is held."""
    holding = keeping.current()
    if holding is None:
        return opening()
    table: DeltaTable | None = holding.held(path)
    if table is not None:
        try:
            table.update_incremental()
        except DeltaError:  # it is another table by now
            table = None
    if table is None:
        table = opening()
        holding.hold(path, table)
    return table


def of(path: str, table: DeltaTable, partitions: Sequence[str], files: Files, typed: Typed) -> Iterator[pa.Table]:
    """The rows of some partitions, but never many more than `_PIECE` at once, or than are held of the table.

    Args:
        path: of the table.
        typed: what is done to what was read, before it is held.
    """
    holding = keeping.current()
    if holding is None:
        yield from map(typed, _read(files(table, partitions)))
        return
    sizes, known, unknown = dict[str, int](), dict[str, pa.Table](), dict[str, None]()
    for name, size, partition in _files(table, partitions):
        if (rows := holding.held((path, name))) is None:
            sizes[name] = size
            unknown[partition] = None
        else:
            known[name] = rows
    if known:
        yield pa.concat_tables(known.values())
    if not unknown:
        return
    found, large = files(table, [*unknown]), []
    for fragment in found.get_fragments():
        if fragment.path in known:
            continue
        if sizes.get(fragment.path, holding.room) * _SHARE > holding.room:
            large.append(fragment)
            continue
        rows = typed(_alone([fragment], found).to_table())
        holding.hold((path, fragment.path), rows, rows.nbytes)
        yield rows
    if large:
        yield from map(typed, _read(_alone(large, found)))


def _files(table: DeltaTable, partitions: Sequence[str]) -> Iterator[tuple[str, int, str]]:
    """Name, bytes and partition of each file of some partitions, as the table's log has them."""
    wanted = frozenset(partitions)
    actions = pa.table(table.get_add_actions(flatten=True))
    columns = (actions[name].to_pylist() for name in ("path", "size_bytes", f"partition.{PARTITION}"))
    for path, size, partition in zip(*columns, strict=True):
        if partition in wanted:
            yield unquote(path), size, partition


def _alone(fragments: Sequence[ds.Fragment], of_dataset: ds.FileSystemDataset) -> ds.Dataset:
    return ds.FileSystemDataset(fragments, of_dataset.schema, of_dataset.format, of_dataset.filesystem)


def _read(dataset: ds.Dataset) -> Iterator[pa.Table]:
    waiting: list[pa.RecordBatch] = []
    # What is read ahead is held beside the piece: a few of Parquet's row groups.
    for batch in dataset.scanner(batch_readahead=2, fragment_readahead=2).to_batches():
        waiting.append(batch)
        if sum(each.num_rows for each in waiting) >= _PIECE:
            yield pa.Table.from_batches(waiting)
            waiting = []
    if waiting:
        yield pa.Table.from_batches(waiting)
