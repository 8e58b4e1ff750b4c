"""What tells the contents of tables and partitions apart: a hash of their rows, whatever their order."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa


def content_hash(table: pa.Table) -> str:
    """A hash of columns, types and rows; the order of rows and columns, and chunking, do not matter.

    Each row is hashed by pandas (fixed key, the same in every process); rows are combined by sums, which have no order.
    """
    return _combined(table.schema, _row_hashes(table))


def content_hashes(table: pa.Table, partitions: Sequence[str]) -> tuple[str, dict[str, str]]:
    """The content hash of a table, and that of each partition's rows alone.

    Args:
        partitions: of each row.
    """
    hashes, (keys, of_row) = _row_hashes(table), np.unique(np.asarray(partitions, dtype=object), return_inverse=True)
    # A null changes how pandas holds, and so hashes, the other numbers of its column: those of other partitions too.
    anew = any(column.null_count for column in table.columns)
    by_partition = {}
    for number, key in enumerate(keys):
        its = of_row == number
        alone = _row_hashes(table.filter(pa.array(its))) if anew else hashes[its]
        by_partition[str(key)] = _combined(table.schema, alone)
    return _combined(table.schema, hashes), by_partition


def has_all(whole: pa.Table, rows: pa.Table) -> bool:
    """Whether a table has every row of another one with its columns, each as often at least."""
    # In one go: how pandas holds, and so hashes, a number depends on whether its column has a null.
    hashes = _row_hashes(pa.concat_tables([whole, rows.select(whole.column_names)]).combine_chunks())
    return not Counter(hashes[whole.num_rows :].tolist()) - Counter(hashes[: whole.num_rows].tolist())


def _row_hashes(table: pa.Table) -> npt.NDArray[np.uint64]:
    if not table.num_rows:
        return np.empty(0, np.uint64)
    # as floats, long numbers would look alike
    frame = table.select(sorted(table.column_names)).to_pandas(integer_object_nulls=True)
    return pd.util.hash_pandas_object(frame, index=False).to_numpy(np.uint64)  # type: ignore[return-value]  # pandas' stubs say nothing of the array's type


def _combined(schema: pa.Schema, hashes: npt.NDArray[np.uint64]) -> str:
    columns = [(name, str(schema.field(name).type)) for name in sorted(schema.names)]
    digest = hashlib.sha256(repr(columns).encode())
    if len(hashes):
        mixed = hashes * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
        for part in (len(hashes), int(hashes.sum(dtype=np.uint64)), int((mixed * mixed).sum(dtype=np.uint64))):
            digest.update(part.to_bytes(8, "little"))
    return digest.hexdigest()[:32]
