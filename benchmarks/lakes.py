"""Days of the lake that are copies of another one, and what is opened of it: history that no benchmark has to wait
for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import deltalake.fs
import pyarrow as pa
import pyarrow.compute as pc

from evergreen import database
from evergreen.history import ledger
from evergreen.interval import Interval
from evergreen.lake import catalogue, partitions, tables
from evergreen.lake.schema import RAW, TableId
from evergreen.loops import inline
from evergreen.monitor import decisions, rules
from evergreen.run import Run
from evergreen.settings import settings
from evergreen.spec.load import load_dataset
from evergreen.spec.schema import ModelSpec


def repeat(table: TableId, day: Interval, offsets: Iterable[int], *, unique: str | None = None, every: int = 1) -> None:
    """Write and record copies of a day's partition so many days after it (before it, where negative), their times moved
    with them.

    Args:
        unique: a column of text whose values are to differ from day to day.
        every: only each so many days has rows.
    """
    stored = tables.read(table, [day.partition])
    assert stored is not None
    rows = stored.drop_columns(["partition"])
    for offset in offsets:
        copied = rows if offset % every == 0 else rows.slice(0, 0)
        moved = pa.scalar(timedelta(days=offset), pa.duration("us"))
        for at, field in enumerate(rows.schema):
            if pa.types.is_timestamp(field.type):
                copied = copied.set_column(at, field.name, pc.add(copied[field.name], moved))
            elif field.name == unique:
                named = pc.binary_join_element_wise(copied[field.name], pa.scalar(f"{offset}"), "/")
                copied = copied.set_column(at, field.name, named)
        there = Interval(day.start + timedelta(days=offset), day.end + timedelta(days=offset))
        catalogue.record(partitions.replace(table.at(there.partition), copied, known_at=there.end))


def publish_alike(name: str, day: Interval, days: int) -> None:
    """Publish a day of a dataset, and as many days before it that are like it; of what is billed weekly, each seventh.
    No feature is computed."""
    spec = load_dataset(settings().data / name)
    inline.run(inline.of(spec, day), "ingest", last="publish")
    for source, declared in spec.sources.items():
        unique = next((key for key in declared.keys if key != declared.event_time and len(declared.keys) == 1), None)
        every = 7 if source == "payments" else 1
        repeat(RAW.of(name, source), day, range(-days, 0), unique=unique, every=every)


def usual(interval: Interval) -> rules.Findings:
    """A window that is like the reference."""
    return rules.Findings(interval.start, interval.end, 1, 1, 1000)


def decide(spec: ModelSpec, intervals: Iterable[Interval]) -> None:
    """Write a decision about each of some windows into the ledger."""
    made = []
    for interval in intervals:
        drift = dict.fromkeys("abcdefghijklmnop", 0.02)
        decision = rules.decide(spec, rules.assess(usual(interval), []), rules.Known(), None, {"drift": drift})
        made.append(decisions.recorded(Run(spec, interval), decision, id=f"decided/{decision.id}"))
    ledger.append(*made)
    with database.connect() as connection:
        connection.execute("analyze ledger")  # as Postgres does by itself, after a minute


@contextmanager
def files_opened() -> Iterator[list[str]]:
    """The data files of the lake that are opened within the block, each time that one is."""
    opened: list[str] = []
    handler: Any = deltalake.fs.DeltaStorageHandler
    real = handler.open_input_file

    def open_input_file(self: object, path: str) -> object:
        opened.append(path)
        return real(self, path)

    handler.open_input_file = open_input_file
    try:
        yield opened
    finally:
        handler.open_input_file = real
