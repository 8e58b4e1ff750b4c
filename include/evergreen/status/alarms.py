"""What an owner has heard of, missing intervals and problems of what serves: each is told once, whichever run sees it
first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from evergreen.database import Stored, Table, connect


@dataclass(frozen=True)
class Alarm:
    """What the owner was told is wrong; gone again once it is right."""

    name: str  # of the dataset or model
    loop: str  # the loop that did not work on an interval, `ingest` or `monitor`; `serving`: of what serves
    partition: str  # the interval's key, such as `2026-01-05`; of what serves, the problem
    at: Annotated[datetime | None, Stored(filled="default now()")] = None  # when it was told


TABLE = Table("alarms", Alarm, key=("name", "loop", "partition"))
SERVING = "serving"  # in the place of a loop
WINDOW = "alert"  # the same: of the newest telling about a window, the ledger's id
_LONGEST = 500  # characters of what is told that tell it apart: an index holds no long texts


def untold(name: str, loop: str, wrong: Sequence[str], *, complete: bool = True) -> list[str]:
    """Those of what is wrong now, such as partitions that are missing, which nobody has heard of. All others of the
    loop are forgotten: they are right now, and would be told again if they went wrong again.

    Args:
        complete: whether that is all that is wrong; else nothing is forgotten.
    """
    partitions = _kept(wrong)
    of_loop = "where name = %s and loop = %s"
    with connect() as connection:
        if complete:
            connection.execute(
                f"delete from {TABLE.name} {of_loop} and not partition = any(%s)".encode(),
                [name, loop, list(partitions)],
            )
        recorded = {alarm.partition for alarm in TABLE.select(connection, of_loop, [name, loop])}
    return [each for each, partition in zip(wrong, partitions, strict=True) if partition not in recorded]


def record(name: str, loop: str, told: Sequence[str]) -> None:
    """Say that the owner has heard of them."""
    with connect() as connection:
        TABLE.insert(connection, [Alarm(name, loop, partition) for partition in _kept(told)])


def _kept(wrong: Sequence[str]) -> list[str]:
    return [each.replace("\0", " ")[:_LONGEST] for each in wrong]
