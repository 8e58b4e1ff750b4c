"""How much space is left where Evergreen writes: on the disks of this machine, and in a database that has a bound.

A full disk stops everything at once: Postgres, and with it Airflow, MLflow and the server. So a reserve is kept that
predictions, which come as fast as clients ask, may not use.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from evergreen.database import connect
from evergreen.disk import existing
from evergreen.settings import Settings

LOW = 2  # times the reserve: from there on it is told
NEXT_STEP = "delete what docs/operator.md names under growth, or give it more space"


@dataclass(frozen=True)
class Place:
    """A disk, or the database `evergreen` with its bound."""

    name: str  # the parts that write there, and where
    free: int  # bytes
    reserve: int  # bytes that predictions leave free
    setting: str  # what moves the reserve or the bound
    database: bool  # predictions are written there

    @property
    def low(self) -> bool:
        """Little is left before the reserve."""
        return self.free < LOW * self.reserve

    @property
    def exhausted(self) -> bool:
        """Nothing but the reserve is left, or less."""
        return self.free < self.reserve

    def __str__(self) -> str:
        return f"{self.name} has {megabytes(self.free)} free, {megabytes(self.reserve)} is the reserve ({self.setting})"


def disks(here: Settings) -> list[Place]:
    """The disks that hold Evergreen's folders, each once; what is not a folder of this machine is not watched."""
    folders = {"Postgres": here.database_folder, "home": here.home, "lake": _local(here.lake)}
    parts_by_device: dict[int, list[tuple[str, Path]]] = {}
    for name, folder in folders.items():
        if folder is not None:
            there = existing(folder)
            parts_by_device.setdefault(there.stat().st_dev, []).append((name, there))
    places = []
    for parts in parts_by_device.values():
        names, state = [name for name, _ in parts], os.statvfs(parts[0][1])
        places.append(
            Place(
                f"the disk of {', '.join(names)} ({parts[0][1]})",
                state.f_bavail * state.f_frsize,
                here.disk_reserve,
                "EVERGREEN_DISK_RESERVE_MB",
                "Postgres" in names,
            )
        )
    return places


def database(here: Settings) -> Place | None:
    """The database `evergreen` against its bound; None when it has none.

    Raises:
        ServiceUnavailable: it does not answer.
    """
    if not here.database_bound:
        return None
    with connect() as connection:
        (size,) = connection.execute("select pg_database_size(current_database())").fetchone() or (0,)
    bound = here.database_bound
    # The reserve is a tenth: it is told at four fifths, predictions end at nine tenths, the loops' own few rows go on.
    name = f"the database `{here.database_prefix}evergreen`, bounded to {megabytes(bound)},"
    return Place(name, max(0, bound - size), bound // 10, "EVERGREEN_DATABASE_BOUND_MB", True)


def places(here: Settings) -> list[Place]:
    """All that is watched.

    Raises:
        ServiceUnavailable: a database with a bound does not answer.
    """
    bounded = database(here)
    return [*disks(here), *([] if bounded is None else [bounded])]


def warnings(watched: Iterable[Place]) -> list[str]:
    """What owners and operators should know: one line for each place with little space left."""
    return [
        (
            f"{place}: "
            f"{'predictions are refused' if place.exhausted and place.database else 'it is nearly used up'}; "
            f"{NEXT_STEP}"
        )
        for place in watched
        if place.low
    ]


def megabytes(size: int) -> str:
    """Bytes, for people."""
    return f"{size / 1_000_000:,.0f} MB"


def _local(location: str) -> Path | None:
    return None if "://" in location else Path(location)
