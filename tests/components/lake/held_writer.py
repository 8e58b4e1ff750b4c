"""A writer that stops between its data files and its commit, for a test to kill: run as a script.

Only the rows are slowed down: they reach Delta as a stream that never ends,
and each slice of it becomes a file at once. Everything else is `evergreen.lake.tables` and Delta's own writer.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from evergreen.lake import tables
from evergreen.lake.schema import RAW

ROWS = 40_000  # several slices of Delta's writer: those that the stream has let go of are on the disk


def rows(value: float) -> pa.Table:
    """The rows of a partition, by their value."""
    return pa.table({"number": range(ROWS), "value": [value] * ROWS})


def main(name: str, partition: str, value: str) -> None:
    write = tables.write_deltalake

    def held(target: Any, data: pa.Table, **options: Any) -> None:
        def stream() -> Iterator[pa.RecordBatch]:
            yield from data.to_batches(8192)
            print("held", flush=True)
            time.sleep(600)

        write(target, pa.RecordBatchReader.from_batches(data.schema, stream()), target_file_size=1, **options)

    tables.write_deltalake = held
    tables.replace(RAW.of("shop", name).at(partition), rows(float(value)))
    print("committed", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
