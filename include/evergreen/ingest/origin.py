"""Where the rows of a batch come from, as messages name it."""

from __future__ import annotations

from dataclasses import dataclass

from evergreen.errors import BatchUnreadable


@dataclass(frozen=True)
class Origin:
    """A file, or a query on a connection."""

    subject: str  # what the batch is: model/source of day
    name: str  # the file's URI, or the connection and the query's file
    correction: str = "ask the upstream system for a corrected file"

    @property
    def reading(self) -> str:
        """What an error says was being done."""
        return f"reading the batch of {self.subject} from {self.name}"

    def unreadable(self, found: str, expected: str, *, declare: str = "what it sends") -> BatchUnreadable:
        """The error that the batch cannot be read as declared; `declare` is what would help, and empty when nothing would."""
        otherwise = f", or declare {declare} in model.yaml; then" if declare else ", then"
        return BatchUnreadable(
            self.reading, found=found, expected=expected, next_step=f"{self.correction}{otherwise} clear this task"
        )
