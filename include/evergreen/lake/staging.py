"""Files that pass from one task of a run to the next: Parquet below `<home>/staging`, whole or not there."""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from evergreen import files
from evergreen.errors import StagedFileGone
from evergreen.settings import settings

log = logging.getLogger(__name__)

KEPT = timedelta(days=14)  # no run lives as long; until then a single task of a run may be cleared


def path(model: str, partition: str, name: str) -> Path:
    """Where a run's file stands."""
    return settings().home / "staging" / model / partition / f"{name}.parquet"


def write(file: Path, table: pa.Table) -> str:
    """Write a file at once, whoever writes it beside us; returns its path as text, for XCom."""
    with files.whole(file) as partial:
        pq.write_table(table, partial)
    return str(file)


def read(file: str) -> pa.Table:
    """The table of a file.

    Raises:
        StagedFileGone: the file of a run that is long over, or was deleted.
    """
    try:
        return pq.read_table(file)
    except FileNotFoundError as error:
        raise StagedFileGone(
            f"reading what an earlier task of this run left in {file}",
            found="no such file",
            expected=f"a file of the last {KEPT.days} days",
            next_step="clear the run's first task and what follows it: it is written anew",
        ) from error


def clean(model: str) -> None:
    """Remove what killed attempts of a model's runs left half written, and what
    runs left that nobody works on any more."""
    folder = settings().home / "staging" / model
    partial, old = files.remove_partial(folder), files.remove_older(folder, KEPT.total_seconds())
    if partial or old:
        log.info(
            "Removed %d half-written files and %d older than %d days from %s", len(partial), len(old), KEPT.days, folder
        )
