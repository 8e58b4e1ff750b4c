"""A file by the reader that an installed package brings (`evergreen.readers`), within the bounds of ours."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from typing import Any

import pyarrow as pa

from evergreen import readers
from evergreen.errors import EvergreenError
from evergreen.ingest import limits
from evergreen.ingest.columns import as_declared
from evergreen.ingest.fetched import is_no_cell
from evergreen.ingest.landing import Part
from evergreen.spec.dataset import Source

_ROWS = 10_000  # of a reader that gives single ones, in one batch


def read(part: Part, source: Source, room: int) -> pa.Table:
    """The rows of a file, of whatever types; their values have at most `room` bytes.

    Raises:
        BatchUnreadable: there is no such reader; it fails; it gives no rows of Arrow or Python, or columns that are not
            the declared ones, or types of which no cell can be made, or more than `room`.
    """
    called = f"the reader {source.format}"
    try:
        reader = readers.reader(source.format)
    except readers.ReaderUnusable as error:
        raise part.origin.unreadable(
            f"{called}: {error}",
            f"a format of {', '.join(readers.names())}",
            declare="one of these, or install the package where tasks run,",
        ) from error
    by = f"{called} of {readers.package(source.format)}"
    try:
        table = _table(part, _batches(reader(io.BytesIO(part.content), part.name)), room)
    except EvergreenError:
        raise
    except Exception as error:  # whatever foreign code raises of a file costs its batch, and is told with its name
        raise part.origin.unreadable(
            f"{by} fails: {type(error).__name__}: {error}", "a file that it reads", declare="another `format`"
        ) from error
    named = as_declared(table.column_names, source, part.origin)
    for field in table.schema:
        if is_no_cell(field.type):
            raise part.origin.unreadable(
                f"the column {field.name} of type {field.type}, by {by}",
                "columns of numbers, texts, times and truth values",
                declare="another `format`, or let the reader make text of it,",
            )
    return table.rename_columns([named[name] for name in table.column_names])


def _batches(given: Any) -> Iterator[pa.RecordBatch]:
    """Batches as they are, rows in batches. The first tells which of them a reader gives."""
    if isinstance(given, pa.Table):
        yield from given.to_batches() or [pa.RecordBatch.from_pylist([], given.schema)]
        return
    several = iter(given)
    first = next(several, None)
    if first is None:
        raise ValueError("it gives nothing, and so no columns; of a file without rows it gives a batch of none")
    several = chain([first], several)
    if isinstance(first, pa.RecordBatch):
        yield from several
        return
    while rows := [_row(row) for row in islice(several, _ROWS)]:
        columns = dict.fromkeys(chain.from_iterable(rows))
        yield pa.RecordBatch.from_pydict({name: [row.get(name) for row in rows] for name in columns})


def _row(row: Any) -> dict[str, Any]:
    if not isinstance(row, Mapping):
        raise TypeError(f"it gives {type(row).__name__}, neither a batch of Arrow nor a row by names")
    return dict(row)


def _table(part: Part, batches: Iterator[pa.RecordBatch], room: int) -> pa.Table:
    kept, size = [], 0
    for batch in batches:
        if not isinstance(batch, pa.RecordBatch):
            raise TypeError(f"it gives {type(batch).__name__} after a batch of Arrow")
        size += batch.nbytes + batch.num_rows * limits.ROW_COST
        if size > room:
            raise part.origin.too_large(f"rows of more than {room:,} bytes, by the reader")
        kept.append(pa.Table.from_batches([batch]))
    return pa.concat_tables(kept, promote_options="permissive")
