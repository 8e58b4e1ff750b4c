"""The batches of a sample, as its source reads them: the file as it is, or dealt out to days where it has no time.

The loops learn from earlier intervals and evaluate on later ones. A file without time has none; so its rows are dealt
out to days by a hash of their key, or of their number, and what is split by time is split by that hash.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from evergreen.interval import DAY
from evergreen.onboarding.reading import Cells
from evergreen.onboarding.rules import PARTS, Draft


def batches(draft: Draft, cells: Cells) -> Iterator[tuple[str, bytes]]:
    """The path below the landing zone and the content of each file; none of rows that a query reads."""
    if draft.style != "batch":
        if cells.file is not None:
            yield draft.path, cells.file.read_bytes()
        return
    raw = {column.name: column.raw for column in draft.profile.columns}
    table = cells.table
    if draft.numbered:
        table = table.append_column(draft.key, pa.array(range(1, table.num_rows + 1)))
    names = [raw.get(name, name) for name in draft.identity]
    told = table.select(names).cast(pa.schema([(name, pa.string()) for name in names]), safe=False)
    parts = np.array([_part(row) for row in zip(*(column.to_pylist() for column in told.columns), strict=True)])
    for number in range(PARTS + 1):  # on the last day nothing arrives: the day before has its outcomes then
        day = draft.first_day + number * DAY
        rows = table.take(pa.array(np.flatnonzero(parts == number)))
        at = pa.array([f"{day}T00:00:00Z"] * rows.num_rows, pa.string())
        yield draft.path.replace("{partition}", str(day)), _written(draft, rows.append_column(draft.dealt, at))


def _part(key: tuple[str | None, ...]) -> int:
    digest = hashlib.sha256("\0".join(each or "" for each in key).encode()).digest()
    return int.from_bytes(digest[:4], "big") % PARTS


def _written(draft: Draft, rows: pa.Table) -> bytes:
    sink = io.BytesIO()
    if draft.profile.declared["format"] == "parquet":
        pyarrow.parquet.write_table(rows, sink)
    else:
        pyarrow.csv.write_csv(rows, sink)
    return sink.getvalue()
