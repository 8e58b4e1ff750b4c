"""What may lie in a landing zone, or stand in a batch, of somebody who means harm or whose disk is dying: an error of
ours, in bounded time and memory, or a row in quarantine; never a traceback of a library, a hang, or a shorter day
without a word."""

from __future__ import annotations

import errno
import gzip
import io
import json
import os
import random
import resource
import socket
import struct
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evergreen.errors import (
    BatchChanging,
    BatchMissing,
    BatchUnreadable,
    DiskFull,
    EvergreenError,
    PermanentError,
    StagedFileGone,
    TransientError,
)
from evergreen.ingest import landing, limits
from evergreen.ingest.landing import Part
from evergreen.ingest.origin import Origin
from evergreen.ingest.parse import parse
from evergreen.interval import Interval
from evergreen.loops import inline
from evergreen.run import Run
from evergreen.settings import MEGABYTE, PROJECT, Settings, settings
from evergreen.spec.dataset import Source
from evergreen.spec.load import load_spec

DAY, SUBJECT = "2026-01-05", "shop/visits of 2026-01-05"
COLUMNS = {"id": "int", "spent": "float", "at": "timestamp", "day": "date", "note": "string"}
SOUND: dict[str, Any] = {"id": 1, "spent": 1.5, "at": "2026-01-05T10:00:00Z", "day": "2026-01-05", "note": "x"}
# What a message of ours does not say: the words of the libraries below.
FOREIGN = (
    "Couldn't",
    "straddling",
    "deserialize",
    "codec",
    "Errno",
    "Traceback",
    "recursion",
    "set_int_max",
    "Not a gzipped",
    "end-of-stream",
)


def parsed(kind: str, content: bytes, **options: Any) -> list[dict[str, Any]]:
    source = Source.model_validate(
        {
            "path": "visits/{partition}",
            "format": kind,
            "event_time": "at",
            "keys": ("id",),
            "columns": COLUMNS,
            **options,
        }
    )
    return parse([Part(Origin(SUBJECT, "landing/visits"), content)], source).to_pylist()


def refused(call: Callable[[], object], error: type[EvergreenError] = BatchUnreadable) -> EvergreenError:
    """The error, which is of the kind, says what to do and repeats no library's words."""
    with pytest.raises(error) as caught:
        call()
    refusal = caught.value
    assert refusal.next_step and not any(words in str(refusal) for words in FOREIGN), str(refusal)
    assert str(refusal).count("\n") == 3, "a value that breaks its line"
    assert max(map(len, str(refusal).splitlines())) < 2_000, "a message that nobody reads"
    return refusal


def unreadable(kind: str, content: bytes, **options: Any) -> str:
    error = refused(lambda: parsed(kind, content, **options))
    assert isinstance(error, PermanentError), "a retry would read the same bytes"
    return error.found


def csv(*rows: str, header: str = ",".join(COLUMNS)) -> bytes:
    return ("\n".join([header, *rows]) + "\n").encode()


def parquet(rows: int = 300, **columns: pa.Array) -> bytes:
    base = {name: pa.array([value] * rows) for name, value in SOUND.items()}
    base["note"] = pa.array([f"note {number}" for number in range(rows)])
    buffer = io.BytesIO()
    pq.write_table(pa.table(base | columns), buffer, compression="snappy")
    return buffer.getvalue()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A bound of one MB for a batch."""
    monkeypatch.setenv("EVERGREEN_LARGEST_BATCH_MB", "1")
    settings.cache_clear()
    yield MEGABYTE
    settings.cache_clear()


# Parquet


def test_a_damaged_page_is_found_by_column_and_not_retried() -> None:
    """Its footer is sound: only reading the rows shows it."""
    content = bytearray(parquet())
    content[200:230] = b"\xff" * 30
    assert "damaged page of the column" in unreadable("parquet", bytes(content))


def _mutilated(seed: int, count: int) -> Iterator[bytes]:
    sound, draws = parquet(), random.Random(seed)
    for _ in range(count):
        content = bytearray(sound)
        for _ in range(draws.choice((1, 4, 40))):
            content[draws.randrange(4, len(content) - 4)] = draws.randrange(256)
        yield bytes(content)[: draws.choice((None, None, draws.randrange(len(content))))]


@pytest.mark.parametrize(("seed", "count"), [(1, 150), pytest.param(2, 5_000, marks=pytest.mark.long)])
def test_mutilated_parquet_is_read_or_refused(seed: int, count: int) -> None:
    refusals = 0
    for content in _mutilated(seed, count):
        try:
            parsed("parquet", content)
        except BatchUnreadable:
            refusals += 1
    assert refusals > count / 2, "the attack does not reach the reader"


def test_what_is_no_whole_parquet_file_says_how() -> None:
    sound = parquet()
    huge = sound[:-8] + struct.pack("<I", 0x7FFFFFFF) + b"PAR1"
    assert unreadable("parquet", sound[:-100]) == "a Parquet file that is cut short: it does not end with PAR1"
    assert unreadable("parquet", b"PAR2" + sound[4:]) == "no Parquet file (it begins with 50 41 52 32)"
    assert unreadable("parquet", sound[:-4] + b"PARE") == "an encrypted Parquet file"
    assert unreadable("parquet", huge) == "a damaged Parquet footer"


def test_parquet_of_few_bytes_that_stand_for_many_is_not_expanded(small: int) -> None:
    bombs = {
        "one long text, repeated": {"note": pa.DictionaryArray.from_arrays(pa.array([0] * 100_000), ["x" * 20_000])},
        "nothing but nulls": {name: pa.nulls(200_000) for name in COLUMNS},
    }
    for name, columns in bombs.items():
        content = (
            parquet(len(next(iter(columns.values()))), **({"note": pa.nulls(0)} | columns))
            if len(columns) > 1
            else parquet(100_000, **columns)
        )
        assert len(content) < small, name
        tracemalloc.start()
        assert "expands to more than" in unreadable("parquet", content), name
        assert tracemalloc.get_traced_memory()[1] < 50 << 20, name
        tracemalloc.stop()


def test_nested_values_and_text_that_is_none() -> None:
    nested = {
        "list": pa.array([[1, 2]] * 300),
        "struct": pa.array([{"a": 1}] * 300),
        "map": pa.array([[("a", 1)]] * 300, pa.map_(pa.string(), pa.int64())),
    }
    for kind, values in nested.items():
        (row, *_) = parsed("parquet", parquet(note=values))
        assert isinstance(row["note"], str), kind
        assert parsed("parquet", parquet(id=values))[0]["_unparsed"].startswith("id="), kind
    broken = pa.array([b"\xff\xfe"] * 300, pa.binary()).view(pa.string())
    assert unreadable("parquet", parquet(note=broken)) == "bytes in the column note that are not UTF-8"


# text that is none


def test_half_a_character_costs_its_row() -> None:
    """Every browser writes one when it cuts a text within an emoji."""
    lines = [
        SOUND,
        SOUND | {"note": "\ud83d cut"},
        SOUND | {"note": {"deep": ["\udc00"]}},
        SOUND | {"note": "\U0001f600"},
    ]
    rows = parsed("jsonl", "\n".join(map(json.dumps, lines)).encode())
    assert [row["_unparsed"] for row in rows] == [None, "note=\\ud83d cut", 'note={"deep": ["\\udc00"]}', None]
    assert rows[3]["note"] == "\U0001f600", "a whole pair is a character"
    assert "unexpected: '\\ud800'" in unreadable("jsonl", b'{"\\ud800": 1}')
    for encoding, written in (("utf-7", "+2AA-"), ("unicode_escape", "\\ud800")):
        text = csv(f"1,1.5,2026-01-05,2026-01-05,{written}")
        assert unreadable("csv", text, encoding=encoding) == "half a character, '\\ud800', in line 2"


def test_a_nul_is_a_character_and_deep_or_long_json_an_error() -> None:
    for kind, content in (("csv", csv("1,1.5,,,a\0b")), ("jsonl", json.dumps(SOUND | {"note": "a\0b"}).encode())):
        assert parsed(kind, content)[0]["note"] == "a\0b"
    assert "nested too deeply" in unreadable("jsonl", b'{"id": ' + b"[" * 100_000 + b"]" * 100_000 + b"}")
    assert "thousands of digits" in unreadable("jsonl", b'{"id": ' + b"9" * 5_000 + b"}")


# CSV


def test_a_stray_quote_never_swallows_rows_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    row = "1,1.5,2026-01-05T10:00:00Z,2026-01-05,"
    closed = csv(row + "a", row + '"opened', row + "b", row + 'closed"', row + "c")
    assert (
        unreadable("csv", closed)
        == "line 3: a quote opens a value that ends in line 5, and 2 of the lines between read as rows"
    )
    assert "line 3: a quote" in unreadable("csv", csv(row + "a", row + '"never closed', row + "b"))
    assert unreadable("csv", csv(row + "a", row + '"never closed')) == "line 3: a quote that is never closed"
    assert len(parsed("csv", csv(row + '5" disk', "", row + 'b"'))) == 2 and not caplog.records, (
        "a quote within a cell is a character"
    )
    assert parsed("csv", csv(row + '"two\nlines, and, more, of, them"'))[0]["note"] == "two\nlines, and, more, of, them"
    assert "1 values of several lines, the first in lines 2 to 3" in caplog.text


def test_a_header_of_very_many_or_invisible_names_is_told_in_one_line() -> None:
    message = unreadable("csv", csv(header=",".join(f"c{number}" for number in range(100_000))))
    assert (
        message.startswith("columns missing: id, spent, at, day, note; unexpected: 'c0', 'c1'")
        and "99,990 more" in message
    )
    for name, shown in (
        ("note\u200b", "'note\\u200b'"),
        ("note\u00a0", "'note\\xa0'"),
        ("\ufeffnote", "'\\ufeffnote'"),
        ("Note ", "'Note '"),
    ):
        message = unreadable("csv", csv(header=",".join([*list(COLUMNS)[:4], name])))
        assert message == f"columns missing: note; unexpected: {shown} ({shown} reads like note)"


def test_one_endless_line_is_refused() -> None:
    assert "more than 16 MiB" in unreadable("csv", csv("1,1.5,,," + "x" * (limits.ROW * 2)))
    assert "line 1 of" in unreadable("jsonl", b'{"note": "' + b"x" * limits.ROW + b'"}')


# gzip


def test_gzip_that_expands_to_more_than_a_batch_may_have_is_left(small: int) -> None:
    one = gzip.compress(b"x" * (small // 2 + 1))
    for bomb in (gzip.compress(b"\0" * 200 * small), one + one):
        tracemalloc.start()
        error = refused(lambda bomb=bomb: parsed("csv", bomb, compression="gzip"))
        assert f"expands to more than {small:,}" in error.found
        assert "at most 1 MB" in error.expected and "EVERGREEN_LARGEST_BATCH_MB" in error.next_step
        assert tracemalloc.get_traced_memory()[1] < 30 * small
        tracemalloc.stop()


def test_a_broken_stream_says_how() -> None:
    whole = gzip.compress(csv("1,1.5,,,x") * 300)
    assert "cut short" in unreadable("csv", whole[:-9], compression="gzip")
    assert "other bytes follow" in unreadable("csv", whole + b"garbage", compression="gzip")
    assert "check sum" in unreadable("csv", whole[:-8] + b"\0\0\0\0" + whole[-4:], compression="gzip")
    assert "damaged" in unreadable("csv", whole[:20] + b"\xff" * 4 + whole[24:], compression="gzip")


# the folder


def arrives(zone: Path, path: str = "visits/{partition}.csv") -> list[Part]:
    return landing.read(str(zone), path, DAY, SUBJECT)


def at_once(call: Callable[[], object]) -> EvergreenError:
    """The error of a call that must not wait for anybody;
    a thread, so that a hang fails here and not at pytest's limit."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - told below
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive(), "it blocks"
    (error,) = errors
    return refused(lambda: (_ for _ in ()).throw(error), EvergreenError)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(path.parent)  # an address is at most 108 bytes
        server.bind(path.name)
        os.chdir(here)


NO_FILES: dict[str, tuple[Callable[[Path], object], type[EvergreenError], str]] = {
    "a pipe": (os.mkfifo, BatchUnreadable, "a named pipe (FIFO)"),
    "a socket": (_socket, BatchUnreadable, "a socket"),
    "/dev/zero": (lambda path: path.symlink_to("/dev/zero"), BatchUnreadable, "a character device"),
    "a folder": (Path.mkdir, BatchUnreadable, "a folder"),
    "a link to itself": (lambda path: path.symlink_to(path), BatchUnreadable, "a link that leads back to itself"),
    "a link to nothing": (
        lambda path: path.symlink_to("gone\u202e"),
        BatchMissing,
        "a link to 'gone\\u202e', where no file is",
    ),
}


@pytest.mark.parametrize("name", NO_FILES)
def test_what_is_no_file_is_not_waited_for(name: str, tmp_path: Path) -> None:
    make, error, problem = NO_FILES[name]
    (tmp_path / "visits").mkdir()
    make(tmp_path / "visits" / f"{DAY}.csv")
    for path in ("visits/{partition}.csv", "visits/{partition}*"):
        if name == "a folder" and "*" in path:
            continue  # passed over, as documented
        raised = at_once(lambda path=path: arrives(tmp_path, path))
        assert (type(raised), raised.found) == (error, problem)


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / f"{DAY}.csv").write_bytes(csv())

    def forbidden(*arguments: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")  # root, as whom tests may run, reads everything

    monkeypatch.setattr(os, "open", forbidden)
    error = refused(lambda: arrives(tmp_path, "{partition}.csv"))
    assert error.found == "permission denied" and "let the user that runs the tasks read" in error.next_step


def test_files_that_are_too_large_are_not_read(small: int, tmp_path: Path) -> None:
    with (tmp_path / f"{DAY}.csv").open("wb") as file:
        file.truncate(1 << 40)  # a terabyte, of which the disk holds nothing
    assert refused(lambda: arrives(tmp_path, "{partition}.csv")).found == f"{1 << 40:,} bytes"
    for number in range(3):
        (tmp_path / f"{DAY}-{number}").write_bytes(b"x" * (small // 2))
    error = refused(lambda: arrives(tmp_path, "{partition}-*"))
    assert error.found == f"{small // 2:,} bytes, after {small:,} bytes of the parts before it"


def test_too_many_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PARTS", 5)
    for number in range(6):
        (tmp_path / f"{DAY}-{number}").touch()
    assert refused(lambda: arrives(tmp_path, "{partition}-*")).found == "6 files that match"


def _replaced(file: Path) -> None:
    (other := file.with_name("other")).write_bytes(b"new")
    other.rename(file)


CHANGES: dict[str, Callable[[Path], object]] = {
    "appended to": lambda file: file.write_bytes(b"more"),
    "replaced": _replaced,
    "removed": Path.unlink,
    "joined by another": lambda file: (file.with_name(f"{DAY}-9")).touch(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_while_it_is_read_is_read_again(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2):
        (tmp_path / f"{DAY}-{number}").write_bytes(b"old")
    read = landing._file

    def reading(origin: Origin, left: int) -> Any:
        content = read(origin, left)
        if origin.name.endswith("-1"):
            CHANGES[change](tmp_path / f"{DAY}-0")
        return content

    monkeypatch.setattr(landing, "_file", reading)
    error = refused(lambda: arrives(tmp_path, "{partition}-*"), BatchChanging)
    assert isinstance(error, TransientError), "Airflow tries again"
    monkeypatch.undo()
    assert arrives(tmp_path, "{partition}-*"), "and finds what came of it"


# the ends of the calendar


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_moments_that_no_calendar_has_cost_their_row(kind: str) -> None:
    outside = [
        "10000-01-01",
        "294247-01-10",
        "-0001-01-01",
        "0000-01-01",
        "44-03-15 (BC)",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-12:00",
        "2016-12-31T23:59:60Z",
        "infinity",
        "-1",
    ]
    inside = [
        "0001-01-01",
        "9999-12-31T23:59:59.999999Z",
        "1677-01-01",
        "2262-12-31",
        "1969-12-31T23:59:59Z",
        "2026-01-05T24:00:00Z",
    ]
    values = outside + inside
    if kind == "csv":
        content = csv(*(f"1,1.5,{text},2026-01-05,x" for text in values))
    elif kind == "jsonl":
        content = "\n".join(json.dumps(SOUND | {"at": text}) for text in values).encode()
    else:
        content = parquet(len(values), at=pa.array(values))
    rows = parsed(kind, content)
    assert [row["_unparsed"] for row in rows] == [f"at={text}" for text in outside] + [None] * len(inside)
    assert rows[len(outside)]["at"] == datetime(1, 1, 1, tzinfo=UTC)
    assert rows[-1]["at"] == datetime(2026, 1, 6, tzinfo=UTC), "24:00 is the next day's first moment"
    days = ["10000-01-01", "0000-01-01", "5877642-06-25", "-infinity", "0001-01-01", "9999-12-31"]
    rows = parsed("csv", csv(*(f"1,1.5,2026-01-05,{text},x" for text in days)))
    assert [row["_unparsed"] for row in rows] == [*(f"day={text}" for text in days[:4]), None, None]
    assert [row["day"] for row in rows[4:]] == [date.min, date.max]
    numbers = pa.array([2**62, -(2**62), 0], pa.timestamp("us"))
    assert [row["at"] is None for row in parsed("parquet", parquet(3, at=numbers))] == [True, True, False]


# the disk


@pytest.fixture
def churn(home: Settings) -> Run:
    """A run of the shipped model's first day, whose batches are there."""
    from evergreen_simulator.delivery import World
    from evergreen_simulator.landing import write_days

    first = date(2026, 1, 1)
    for _ in write_days(World(seed=4, size=60), first, first, home.landing):
        pass
    return inline.of(load_spec(PROJECT / "include" / "models" / "churn").datasets["churn"], Interval.of_day(first))


def test_a_disk_without_room_is_told_with_its_folder_and_leaves_nothing_half_written(
    churn: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel refuses every byte beyond a file's first 2,000: as a full disk does, and as no mount is needed for."""
    # Python 3.11 keeps a module's bytecode that was cut short, and no later process could import the module.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, hard))
    try:
        error = refused(lambda: inline.run(churn, "ingest", last="extract"), DiskFull)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert error.doing.startswith("running extract of churn ") and isinstance(error, PermanentError)
    assert f" free on the disk of {settings().home}" in error.found and "make room there" in error.next_step
    assert not list(settings().home.rglob("*.partial")) and not list(settings().home.rglob("*.parquet"))
    inline.run(churn, "ingest", last="extract")


def test_what_killed_and_old_runs_left_is_removed_by_the_next_and_a_task_cleared_too_late_says_so(churn: Run) -> None:
    day = settings().home / "staging" / "churn" / "2025-12-01"
    day.mkdir(parents=True)
    left, old, young = day / ".usage.parquet.0.partial", day / "usage.parquet", day / "payments.parquet"
    for file, days in ((left, 0.01), (old, 8), (young, 6)):
        file.write_bytes(b"x")
        os.utime(file, (time.time() - days * 86_400,) * 2)
    inline.run(churn, "ingest", last="extract")
    assert list(day.iterdir()) == [young]
    inline.run(churn, "ingest", last="extract")
    (settings().home / "staging" / "churn" / "2026-01-01" / "usage.parquet").unlink()
    error = refused(lambda: inline.run(churn, "ingest", first="validate", last="validate"), StagedFileGone)
    assert error.next_step.startswith("clear `extract` of this run with what comes after it")
