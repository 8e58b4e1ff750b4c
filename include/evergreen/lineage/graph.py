"""What a lineage is: states of partitions, what they were made from, and what was made of them.

A frozen value that the tracing fills, a person reads (`telling`), and `--json` shows whole. It holds no key and no row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from evergreen.history.events import MadeFrom
from evergreen.lake.publications import Publication


@dataclass(frozen=True)
class OfTable:
    """States of partitions of one table, in order; `version`: of the table that was read, where one was."""

    table: str  # dataset/layer/name
    version: int | None
    published: tuple[Publication, ...]

    @property
    def partitions(self) -> list[str]:
        """Their keys, in order, each once."""
        return sorted({publication.partition for publication in self.published})

    @property
    def unknown(self) -> list[str]:
        """The partitions of which nobody wrote down what they were made from."""
        return sorted({each.partition for each in self.published if each.inputs is None})

    @property
    def reads(self) -> dict[str, list[str]]:
        """Table → its partitions that these were made from."""
        read: dict[str, set[str]] = {}
        for publication in self.published:
            for table, versions in (publication.inputs.partitions if publication.inputs else {}).items():
                read.setdefault(table, set()).update(versions)
        return {table: sorted(partitions) for table, partitions in sorted(read.items())}


@dataclass(frozen=True)
class Training:
    """A training set, and the version that came of it, if one did."""

    model: str
    version: int | None
    key: str
    as_of: datetime
    content_hash: str
    taken_over: bool  # from MLflow's tags, by a release that knows them


@dataclass(frozen=True)
class DecisionMade:
    """A decision of the monitor."""

    model: str
    decision_id: str
    start: datetime
    action: str
    version: int | None  # that was judged
    made_from: Mapping[str, MadeFrom] | None  # table → what of it; None: an earlier release did not write it down


@dataclass(frozen=True)
class Backward:
    """Where something comes from: the tables it was made from, and theirs, down to the sources."""

    of: Training | DecisionMade
    tables: tuple[OfTable, ...]  # that were read, and those that they were made from, the sources last
    # partitions → what was read of them is not what the record says; of a decision alone
    changed: tuple[str, ...] = ()

    @property
    def sources(self) -> tuple[OfTable, ...]:
        """The raw tables."""
        return tuple(each for each in self.tables if any(one.layer == "raw" for one in each.published))


@dataclass(frozen=True)
class Forward:
    """What became of a batch."""

    batch: tuple[OfTable, ...]
    made: tuple[OfTable, ...]  # partitions that were made of it
    trainings: tuple[Training, ...]
    decisions: tuple[DecisionMade, ...]


def of_tables(publications: Iterable[Publication], versions: Mapping[str, int] | None = None) -> tuple[OfTable, ...]:
    """Publications by table, each once and in order."""
    by_table: dict[str, dict[tuple[str, int], Publication]] = {}
    for each in publications:
        by_table.setdefault(str(each.table), {})[each.partition, each.table_version] = each
    return tuple(
        OfTable(table, (versions or {}).get(table), tuple(states[state] for state in sorted(states)))
        for table, states in by_table.items()
    )
