"""Writes batches into the landing zone, as an upstream system would: whole files that appear at once.

`<landing>/<model>/<source>/<YYYY-MM-DD>.csv`, in a folder or in S3 (`s3://bucket/prefix`; AWS_ENDPOINT_URL names another server).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd

from evergreen_simulator.delivery import World

MODEL = "churn"  # the model whose landing folder this business fills


def write_days(world: World, first: date, last: date, landing: str) -> Iterator[date]:
    """Write every day's batches and name each day when its batches are there. Faster than day by day."""
    for day, batches in world.batches(first, last):
        for source, batch in batches.items():
            _put(landing, f"{MODEL}/{source}/{day.isoformat()}.csv", as_csv(batch))
        yield day


def write_day(world: World, day: date, landing: str) -> None:
    """Write one day's batches. A batch that is there already is replaced, and never half seen."""
    for _ in write_days(world, day, day, landing):
        pass


def as_csv(batch: pd.DataFrame) -> bytes:
    """UTF-8, a header line, one line a row, empty cells for nulls."""
    text: str = batch.to_csv(index=False, lineterminator="\n")
    return text.encode()


def _put(landing: str, name: str, content: bytes) -> None:
    if not landing.startswith("s3://"):
        _put_file(Path(landing) / name, content)
        return
    import boto3  # takes half a second, and most landing zones are folders

    parts = urlsplit(landing)
    key = "/".join(part for part in (parts.path.strip("/"), name) if part)
    boto3.client("s3").put_object(Bucket=parts.netloc, Key=key, Body=content)  # shown when complete


def _put_file(path: Path, content: bytes) -> None:
    """Through a temporary name in the same folder, so that a reader or a kill never meets half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
