"""A lineage for a reader at a terminal, in stretches of partitions, and whole as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from evergreen.handovers.ingest import BatchFile
from evergreen.history.events import MadeFrom
from evergreen.history.telling import part_of
from evergreen.interval import from_to, runs
from evergreen.lineage.graph import Backward, DecisionMade, Forward, OfTable, Training

MOST = 8  # files, or states of partitions, that are listed of a table
NOT_RECORDED = "an earlier release published it, and did not write down what it was made from"


def backward(lineage: Backward) -> Iterator[str]:
    """Where a version or a decision comes from."""
    of = lineage.of
    if isinstance(of, Training):
        yield f"{training(of)}, as of {of.as_of:%Y-%m-%dT%H:%MZ}"
        yield f"  training set {of.content_hash} of training {of.key}{_taken_over(of)}"
    else:
        yield from _decision(of, lineage.changed)
    known = _known(lineage.tables)
    for table in lineage.tables:
        yield from _table(table, known)
        yield from _files(table)


def forward(lineage: Forward) -> Iterator[str]:
    """What became of a batch."""
    known = _known((*lineage.batch, *lineage.made))
    for table in lineage.batch:
        yield from _table(table, known)
        yield from _states(table)
    yield "made of it:"
    for table in lineage.made:
        yield f"  {table.table}: {stretches(table.partitions, known)} ({_count(len(table.partitions), 'partition')})"
    if not lineage.made:
        yield "  no partition of features, labels or predictions"
    for of in lineage.trainings:
        yield f"  {training(of)}, as of {of.as_of:%Y-%m-%dT%H:%MZ}"
    if not lineage.trainings:
        yield "  no training set"
    for made in lineage.decisions:
        yield f"  decision {made.decision_id} of {made.model} about {made.start:%Y-%m-%dT%H:%MZ}: {made.action}"
    if not lineage.decisions:
        yield "  no decision of a monitor"


def as_json(lineage: Backward | Forward) -> dict[str, Any]:
    """All of it: every partition, with its files and what else it was made from."""
    return dict(asdict(lineage))


def plain(value: object) -> object:
    """What JSON has no word for."""
    if isinstance(value, datetime):
        return value.isoformat()
    return value.model_dump() if isinstance(value, MadeFrom) else str(value)


def training(of: Training) -> str:
    """A training by the version that came of it."""
    if of.version is None:
        return f"training {of.key} of {of.model}, no version"
    return f"version {of.version} of {of.model}"


def stretches(partitions: Sequence[str], known: Sequence[str]) -> str:
    """Partitions as people write them: 2026-01-05, 2026-01-08..2026-01-11.

    Args:
        known: all that there are, in order: what follows one another there is a stretch.
    """
    place = {
        partition: number for number, partition in enumerate(key for key in known if len(key) == len(partitions[0]))
    }
    bounds = runs(partitions, lambda one, other: place[other] == place[one] + 1)
    return ", ".join(from_to(first, last) for first, last in bounds)


def _known(tables: Sequence[OfTable]) -> list[str]:
    """Every partition that a lineage names: of one calendar they are as long as one another."""
    named = [each.partitions for each in tables] + [read for each in tables for read in each.reads.values()]
    return sorted({partition for partitions in named for partition in partitions})


def _table(table: OfTable, known: Sequence[str]) -> Iterator[str]:
    partitions, version = table.partitions, "" if table.version is None else f", version {table.version}"
    yield f"{table.table}{version}: {stretches(partitions, known)} ({_count(len(partitions), 'partition')})"
    for name, read in table.reads.items():
        yield f"  from {name} {stretches(read, known)} ({_count(len(read), 'partition')})"
    if table.unknown:
        yield f"  {stretches(table.unknown, known)}: {NOT_RECORDED}"


def _files(table: OfTable) -> Iterator[str]:
    """The files and queries of a table's partitions."""
    files = {(file.name, file.sha256): file for each in table.published if each.inputs for file in each.inputs.files}
    if files:
        size = sum(file.size for file in files.values())
        yield f"  from {_count(len(files), 'file')} of {size:,} bytes"
        yield from _shortened([f"    {_file(file)}" for file in files.values()])
    queries = {each.inputs.query for each in table.published if each.inputs and each.inputs.query}
    for connection, statement in sorted({(query.connection, query.statement) for query in queries}):
        yield f"  from the connection {connection}, by the query with sha256 {statement}"
    versions: dict[int, int] = {}
    for each in table.published:
        for version, answers in (each.inputs.versions if each.inputs else {}).items():
            versions[version] = versions.get(version, 0) + answers
    if versions:
        answered = ", ".join(f"version {version} ({answers:,})" for version, answers in sorted(versions.items()))
        yield f"  answered by {answered}"


def _states(table: OfTable) -> Iterator[str]:
    lines = [
        f"  {each.partition}: {_count(each.rows, 'row')}, content hash {each.content_hash}, in version"
        f" {each.table_version} of the table"
        for each in table.published
    ]
    yield from _shortened(lines)
    yield from _files(table)


def _file(file: BatchFile) -> str:
    return f"{file.name}  {file.size:,} bytes  sha256 {file.sha256}"


def _decision(made: DecisionMade, changed: Sequence[str]) -> Iterator[str]:
    judged = "" if made.version is None else f", about version {made.version}"
    yield f"decision {made.decision_id} of {made.model} about {made.start:%Y-%m-%dT%H:%MZ}{judged}: {made.action}"
    if made.made_from is None:
        yield "  an earlier release made it, and did not write down what from"
        return
    for table, read in made.made_from.items():
        yield f"  {part_of(table, read)}{': recorded otherwise by now' if table in changed else ''}"


def _taken_over(of: Training) -> str:
    return ", as an earlier release wrote in MLflow" if of.taken_over else ""


def _shortened(lines: Sequence[str]) -> Iterable[str]:
    if len(lines) <= MOST:
        return lines
    return [*lines[: MOST - 1], f"    … {len(lines) - MOST} more, up to", lines[-1]]


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
