"""Runs the ingest chain in processes that kill themselves at a chosen instant. Run as a script, which a test talks to.

Like Airflow's scheduler it imports the heavy libraries once and forks a process for each run,
so that a kill costs no start-up. It reads lines `day point` and answers each with how the process ended.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

import pyarrow.parquet as pq

import evergreen.features.online_values  # imported here, used only in the forked processes
import evergreen.validate.expectations  # noqa: F401 - loaded before the process is forked
from evergreen.lake import catalogue, partitions, staging, tables
from evergreen.lake.schema import LABELS, Partition

from .conftest import ingest, run_of


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def in_a_staged_file() -> None:
    """Half of the bytes are on the disk."""

    def write(table: Any, path: Any) -> None:
        pq.write_table(table, path)
        os.truncate(path, path.stat().st_size // 2)
        die()

    staging.pq = type("Parquet", (), {"write_table": staticmethod(write), "read_table": staticmethod(pq.read_table)})


def among_the_raw_tables() -> None:
    """Three tables are committed, the others are not."""
    replace, done = tables.replace, []

    def counting(*arguments: Any) -> int:
        if len(done) == 3:
            die()
        done.append(arguments)
        return replace(*arguments)

    tables.replace = counting


def before_the_record_of(layer: str, number: int = 1) -> Callable[[], None]:
    """The rows of a layer's n-th write are there, and the catalogue does not say so."""

    def patch() -> None:
        record, seen = catalogue.record, []

        def recording(*entries: catalogue.Entry, **options: Any) -> None:
            seen.extend(entry.layer for entry in entries if entry.layer == layer)
            if len(seen) >= number:
                die()
            record(*entries, **options)

        catalogue.record = recording

    return patch


def before_the_labels_are_written() -> None:
    replace = partitions.replace

    def replacing(partition: Partition, *arguments: Any, **options: Any) -> catalogue.Entry:
        if partition.table.layer == LABELS.layer:
            die()
        return replace(partition, *arguments, **options)

    partitions.replace = replacing


POINTS: dict[str, Callable[[], None]] = {
    "in a staged file": in_a_staged_file,
    "among the raw tables": among_the_raw_tables,
    "raw tables written, not recorded": before_the_record_of("raw"),
    "second view written, not recorded": before_the_record_of("features", 2),
    "before the labels are written": before_the_labels_are_written,
    "labels written, not recorded": before_the_record_of("labels"),
    "online values written, not recorded": before_the_record_of("online"),
}


def main() -> None:
    for line in sys.stdin:
        day, point = line.strip().split(" ", 1)
        process = os.fork()
        if process == 0:
            try:
                os.dup2(2, 1)
                POINTS[point]()
                ingest(run_of(int(day)))
            except BaseException:  # noqa: BLE001 - the process ends here, whatever happened
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(process, 0)
        ended = f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"status {os.WEXITSTATUS(status)}"
        print(ended, flush=True)


if __name__ == "__main__":
    main()
