"""A process that works on many intervals holds what it has read of a table, and finds what is new in it each time."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from evergreen import keeping
from evergreen.lake import tables
from evergreen.lake.schema import RAW

pytestmark = pytest.mark.usefixtures("lake")
TABLE = RAW.of("shop", "visits")
DAYS = [f"2026-01-{day:02d}" for day in range(1, 11)]
HOURS = "2026-01-01T05:00+01:00"  # a key that the name of a file cannot hold as it is


@pytest.fixture(autouse=True)
def nothing_is_kept() -> Iterator[None]:
    yield
    keeping._keeping.clear()


def rows(value: float, count: int = 3) -> pa.Table:
    return pa.table({"value": [value] * count, "name": [f"n{value}"] * count})


def stored(partitions: list[str]) -> list[tuple[str, float, str]]:
    read = pa.concat_tables(tables.pieces(TABLE, partitions))
    return sorted(zip(*(read[name].to_pylist() for name in ("partition", "value", "name")), strict=True))


def test_of_weeks_that_intervals_look_back_at_each_file_is_read_once(opened: list[str]) -> None:
    for number, day in enumerate(DAYS):
        tables.replace(TABLE.at(day), rows(number))
    alone = [stored(DAYS[first : first + 5]) for first in range(6)]
    of_one_each = len(set(opened))
    keeping.begin(10_000_000)
    opened.clear()
    assert [stored(DAYS[first : first + 5]) for first in range(6)] == alone
    assert of_one_each == len(set(opened)) == len(DAYS)
    assert len(opened) <= 2 * len(DAYS), "a file is opened for its end and for its rows"


def test_what_another_process_writes_is_found(opened: list[str]) -> None:
    keeping.begin(10_000_000)
    assert tables.version(TABLE) is None
    for number, day in enumerate(DAYS[:2]):
        tables.replace(TABLE.at(day), rows(number))
    assert len(stored(DAYS)) == 6
    kept = keeping.current()
    keeping._keeping.clear()  # as another process, which keeps nothing
    tables.replace(TABLE.at(DAYS[0]), rows(7, 1))
    tables.replace(TABLE.at(DAYS[1]), rows(0, 0))
    tables.replace(TABLE.at(HOURS), rows(9, 1))
    keeping._keeping[:] = [kept]
    expected = [(DAYS[0], 7.0, "n7"), (HOURS, 9.0, "n9")]
    for _ in range(3):
        assert stored([*DAYS, HOURS]) == expected
    opened.clear()
    assert stored([*DAYS, HOURS]) == expected and not opened


def test_a_table_that_was_made_anew_is_read_anew(tmp_path: Path) -> None:
    keeping.begin(10_000_000)
    for number, day in enumerate(DAYS):
        tables.replace(TABLE.at(day), rows(number))
    assert len(stored(DAYS)) == 30
    shutil.rmtree(tables.table_path(TABLE))
    keeping._keeping.clear()
    tables.replace(TABLE.at(DAYS[0]), rows(8, 1))
    keeping.begin(10_000_000)
    assert stored(DAYS) == [(DAYS[0], 8.0, "n8")]


def test_no_more_is_held_than_there_is_room_for(opened: list[str]) -> None:
    for number, day in enumerate(DAYS):
        tables.replace(TABLE.at(day), rows(number, 2_000))
    room = 3 * pa.concat_tables(tables.pieces(TABLE, DAYS[:1])).nbytes
    keeping.begin(room)
    for _ in range(2):
        assert len(stored(DAYS)) == 20_000
        held = [size for _, size in keeping.current()._held.values()]
        assert 0 < sum(held) <= room


def test_files_that_take_much_of_the_room_are_read_each_time(opened: list[str]) -> None:
    for number, day in enumerate(DAYS[:3]):
        tables.replace(TABLE.at(day), rows(number))
    keeping.begin(1_000)
    for _ in range(2):
        opened.clear()
        assert len(stored(DAYS)) == 9
        assert len(set(opened)) == 3


def test_a_process_of_one_interval_opens_the_table_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    tables.replace(TABLE.at(DAYS[0]), rows(1))
    opened: list[str] = []
    monkeypatch.setattr(tables, "DeltaTable", lambda path, **given: opened.append(path) or DeltaTable(path, **given))
    for _ in range(3):
        stored(DAYS)
    assert len(opened) == 3
    keeping.begin(10_000_000)
    for _ in range(3):
        stored(DAYS)
    assert len(opened) == 4
