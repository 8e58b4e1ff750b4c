"""Rows in quarantine: how many there are and why, what stands in them, and which of them a person may release."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from evergreen.errors import RunError
from evergreen.ingest import batches
from evergreen.interval import Interval
from evergreen.lake import tables
from evergreen.lake.schema import QUARANTINE, REASONS, ROW, Partition
from evergreen.quoting import shown
from evergreen.run import DatasetRun
from evergreen.spec.columns import PARTITION
from evergreen.spec.dataset import DatasetSpec
from evergreen.validate import exemptions, judging, rules
from evergreen.validate.exemptions import Exemption
from evergreen.validate.expectations import Judge

_ARGUMENTS = re.compile(r"\((.*)\)$")  # of an expectation's name: the columns that it is about
_NEVER = {
    rules.UNPARSABLE: "a cell has no value of its declared type: let the sender correct the batch, or declare another "
    "type",
    rules.DUPLICATE: "the first row of the key is published: let the sender say which one is right",
    rules.FAR: "no window would count it: let the sender correct the time, or send it in the batch of its own interval",
    rules.NEVER_TRUE: "no query would see it: let the sender correct from when until when it is true",
}


@dataclass(frozen=True)
class Held:
    """What is in quarantine of an interval of a source."""

    partition: Partition
    rows: int
    reasons: Mapping[str, int]  # kind of reason → rows with it, the most frequent first
    released: int  # rows that a person released, and that are not there for it


@dataclass(frozen=True)
class Row:
    """A row in quarantine."""

    number: int  # its place in the batch, from 0
    keys: Mapping[str, Any]
    reasons: Mapping[str, Mapping[str, Any]]  # reason → column that it names → cell


@dataclass(frozen=True)
class Chosen:
    """Which rows are meant: those with one of some kinds of reason, or with one of some numbers; of neither: all."""

    reasons: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()

    def has(self, number: int, reasons: Sequence[str]) -> bool:
        """Whether a row is."""
        if self.numbers:
            return number in self.numbers
        return not self.reasons or any(rules.kind_of(reason) in self.reasons for reason in reasons)


@dataclass(frozen=True)
class Selection:
    """The rows that a release is about."""

    granted: tuple[Exemption, ...]  # rows that pass because of it
    sound: int  # rows that are not rejected any more, and are published without it
    refused: tuple[str, ...]  # what cannot be released, why, and what helps; in words

    @property
    def nothing(self) -> bool:
        """No row would leave the quarantine."""
        return not self.granted and not self.sound


def partition(spec: DatasetSpec, source: str, interval: Interval) -> Partition:
    """The quarantine of an interval of a source; raises RunError where the dataset has no such source."""
    if source not in spec.sources:
        raise RunError(
            f"looking for the source {shown(source)} of {spec.name}",
            found="no source of that name",
            expected=f"one of {', '.join(spec.sources)}",
            next_step="name one of them",
        )
    return QUARANTINE.of(spec.name, source).at(interval.partition)


def held(spec: DatasetSpec) -> Iterator[Held]:
    """What is in quarantine of a dataset, and what was released from it; by source and interval."""
    released = exemptions.counts(spec.name)
    for source in spec.sources:
        table = QUARANTINE.of(spec.name, source)
        rows = tables.read(table, columns=[PARTITION, REASONS.name])
        counts: dict[str, Counter[str]] = {key: Counter() for name, key in released if name == source}
        number: Counter[str] = Counter()
        for row in [] if rows is None else rows.to_pylist():
            number[row[PARTITION]] += 1
            kinds = map(rules.kind_of, _reasons(row[REASONS.name]))
            counts.setdefault(row[PARTITION], Counter()).update(kinds)
        for key, reasons in sorted(counts.items()):
            yield Held(table.at(key), number[key], dict(reasons.most_common()), released.get((source, key), 0))


def rows(spec: DatasetSpec, quarantine: Partition) -> list[Row]:
    """The rows in quarantine of an interval of a source, in the batch's order."""
    source = spec.sources[quarantine.table.name]
    return [
        Row(
            number=row[ROW.name],
            keys={key: row.get(key) for key in source.keys},
            reasons={
                reason: {column: row.get(column) for column in _columns(reason) if column in source.columns}
                for reason in _reasons(row[REASONS.name])
            },
        )
        for row in _stored(quarantine).to_pylist()
    ]


def select(run: DatasetRun, quarantine: Partition, chosen: Chosen) -> Selection:
    """Which rows leave the quarantine of the run's interval if some are released: the batch is read and judged anew.

    Raises:
        BatchMissing, BatchUnreadable, ConnectionUnknown, ServiceUnavailable: as `extract` does.
    """
    name, columns = quarantine.table.name, list(run.spec.sources[quarantine.table.name].columns)
    rejected = judging.batch(run, run.interval, name, batches.read(run, name).rows, Judge()).rejected
    failing: dict[str, list[str]] = {}
    hashes = exemptions.row_hashes(rejected, columns)
    for each, reasons in zip(hashes, rejected[REASONS.name].to_pylist(), strict=True):
        failing.setdefault(each, _reasons(reasons))  # of equal rows the first, whose key the others repeat
    stored = _stored(quarantine)
    granted: dict[str, Exemption] = {}
    sound, refused = 0, Counter[str]()
    for row, each in zip(stored.to_pylist(), exemptions.row_hashes(stored, columns), strict=True):
        if not chosen.has(row[ROW.name], _reasons(row[REASONS.name])):
            continue
        if each not in failing:
            sound += 1
        elif (never := rules.kind_of(failing[each][0])) in _NEVER:
            refused[never] += 1
        else:
            granted[each] = Exemption(
                dataset=run.spec.name,
                source=name,
                partition=quarantine.key,
                row_hash=each,
                reasons=failing[each],
                actor=run.triggered_by or run.actor,
                reason=run.reason,
            )
    texts = tuple(
        f"{kind}, {count} row{'' if count == 1 else 's'}, cannot be released: {_NEVER[kind]}"
        for kind, count in refused.items()
    )
    return Selection(tuple(granted.values()), sound, texts)


def _stored(quarantine: Partition) -> pa.Table:
    stored = tables.read(quarantine.table, [quarantine.key])
    if stored is None:
        return pa.table({ROW.name: pa.array([], pa.int64()), REASONS.name: pa.array([], pa.string())})
    return stored.sort_by(ROW.name)


def _reasons(text: str) -> list[str]:
    """The reasons of a row. One that could not be judged has a single one, whatever stands in it."""
    return [text] if rules.kind_of(text) in _NEVER else text.split("; ")


def _columns(reason: str) -> list[str]:
    arguments = _ARGUMENTS.search(reason)
    return [] if arguments is None else [name.strip() for name in arguments[1].split(",")]
