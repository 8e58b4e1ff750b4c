"""What adapters of databases share: rows that arrive block by block, their bounds in size and time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Thread

import pyarrow as pa

from evergreen.ingest import limits
from evergreen.ingest.origin import Origin

Row = Sequence[str | None]


def as_columns(names: Sequence[str], blocks: Iterable[Sequence[Row]], origin: Origin) -> pa.Table:
    """A table of text.

    Raises:
        BatchUnreadable: the rows have more bytes than a batch may; no further block is asked for.
    """
    kept: list[pa.RecordBatch] = []
    schema, size = pa.schema([(name, pa.string()) for name in names]), 0
    for block in blocks:
        columns = [pa.array(cells, pa.string()) for cells in zip(*block, strict=True)]
        kept.append(pa.RecordBatch.from_arrays(columns, schema=schema))
        size = bounded(size + kept[-1].nbytes, origin)
    return pa.Table.from_batches(kept, schema)


@contextmanager
def ending(interrupt: Callable[[], object], minutes: float) -> Iterator[None]:
    """Interrupt what is done within when it takes longer than that: again and again, since a client that is not yet
    at work passes over it."""
    done = Event()

    def watch() -> None:
        ended = done.wait(minutes * 60)
        while not ended:
            interrupt()
            ended = done.wait(1)

    watching = Thread(target=watch, daemon=True)
    watching.start()
    try:
        yield
    finally:
        done.set()
        watching.join()


def bounded(size: int, origin: Origin) -> int:
    """The size, if a batch may have it.

    Raises:
        BatchUnreadable: it is more than that.
    """
    if size > limits.batch():
        raise origin.too_large(f"rows of more than {limits.batch():,} bytes")
    return size


def is_no_cell(kind: pa.DataType) -> bool:
    """Whether no cell can be made of an Arrow type: of bytes, lists, spans of time."""
    of = pa.types
    return any(is_kind(kind) for is_kind in (of.is_nested, of.is_binary, of.is_large_binary, of.is_interval))
