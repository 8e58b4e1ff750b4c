"""How much of a batch is read at most: one bad file costs its batch, and not the worker's memory, disk or hours.

What the bytes of all parts of a batch may come to is a setting (`EVERGREEN_LARGEST_BATCH_MB`): a batch is held in
memory, and only its owner knows how much there is.
"""

from __future__ import annotations

from evergreen.settings import settings

PARTS = 10_000  # of a batch: each costs an opened file or a request, and a writer that makes more makes one per row
ROW = 16 << 20  # bytes of one line of text; a longer one is a file whose line ends or quotes are lost
ROW_COST = (
    16  # bytes that a row of Parquet counts for, beside its values: of nothing but nulls a few bytes hold billions
)
NAMES = 10  # columns that a message lists; a header of 100,000 is not repeated


def batch() -> int:
    """Bytes that a batch may have: its files together, as they lie and as they
    expand to, or the rows of its query as CSV."""
    return settings().largest_batch
