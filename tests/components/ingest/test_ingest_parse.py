"""Bytes of every format become the same table; what does not fit costs its row or, told clearly, the batch."""

from __future__ import annotations

import io
import json
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evergreen.errors import BatchUnreadable
from evergreen.ingest.landing import Part
from evergreen.ingest.origin import Origin
from evergreen.ingest.parse import parse
from evergreen.spec.dataset import Source

COLUMNS = {"id": "int", "spent": "float", "paid": "bool", "at": "timestamp", "day": "date", "note": "string"}
SOUND: dict[str, Any] = {
    "id": 1,
    "spent": 1.5,
    "paid": True,
    "at": "2026-01-05T10:00:00Z",
    "day": "2026-01-05",
    "note": "x",
}
PARSED = SOUND | {"at": datetime(2026, 1, 5, 10, tzinfo=UTC), "day": date(2026, 1, 5)}
FORMATS = ("csv", "jsonl", "parquet")


def source(kind: str) -> Source:
    return Source.model_validate(
        {"path": "visits/{partition}", "format": kind, "event_time": "at", "keys": ("id",), "columns": COLUMNS}
    )


def parsed(kind: str, content: bytes) -> list[dict[str, Any]]:
    return parse([Part(Origin("shop/visits of 2026-01-05", "landing/visits"), content)], source(kind)).to_pylist()


def as_bytes(kind: str, *rows: dict[str, Any]) -> bytes:
    """The rows as upstream sends them; in Parquet as text, but for what is no text."""
    if kind == "jsonl":
        return "\n".join(map(json.dumps, rows)).encode()
    if kind == "csv":
        cells = [
            ["" if v is None else json.dumps(v) if isinstance(v, bool) else str(v) for v in row.values()]
            for row in rows
        ]
        return "\n".join(",".join(line) for line in [list(rows[0]), *cells]).encode()
    return parquet(pa.Table.from_pylist(list(rows)))


def parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def unreadable(kind: str, content: bytes) -> str:
    with pytest.raises(BatchUnreadable) as caught:
        parsed(kind, content)
    error = caught.value
    assert error.doing == "reading the batch of shop/visits of 2026-01-05 from landing/visits"
    assert error.next_step.startswith("ask the upstream system for a corrected file, or declare ")
    assert error.next_step.endswith(" for the source; then clear this task")
    return f"{error.found} | {error.expected}"


@pytest.mark.parametrize("kind", FORMATS)
def test_a_sound_row_has_the_declared_types(kind: str) -> None:
    assert parsed(kind, as_bytes(kind, SOUND)) == [PARSED | {"_unparsed": None, "_row": 0, "_place": None}]


@pytest.mark.parametrize("kind", FORMATS)
def test_rows_keep_their_order_and_the_columns_the_declared_one(kind: str) -> None:
    rows = [dict(reversed((SOUND | {"id": number}).items())) for number in (3, 1, 2)]
    batch = parsed(kind, as_bytes(kind, *rows))
    assert [(row["id"], row["_row"]) for row in batch] == [(3, 0), (1, 1), (2, 2)]
    assert list(batch[0]) == [*COLUMNS, "_unparsed", "_row", "_place"]


@pytest.mark.parametrize("kind", FORMATS)
def test_nulls_are_no_mistakes(kind: str) -> None:
    empty = dict.fromkeys(COLUMNS)
    assert parsed(kind, as_bytes(kind, SOUND, empty))[1] == empty | {"_unparsed": None, "_row": 1, "_place": None}
    assert parsed(kind, as_bytes(kind, SOUND | {"note": None}))[0]["note"] is None, "a column without any value"


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("id", "one"),
        ("id", "1.7"),
        ("id", "99999999999999999999"),
        ("spent", "n/a"),
        ("spent", "Infinity"),
        ("spent", "-inf"),
        ("paid", "maybe"),
        ("at", "yesterday"),
        ("day", "05.01.2026"),
        ("day", "2026-02-30"),
    ],
)
def test_a_cell_that_does_not_fit_costs_its_row_and_keeps_its_text(kind: str, column: str, text: str) -> None:
    sound, wrong = parsed(kind, as_bytes(kind, SOUND, SOUND | {column: text}))
    assert sound["_unparsed"] is None
    place = {"csv": "line 3", "jsonl": "line 2"}[kind]
    assert wrong == PARSED | {column: None, "_unparsed": f"{column}={text}", "_row": 1, "_place": place}


def test_every_wrong_cell_of_a_row_is_named() -> None:
    (row,) = parsed("csv", as_bytes("csv", SOUND | {"id": "one", "spent": "n/a"}))
    assert row["_unparsed"] == "id=one; spent=n/a"


@pytest.mark.parametrize("kind", FORMATS)
def test_a_number_that_is_not_whole_is_no_whole_number(kind: str) -> None:
    """A plain cast would round it."""
    fraction, whole = parsed(kind, as_bytes(kind, SOUND | {"id": 1.7}, SOUND | {"id": 3.0}))
    assert (fraction["id"], fraction["_unparsed"]) == (None, "id=1.7")
    assert (whole["id"], whole["_unparsed"]) == (3, None)


@pytest.mark.parametrize("kind", FORMATS)
def test_not_a_number_is_missing(kind: str) -> None:
    (row,) = parsed(kind, as_bytes(kind, SOUND | {"spent": float("nan")}))
    assert (row["spent"], row["_unparsed"]) == (None, None)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-05T10:00:00+02:00", datetime(2026, 1, 5, 8, tzinfo=UTC)),
        ("2026-01-05 10:00:00", datetime(2026, 1, 5, 10, tzinfo=UTC)),
        ("2026-01-05", datetime(2026, 1, 5, tzinfo=UTC)),
    ],
)
def test_times_are_utc_and_a_time_without_a_zone_is_taken_for_it(text: str, moment: datetime) -> None:
    for kind in FORMATS:
        assert parsed(kind, as_bytes(kind, SOUND | {"at": text}))[0]["at"] == moment, kind


@pytest.mark.parametrize("text", ["2026-01-05", "2026-01-05T10:00:00Z", "007", "1e5", "true", "NaN", " x "])
def test_text_that_looks_like_something_else_stays_as_it_is(text: str) -> None:
    for kind in FORMATS:
        assert parsed(kind, as_bytes(kind, SOUND | {"note": text}))[0]["note"] == text, kind


@pytest.mark.parametrize("kind", FORMATS)
def test_other_columns_than_the_declared_ones_are_named(kind: str) -> None:
    renamed = {("amount" if name == "spent" else name): value for name, value in SOUND.items()}
    missing = {name: value for name, value in SOUND.items() if name != "note"}
    declared = "columns id, spent, paid, at, day, note"
    assert unreadable(kind, as_bytes(kind, renamed)) == f"columns missing: spent; unexpected: 'amount' | {declared}"
    if kind != "jsonl":  # where a key that has no value may be left out
        assert unreadable(kind, as_bytes(kind, missing)) == f"columns missing: note | {declared}"
    keyless = {name: value for name, value in SOUND.items() if name != "id"}
    assert unreadable(kind, as_bytes(kind, keyless)) == f"columns missing: id | {declared}"
    assert unreadable(kind, as_bytes(kind, SOUND | {"tip": 1})) == f"columns unexpected: 'tip' | {declared}"


def test_bytes_that_are_not_utf_8_are_found_by_line() -> None:
    latin = as_bytes("csv", SOUND, SOUND | {"note": "café"}).decode().encode("latin-1")
    assert unreadable("csv", latin).startswith("byte 0xe9 at offset ")
    assert "line 3; it looks like cp1252 | UTF-8" in unreadable("csv", latin)
    lines = (as_bytes("jsonl", SOUND) + b'\n{"note": "caf\xe9"}').replace(b"\\u00e9", b"\xe9")
    assert unreadable("jsonl", lines).endswith("line 2; it looks like cp1252 | UTF-8")


def test_an_empty_file_is_a_mistake_where_a_header_must_be() -> None:
    header = ",".join(COLUMNS)
    for content in (b"", b"\n\n"):
        assert unreadable("csv", content) == f"an empty file | a header line: {header}"
    assert unreadable("parquet", b"").startswith("an empty file | a Parquet file")
    assert parsed("jsonl", b"\n") == [], "JSON Lines have no header: no line is no row"


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_header_alone_is_a_day_without_rows(end: str) -> None:
    assert parsed("csv", (",".join(COLUMNS) + end).encode()) == []


def test_csv_as_other_systems_write_it() -> None:
    text = as_bytes("csv", SOUND).decode()
    sound = [PARSED | {"_unparsed": None, "_row": 0, "_place": None}]
    assert parsed("csv", text.encode("utf-8-sig")) == sound, "a byte order mark"
    assert parsed("csv", text.replace("\n", "\r\n").encode()) == sound, "line ends of Windows"
    numbered = text.replace(",x", ",007").replace("\n", "\r")
    assert parsed("csv", numbered.encode())[0]["note"] == "007", "line ends of old Macs"
    quoted = text.replace(",x", ',"one, ""two""\nthree"').encode()
    assert parsed("csv", quoted)[0]["note"] == 'one, "two"\nthree'


def test_line_breaks_in_quotes_are_read_in_long_files_too() -> None:
    """The reader takes a megabyte at a time, and must not split a value."""
    row = as_bytes("csv", SOUND | {"note": '"first\n' + "x" * 500 + '"'}).split(b"\n", 1)
    assert len(parsed("csv", row[0] + b"\n" + (row[1] + b"\n") * 4000)) == 4000


def test_a_row_of_another_length_is_named() -> None:
    text = as_bytes("csv", SOUND) + b"\n1,2,true"
    assert unreadable("csv", text).startswith("line 3: 3 cells, where the header has 6: '1,2,true' | ")
    longer = as_bytes("csv", SOUND | {"note": '"two\nlines"'}) + b"\n\n1,2,true,,,x,y\n"
    assert unreadable("csv", longer).startswith("line 5: 7 cells, where the header has 6: '1,2,true,,,x,y' | ")
    assert unreadable("csv", b"id,spent,paid,at,day,note,note\n").startswith("columns twice: 'note'")


def test_json_lines_may_mix_types_and_leave_out_nulls() -> None:
    mixed = as_bytes(
        "jsonl", SOUND, SOUND | {"spent": "n/a"}, SOUND | {"note": 5}, {"id": 4}, SOUND | {"note": {"a": [1]}}
    )
    rows = parsed("jsonl", mixed)
    assert [row["_unparsed"] for row in rows] == [None, "spent=n/a", None, None, None]
    assert [row["note"] for row in rows] == ["x", "x", "5", None, '{"a": [1]}']


def test_a_line_that_is_no_json_object_is_named() -> None:
    assert unreadable("jsonl", as_bytes("jsonl", SOUND) + b"\n\n{oops}").startswith(
        "line 3 is no JSON, from column 2 on: '{oops}' | "
    )
    assert unreadable("jsonl", b"[1, 2]") == "line 1 is no object: '1' | one JSON object a line, or a list of them"


def test_a_list_of_objects_is_read_as_its_objects_are() -> None:
    rows = [SOUND, SOUND | {"id": 2, "note": "two\n[lines]"}, SOUND | {"id": "x"}]
    for indent in (None, 2):
        read = parsed("jsonl", json.dumps(rows, indent=indent).encode())
        assert [row["note"] for row in read] == ["x", "two\n[lines]", "x"]
        assert [row["_unparsed"] for row in read] == [None, None, "id=x"]
    assert parsed("jsonl", b" [ ] \n") == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b'[\n{"id": 1},\n{oops}]', "line 3 is no JSON"),
        (b'[{"id": 1}, ', "a list that ends with ''"),
        (b'[{"id": 1}', "a list that ends with ''"),
        (b'[{"id": 1} {"id": 2}]', "a list that ends with '{\"id\": 2}]'"),
        (b'[{"id": 1}] and more', "a list that ends with '] and more'"),
    ],
)
def test_a_list_of_objects_that_is_none_says_where(text: bytes, found: str) -> None:
    assert unreadable("jsonl", text).startswith(found)


def test_a_column_that_the_header_leaves_without_a_name_is_read_when_declared() -> None:
    """As pandas writes its index."""
    given = Source.model_validate(
        {
            "path": "v",
            "event_time": "at",
            "keys": ("row",),
            "columns": {"row": {"type": "int", "from": ""}, "at": "date"},
        }
    )
    rows = parse([Part(Origin("shop", "v"), b",at\n0,2026-01-05\n1,2026-01-06\n")], given).to_pylist()
    assert [row["row"] for row in rows] == [0, 1]


def test_parquet_with_types_of_its_own() -> None:
    moment = datetime(2026, 1, 5, 10)
    table = pa.table(
        {
            "id": pa.array([1], pa.int16()),
            "spent": pa.array([1.5], pa.float32()),
            "paid": [True],
            "at": pa.array([moment], pa.timestamp("ns")),
            "day": [moment.date()],
            "note": pa.array(["x"]).dictionary_encode(),
        }
    )
    assert parsed("parquet", parquet(table)) == [PARSED | {"_unparsed": None, "_row": 0, "_place": None}]
    number = table.set_column(3, "at", pa.array([5]))
    assert parsed("parquet", parquet(number))[0]["_unparsed"] == "at=5", "a number is no time"
    assert unreadable("parquet", b"id,spent").startswith("no Parquet file (it begins with 69 64 2c 73)")
