"""Where the rows of a batch come from, as messages name it."""

from __future__ import annotations

from dataclasses import dataclass

from evergreen.errors import BatchUnreadable
from evergreen.ingest import limits
from evergreen.quoting import shown
from evergreen.settings import MEGABYTE


@dataclass(frozen=True)
class Origin:
    """A file, or a query on a connection."""

    subject: str  # what the batch is: dataset/source of day
    name: str  # the file's URI, or the connection and the query's file
    correction: str = "ask the upstream system for a corrected file"

    @property
    def reading(self) -> str:
        """What an error says was being done."""
        return f"reading the batch of {self.subject} from {address(self.name)}"

    def unreadable(self, found: str, expected: str, *, declare: str = "what it sends", by: str = "") -> BatchUnreadable:
        """The error that the batch cannot be read as declared; `declare` is what
        would help, and empty when nothing would; `by` is how it is corrected."""
        how = f": {by}" if by else ""
        otherwise = f", or declare {declare} for the source; then" if declare else ", then"
        return BatchUnreadable(
            self.reading,
            found=found,
            expected=expected,
            next_step=f"{self.correction}{how}{otherwise} clear this task",
        )

    def too_large(self, found: str) -> BatchUnreadable:
        """The error that the batch has more bytes than are read; `found` says how many, and of what."""
        return BatchUnreadable(
            self.reading,
            found=found,
            expected=f"at most {limits.batch() // MEGABYTE:,} MB for the whole day (EVERGREEN_LARGEST_BATCH_MB)",
            next_step=(
                "see whether this is the day's data, and no more. If it is, set EVERGREEN_LARGEST_BATCH_MB higher "
                "where workers have seven times as much memory, or cut the source into several; then clear this task"
            ),
        )


def address(uri: str) -> str:
    """A path or URI as a message shows it: to be copied as it is, unless something in it cannot be seen."""
    quoted = shown(uri, limit=2000)
    return uri if quoted == f"'{uri}'" else quoted
