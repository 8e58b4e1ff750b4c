"""Ways to make rows of the prediction log durable, each with the encoding of its rows."""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg import pq

from benchmarks.document import duration, table
from benchmarks.measure import in_turns
from evergreen.database import arrays
from evergreen.serve import commits
from evergreen.serve.drafts import days_of
from evergreen.serve.predictions import TABLE, Prediction, connected, encoded, make_tables

SIZES = {1: 300, 8: 300, 50: 100, 1000: 20}  # rows at once → times
Rows = Callable[[int], list[Prediction]]


def run(model: str, features: dict[str, dict[str, Any]], folder: Path) -> str:
    """The table: medians of each way, in turns."""
    keys, now = list(features), datetime.now(UTC)

    def rows(size: int) -> list[Prediction]:
        request = os.urandom(16).hex()
        return [
            Prediction(
                model, 1, request, at, keys[at % len(keys)], now, now, features[keys[at % len(keys)]], 0.5,
                decided="1", role="champion", seconds=0.001,
            )
            for at in range(size)
        ]  # fmt: skip

    with connected() as connection, connected() as prepared, _segment(folder) as append:
        make_tables(connection, days_of(rows(1)))
        prepared.pgconn.prepare(b"log", commits.NUMBERED.encode())
        ways: dict[str, Callable[[int], object]] = {
            "`insert … select from unnest`, arrays by psycopg": lambda size: TABLE.insert(connection, rows(size)),
            "the same, prepared, no rule for rows that are there, arrays by `database.arrays`": lambda size: _insert(
                prepared, rows(size)
            ),
            "binary `COPY`": lambda size: _copy(connection, rows(size)),
            "a file of this machine, appended and `fdatasync`ed": lambda size: append(rows(size)),
        }
        columns = []
        for size, times in SIZES.items():
            spent = in_turns(*[lambda way=way: way(size) for way in ways.values()], rounds=times)  # type: ignore[misc]  # noqa: B023
            columns.append([duration(statistics.median(each)) for each in spent])
    return table(("way", *(f"{size:,} rows" for size in SIZES)), zip(ways, *columns, strict=True))


def _insert(connection: psycopg.Connection, rows: list[Prediction]) -> None:
    values = encoded(rows)
    done = connection.pgconn.exec_prepared(b"log", values, [1] * len(values))
    assert done.status == pq.ExecStatus.COMMAND_OK, done.error_message


def _copied(rows: list[Prediction]) -> bytes:
    columns = [[getattr(row, column.name) for row in rows] for column in TABLE.inserted]
    return arrays.COPY_HEAD + arrays.rows([column.kind for column in TABLE.inserted], columns) + arrays.COPY_TAIL


def _copy(connection: psycopg.Connection, rows: list[Prediction]) -> None:
    with connection.cursor() as cursor, cursor.copy(TABLE.copying.encode()) as copy:
        copy.write(_copied(rows))


@contextmanager
def _segment(folder: Path) -> Iterator[Callable[[list[Prediction]], None]]:
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:

        def append(rows: list[Prediction]) -> None:
            file.write(_copied(rows))
            os.fdatasync(file.fileno())

        yield append
