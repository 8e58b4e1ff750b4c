"""Writes the business's batches into the landing zone: `<landing>/churn/<source>/<YYYY-MM-DD>.csv`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import pandas as pd

from evergreen_simulator.delivery import World
from evergreen_simulator.upload import put

MODEL = "churn"  # the model whose landing folder this business fills


def write_days(world: World, first: date, last: date, landing: str) -> Iterator[date]:
    """Write every day's batches and name each day when its batches are there. Faster than day by day."""
    for day, batches in world.batches(first, last):
        for source, batch in batches.items():
            put(landing, f"{MODEL}/{source}/{day.isoformat()}.csv", as_csv(batch))
        yield day


def write_day(world: World, day: date, landing: str) -> None:
    """Write one day's batches. A batch that is there already is replaced, and never half seen."""
    for _ in write_days(world, day, day, landing):
        pass


def as_csv(batch: pd.DataFrame) -> bytes:
    """UTF-8, a header line, one line per row, empty cells for nulls."""
    text: str = batch.to_csv(index=False, lineterminator="\n")
    return text.encode()
