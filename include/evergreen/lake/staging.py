"""Files that pass from one task of a run to the next: Parquet in a folder or on S3
(`EVERGREEN_STAGING`), whole or not there."""

from __future__ import annotations

import io
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from evergreen import files, object_store
from evergreen.errors import StagedFileGone
from evergreen.handovers.handover import Staged
from evergreen.settings import settings

log = logging.getLogger(__name__)

_SETTING = "EVERGREEN_STAGING"


@dataclass(frozen=True, kw_only=True)
class WorkingFile:
    """Which file of which run: `<dataset>/<run>/<name>`, or `<model>/…` where the run is a model's."""

    of: str  # the dataset or the model
    run: str  # the partition of the run's interval; of trainings `train`, whose files are named by their keys
    name: str  # habits, features/habits/2026-01-04

    @property
    def path(self) -> str:
        """Where it stands: a path, or an address `s3://…`."""
        return f"{_folder(self.of)}/{self.run}/{self.name}.parquet"


def write(working_file: WorkingFile, table: pa.Table, *, task: str) -> Staged:
    """Write a file at once, whoever writes it beside us.

    Args:
        working_file: replaced where it is there.
        task: the task that leaves it, by its name in the loop's wiring.

    Raises:
        ServiceUnavailable, RequestRefused: of the object store.
    """
    file = working_file.path
    if file.startswith(object_store.SCHEME):
        content = io.BytesIO()
        pq.write_table(table, content)
        doing = "writing a working file"
        try:
            with object_store.answering(doing, file, _SETTING):
                object_store.put(file, content.getvalue())
        except FileNotFoundError as error:
            raise object_store.no_bucket(doing, file, _SETTING) from error
    else:
        with files.whole(Path(file)) as partial:
            pq.write_table(table, partial)
    return Staged(path=file, rows=table.num_rows, task=task)


def read(staged: Staged) -> pa.Table:
    """The table of a file.

    Raises:
        StagedFileGone: the file of a run that is long over, or was deleted.
        ServiceUnavailable, RequestRefused: of the object store.
    """
    file, task = staged.path, staged.task
    doing = f"reading what the task {task} left in {file}"
    try:
        if not file.startswith(object_store.SCHEME):
            return pq.read_table(file)
        with object_store.answering(doing, file, _SETTING):
            content = object_store.get(file)
    except FileNotFoundError as error:
        kept = settings().staging_kept
        raise StagedFileGone(
            doing,
            found="no such file",
            expected=f"a file of the last {kept.days} days (EVERGREEN_STAGING_DAYS), where {_SETTING} says",
            next_step=(
                f"clear `{task}` of this run with what comes after it: the file is written anew (`evergreen run`: "
                f"begin with --from {task})"
            ),
        ) from error
    return pq.read_table(pa.BufferReader(content))


def clean(of: str) -> None:
    """Remove what killed attempts of the runs of a dataset or model left half written, and
    what is older than the retention, however its run ended."""
    folder, kept = _folder(of), settings().staging_kept
    if folder.startswith(object_store.SCHEME):
        doing = f"removing old working files of {of}"
        try:
            with object_store.answering(doing, folder, _SETTING):
                old = object_store.remove_older(f"{folder}/", datetime.now(UTC) - kept)
        except FileNotFoundError as error:
            raise object_store.no_bucket(doing, folder, _SETTING) from error
        partial = 0  # an object is whole or not there
    else:
        partial = len(files.remove_partial(Path(folder)))
        old = len(files.remove_older(Path(folder), kept.total_seconds()))
    if partial or old:
        log.info("Removed %d half-written files and %d older than %d days from %s", partial, old, kept.days, folder)


def _folder(of: str) -> str:
    return f"{object_store.without_connection(settings().staging, _SETTING).rstrip('/')}/{of}"
