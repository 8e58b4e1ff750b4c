"""Which missing intervals their owner has heard of: each is told once, whichever run sees it first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from evergreen.database import Stored, Table, connect


@dataclass(frozen=True)
class Alarm:
    """An interval that the owner was told is missing; gone again once it is there."""

    name: str  # of the dataset or model
    loop: str  # the loop that did not work on it, `ingest` or `monitor`
    partition: str  # the interval's key, such as `2026-01-05`
    at: Annotated[datetime | None, Stored(filled="default now()")] = None  # when it was told


TABLE = Table("alarms", Alarm, key=("name", "loop", "partition"))


def untold(name: str, loop: str, partitions: Sequence[str]) -> list[str]:
    """Those of the partitions that are missing which nobody has heard of. All others of the loop are forgotten: they
    are there now, and would be told again if they went missing again."""
    of_loop = "where name = %s and loop = %s"
    with connect() as connection:
        connection.execute(
            f"delete from {TABLE.name} {of_loop} and not partition = any(%s)".encode(), [name, loop, list(partitions)]
        )
        recorded = {alarm.partition for alarm in TABLE.select(connection, of_loop, [name, loop])}
    return [partition for partition in partitions if partition not in recorded]


def record(name: str, loop: str, partitions: Sequence[str]) -> None:
    """Say that the owner has heard of them."""
    with connect() as connection:
        TABLE.insert(connection, [Alarm(name, loop, partition) for partition in partitions])
