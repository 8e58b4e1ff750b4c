"""By which calendar a dataset's partitions were made: their keys mean nothing by another one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from evergreen.calendar import Calendar, Length
from evergreen.database import Table, connect
from evergreen.errors import CalendarChanged
from evergreen.lake.catalogue import TABLE as PARTITIONS
from evergreen.spec.dataset import DatasetSpec


@dataclass(frozen=True)
class Divided:
    """How the time of a dataset is divided since its first ingestion."""

    dataset: str  # its name
    every: Length  # how long an interval is
    zone: str  # the time zone, such as `Europe/Berlin`


TABLE = Table("calendars", Divided, key=("dataset",))


def claim(spec: DatasetSpec) -> None:
    """Record the calendar of a dataset, before its first partition is published.

    Raises:
        CalendarChanged: partitions of another one are published.
    """
    with connect() as connection:
        TABLE.insert(connection, [Divided(spec.name, spec.calendar.every, spec.calendar.zone)])
        (stored,) = TABLE.select(connection, "where dataset = %s", [spec.name])
        if Calendar(stored.every, stored.zone) == spec.calendar:
            return
        if PARTITIONS.select(connection, "where model = %s and layer = 'raw' limit 1", [spec.name]):
            raise _changed(spec, stored)
        TABLE.insert(connection, [Divided(spec.name, spec.calendar.every, spec.calendar.zone)], replace=True)


def check(datasets: Iterable[DatasetSpec]) -> None:
    """Raises `CalendarChanged` where one of some datasets was published by another calendar than it declares."""
    declared = {dataset.name: dataset for dataset in datasets}
    with connect() as connection:
        for stored in TABLE.select(connection, "where dataset = any(%s)", [list(declared)]):
            spec = declared[stored.dataset]
            if Calendar(stored.every, stored.zone) != spec.calendar:
                raise _changed(spec, stored)


def _changed(spec: DatasetSpec, stored: Divided) -> CalendarChanged:
    return CalendarChanged(
        f"looking at the calendar of {spec.name}",
        found=f"{spec.calendar.name} in {spec.file}",
        expected=f"{Calendar(stored.every, stored.zone).name}, by which its partitions are published",
        next_step=(
            f"put the calendar back in {spec.file}; for another one make a new dataset, with another name, and ingest "
            "its history"
        ),
    )
