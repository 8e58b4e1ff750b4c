"""How a training set differs from the one before it."""

from __future__ import annotations

from evergreen.handovers.handover import Part


class Difference(Part):
    """By which partitions of its cutoffs a training set has other rows than the one that the same moment had before."""

    key: str
    """The training that had the earlier one."""
    added: tuple[str, ...]
    """Partitions of which only the new one has rows: they were ingested since."""
    changed: tuple[str, ...]
    """Partitions of which both have rows, and not the same."""
    removed: tuple[str, ...]
    """Partitions of which only the earlier one has rows."""

    def __str__(self) -> str:
        parts = {"added": self.added, "changed": self.changed, "removed": self.removed}
        said = [f"{name} {_shortened(partitions)}" for name, partitions in parts.items() if partitions]
        return f"other rows than training {self.key} had: {'; '.join(said)}"


def _shortened(partitions: tuple[str, ...], most: int = 10) -> str:
    more = len(partitions) - most
    return ", ".join(partitions[:most]) + (f" and {more} more up to {partitions[-1]}" if more > 0 else "")
