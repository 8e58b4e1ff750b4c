"""What a batch would bring back of those who were erased after it was published (docs/adr/0038).

Nobody keeps whose rows an erasure removed. A batch whose rows are those that were published says nothing new: what the
erasure left stays. One with other rows is published whole, and may bring somebody back.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from evergreen.lake import hashing, tables
from evergreen.lake.catalogue import Lacking
from evergreen.lake.schema import Partition
from evergreen.spec.dataset import DatasetSpec


def stays(lacking: Lacking, rows: pa.Table) -> bool:
    """Whether a batch is what was published of a partition, of which the lake has all that the erasure left.

    Args:
        rows: that the partition would have.
    """
    entry = lacking.entry
    if entry.content_hash != hashing.content_hash(rows):
        return False
    left = _left(entry.of)
    return left is not None and left.num_rows == entry.rows and hashing.has_all(rows, left)


def coming_back(spec: DatasetSpec, lacking: Lacking, rows: pa.Table) -> int:
    """How many rows of a batch may be of somebody whom an erasure removed from its partition: those of keys that the
    partition has no row of."""
    left, back = _left(lacking.entry.of), pa.array([False] * rows.num_rows)
    for column in (name for name in spec.keys if name in rows.column_names):
        known = pa.nulls(0) if left is None else left[column].combine_chunks()
        new = pc.invert(pc.is_in(rows[column], value_set=known.cast(rows[column].type)))
        back = pc.or_(back, pc.and_(new, pc.is_valid(rows[column])))
    return int(pc.sum(back).as_py() or 0)


def warning(name: str, lacking: Lacking, rows: int) -> str:
    """What the owner is told when a batch may have brought somebody back."""
    return (
        f"{name}: an erasure had removed {lacking.gone} rows of this interval, and its batch, which is another one "
        f"now, has {rows} rows of keys that were not there: if they are of who was erased, have them taken out of the "
        "batch, and give `evergreen erase` again"
    )


def _left(partition: Partition) -> pa.Table | None:
    return tables.read(partition.table, [partition.key])
