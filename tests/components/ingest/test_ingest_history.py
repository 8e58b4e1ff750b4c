"""One file for all days: each day takes its rows, and no row is lost or taken twice."""

from __future__ import annotations

import io
import json
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.errors import BatchMissing, BatchUnreadable
from evergreen.ingest.history import Place
from evergreen.ingest.landing import Part
from evergreen.ingest.origin import Origin
from evergreen.ingest.parse import parse_history
from evergreen.interval import Interval
from evergreen.spec.dataset import Source

FIRST, LAST = date(2026, 1, 1), date(2026, 1, 5)
FORMATS = ("csv", "jsonl", "parquet")
Row = dict[str, Any]


def content(kind: str, times: list[str | None]) -> bytes:
    rows = [{"id": number, "at": time} for number, time in enumerate(times)]
    if kind == "csv":
        return "\n".join(["id,at", *(f"{row['id']},{row['at'] or ''}" for row in rows)]).encode()
    if kind == "jsonl":
        return "\n".join(map(json.dumps, rows)).encode()
    buffer = io.BytesIO()
    pq.write_table(pa.table({"id": range(len(times)), "at": pa.array(times, pa.string())}), buffer)
    return buffer.getvalue()


def day_of(file: bytes, day: date, kind: str = "csv", last: date | None = LAST) -> list[Row]:
    source = Source.model_validate(
        {
            "path": "visits",
            "format": kind,
            "history": True,
            "event_time": "at",
            "keys": ("id",),
            "columns": {"id": "int", "at": "timestamp"},
        }
    )
    part = Part(Origin(f"shop/visits of {day}", "landing/visits"), file)
    return parse_history(
        part, source, Place(Interval.of_day(day), Interval.of_day(FIRST), last and Interval.of_day(last))
    ).to_pylist()


def ids(file: bytes, day: int, **options: Any) -> list[int]:
    return [row["id"] for row in day_of(file, date(2026, 1, day), **options)]


@pytest.mark.parametrize("kind", FORMATS)
def test_a_day_takes_the_rows_from_its_start_to_before_its_end(kind: str) -> None:
    times = [
        "2026-01-02T00:00:00Z",
        "2026-01-01T23:59:59.999999Z",
        "2026-01-03",
        "2026-01-02 23:59:59.999999",
        "2026-01-03T01:00:00+02:00",
    ]
    file = content(kind, times)
    assert [ids(file, day, kind=kind) for day in (1, 2, 3)] == [[1], [0, 3, 4], [2]]
    first, *_ = day_of(file, date(2026, 1, 2), kind)
    assert first == {"id": 0, "at": datetime(2026, 1, 2, tzinfo=UTC), "_unparsed": None, "_row": 0, "_place": None}
    assert [row["_row"] for row in day_of(file, date(2026, 1, 2), kind)] == [0, 3, 4], (
        "_row is the row's place in the file"
    )


def test_times_of_parquet_are_those_of_text() -> None:
    moments = [datetime(2026, 1, 1, 23), datetime(2026, 1, 2, 1)]
    zoned = [moment.replace(tzinfo=UTC).astimezone(timezone(timedelta(hours=5))) for moment in moments]
    for times in (pa.array(moments, pa.timestamp("ns")), pa.array(zoned, pa.timestamp("ms", tz="Asia/Karachi"))):
        buffer = io.BytesIO()
        pq.write_table(pa.table({"id": [0, 1], "at": times}), buffer)
        assert [ids(buffer.getvalue(), day, kind="parquet") for day in (1, 2)] == [[0], [1]]


def test_a_day_in_the_middle_without_rows_is_an_empty_batch() -> None:
    file = content("csv", ["2026-01-01T10:00", "2026-01-04T00:00"])
    assert [ids(file, day) for day in (1, 2, 3, 4)] == [[0], [], [], [1]]


def test_a_day_after_the_newest_row_is_missing_and_says_how_far_the_history_reaches() -> None:
    file = content("csv", ["2026-01-03T10:00", "2026-01-01T10:00"])
    assert ids(file, 3) == [0]
    with pytest.raises(BatchMissing) as caught:
        ids(file, 4)
    error = caught.value
    assert error.doing == "reading the batch of shop/visits of 2026-01-04 from landing/visits"
    assert error.found == "a history that reaches to 2026-01-03T10:00:00Z"
    assert error.expected == "rows of 2026-01-04, or later ones"
    assert "ask the upstream system for a history that reaches further" in error.next_step


def test_a_history_without_rows_or_times_has_no_days() -> None:
    with pytest.raises(BatchMissing, match="a history without rows"):
        ids(b"id,at\n", 1)
    with pytest.raises(BatchUnreadable, match="no time in 2 rows; the first is 'yesterday'"):
        ids(content("csv", ["yesterday", "infinity"]), 1)


def test_a_row_without_a_time_goes_with_the_row_before_it() -> None:
    times = ["?", None, "2026-01-02", "soon", "2026-01-01", None, "2026-01-03", "infinity"]
    file = content("csv", times)
    assert [ids(file, day) for day in (1, 2, 3)] == [[4, 5], [0, 1, 2, 3], [6, 7]]
    unparsed = {row["id"]: row["_unparsed"] for day in (1, 2, 3) for row in day_of(file, date(2026, 1, day))}
    assert unparsed == {0: "at=?", 1: None, 2: None, 3: "at=soon", 4: None, 5: None, 6: None, 7: "at=infinity"}


def test_a_row_without_a_time_goes_to_no_day_outside_of_the_models() -> None:
    file = content("csv", ["2025-06-01", "?", "2026-01-03", "2027-01-01", "soon"])
    assert [ids(file, day) for day in (1, 2, 3, 4, 5)] == [[1], [], [2], [], [4]]
    assert ids(file, 5, last=None) == [], "without a last day it waits for that of the row before it"


TIME = st.one_of(
    st.datetimes(datetime(2025, 12, 31), datetime(2026, 1, 7)).map(datetime.isoformat),
    st.sampled_from([None, "?", "2026-02-30", "infinity", "24:00"]),
)


HISTORIES = given(st.lists(TIME, max_size=12), st.sampled_from(FORMATS))


@settings(max_examples=10)
@HISTORIES
def test_the_days_of_a_history_lose_no_row_and_repeat_none(times: list[str | None], kind: str) -> None:
    """But for rows that happened before the first day or after the last one, which no day of the model is about."""
    each_row_once(times, kind)


@pytest.mark.long
@settings(max_examples=200)
@HISTORIES
def test_the_days_of_many_histories_lose_no_row_and_repeat_none(times: list[str | None], kind: str) -> None:
    each_row_once(times, kind)


def each_row_once(times: list[str | None], kind: str) -> None:
    times = [*times, "2026-01-05T12:00:00"]  # so that every day is there
    file = content(kind, times)
    days = [FIRST + timedelta(days=number) for number in range(5)]
    taken = [row for day in days for row in day_of(file, day, kind)]
    outside = {
        n
        for n, time in enumerate(times)
        if time and time[:4].isdigit() and time != "2026-02-30" and not "2026-01-01" <= time < "2026-01-06"
    }
    assert sorted(row["_row"] for row in taken) == [n for n in range(len(times)) if n not in outside]
    assert all(row["id"] == row["_row"] for row in taken)
    for day in days:
        assert all(row["at"] is None or row["at"].date() == day for row in day_of(file, day, kind))
