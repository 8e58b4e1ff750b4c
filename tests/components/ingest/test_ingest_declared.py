"""Data as it comes: what a source declares of names, numbers, times and keys is read so, and what it does not declare
is told with its place."""

from __future__ import annotations

import io
import json
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen.errors import BatchUnreadable
from evergreen.ingest.landing import Part
from evergreen.ingest.origin import Origin
from evergreen.ingest.parse import parse
from evergreen.spec import cells
from evergreen.spec.dataset import Source

COLUMNS: dict[str, Any] = {"order_id": "string", "at": "timestamp", "amount": "float", "items": "int", "note": "string"}
ROW = {"order_id": "o1", "at": "2026-01-05T10:00:00Z", "amount": "10.5", "items": "2", "note": "ok"}


def source(columns: dict[str, Any] | None = None, **options: Any) -> Source:
    declared = {"path": "orders/{partition}", "event_time": "at", "keys": ("order_id",)}
    return Source.model_validate({**declared, "columns": COLUMNS | (columns or {}), **options})


def csv(*rows: dict[str, str], header: str | None = None, sep: str = ",", end: str = "\n") -> bytes:
    lines = [sep.join((ROW | row).values()) for row in rows]
    return (end.join([header or sep.join(ROW), *lines]) + end).encode()


def jsonl(*rows: dict[str, Any]) -> bytes:
    return "\n".join(map(json.dumps, rows)).encode()


def parquet(**columns: Any) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({name: columns.get(name, [text]) for name, text in ROW.items()}), buffer)
    return buffer.getvalue()


def read(content: bytes, declared: Source, tell: list[str] | None = None) -> list[dict[str, Any]]:
    said: list[str] = [] if tell is None else tell
    part = Part(Origin("shop/orders of 2026-01-05", "landing/orders"), content)
    return parse([part], declared, said.append).to_pylist()


def refused(content: bytes, declared: Source) -> BatchUnreadable:
    with pytest.raises(BatchUnreadable) as caught:
        read(content, declared)
    return caught.value


def unread(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(row["_place"], row["_unparsed"]) for row in rows if row["_unparsed"] is not None]


# names


RENAMED = {"amount": {"type": "float", "from": "MinTemp"}, "note": {"type": "string", "from": "Ziel Wert"}}
NAMES = {"MinTemp": "amount", "Ziel Wert": "note"}


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_columns_have_the_names_that_they_arrive_under(kind: str) -> None:
    row = {"order_id": "o1", "at": "2026-01-05T10:00:00Z", "MinTemp": "10.5", "items": "2", "Ziel Wert": "ok"}
    if kind == "parquet":
        buffer = io.BytesIO()
        pq.write_table(pa.table({name: [value] for name, value in reversed(row.items())}), buffer)
        content = buffer.getvalue()
    else:
        content = jsonl(row) if kind == "jsonl" else csv(ROW, header=",".join(row))
    (one,) = read(content, source(RENAMED, format=kind))
    assert (one["amount"], one["note"], one["items"], one["_unparsed"]) == (10.5, "ok", 2, None)
    assert [*one][: len(COLUMNS)] == [*COLUMNS]


def test_a_name_that_only_looks_like_the_declared_one_is_shown_with_what_to_declare() -> None:
    error = refused(csv(ROW, header="order_id,at,MinTemp,items,note\u200b"), source({"min_temp": "float"}))
    assert "unexpected: 'MinTemp', 'note\\u200b'" in error.found
    assert "'note\\u200b' reads like note" in error.found and "'MinTemp' reads like min_temp" in error.found
    assert 'declare `from: "MinTemp"` of min_temp' in error.next_step


# nothing


WORDS = ["NA", "NULL", "\\N", "#N/A", "-", "?"]


def test_words_for_nothing_are_nothing_where_they_are_declared() -> None:
    content = csv(*({"amount": word} for word in [*WORDS, " NA ", "10.5"]))
    rows = read(content, source(nulls=tuple(WORDS)))
    assert [row["amount"] for row in rows] == [None] * 7 + [10.5]
    assert unread(rows) == []
    undeclared = read(content, source())
    assert unread(undeclared)[:2] == [("line 2", "amount=NA"), ("line 3", "amount=NULL")]
    assert len(unread(undeclared)) == 7


def test_a_column_may_have_words_for_nothing_of_its_own() -> None:
    """NA is Namibia."""
    declared = source(
        {"note": {"type": "string", "nulls": ()}, "items": {"type": "int", "nulls": ("none",)}}, nulls=("NA",)
    )
    (row,) = read(csv({"amount": "NA", "note": "NA", "items": "none"}), declared)
    assert (row["amount"], row["note"], row["items"], row["_unparsed"]) == (None, "NA", None, None)


# numbers


def test_european_numbers_are_read_where_they_are_declared() -> None:
    numbers = ["10,50", "1.299", "1.299,99", "12", "1.000.000,5", "-0,5", ",5", "1,5e3"]
    rows = read(
        csv(*({"amount": each} for each in numbers), sep=";"), source(delimiter=";", decimal=",", thousands=".")
    )
    assert [row["amount"] for row in rows] == [10.5, 1299, 1299.99, 12, 1_000_000.5, -0.5, 0.5, 1500]
    wrong = read(
        csv({"amount": "1.29"}, {"amount": "0,5", "items": "1.2999"}, sep=";"),
        source(delimiter=";", decimal=",", thousands="."),
    )
    assert unread(wrong) == [("line 2", "amount=1.29"), ("line 3", "items=1.2999")]
    (whole,) = read(csv({"amount": "1", "items": "1.200"}, sep=";"), source(delimiter=";", decimal=",", thousands="."))
    assert whole["items"] == 1200


def test_european_numbers_that_are_not_declared_are_refused_alike() -> None:
    """Where one cell of a column has a decimal comma, 1.299 may be 1299: it is never published as 1.299."""
    numbers = ["10,50", "1.299", "12", "7", "10.5", "1.299.000,5"]
    rows = read(csv(*({"amount": each} for each in numbers), sep=";"), source(delimiter=";"))
    assert [row["amount"] for row in rows] == [None, None, 12, 7, 10.5, None]
    assert unread(rows) == [("line 2", "amount=10,50"), ("line 3", "amount=1.299"), ("line 7", "amount=1.299.000,5")]
    plain = read(csv({"amount": "1.299"}, {"amount": "ten"}), source())
    assert [row["amount"] for row in plain] == [1.299, None], "where no cell has a comma it is what it says"


@pytest.mark.parametrize(
    ("text", "declared"),
    [
        ("1,234.50", {"thousands": ","}),
        ("1'234.50", {"thousands": "'"}),
        ("1 234.50", {"thousands": " "}),
        ("1\u00a0234.50", {"thousands": " "}),
        ("1\u202f234,50", {"thousands": " ", "decimal": ","}),
        ("1234,5", {"decimal": ","}),
    ],
)
def test_numbers_as_people_write_them(text: str, declared: dict[str, str]) -> None:
    (row,) = read(csv({"amount": text}, sep="|"), source(delimiter="|", **declared))
    assert (row["amount"], row["_unparsed"]) == (1234.5, None)
    (other,) = read(csv({"amount": text}, sep="|"), source(delimiter="|"))
    assert other["_unparsed"] == f"amount={text}"


@given(
    number=st.decimals(-(10**9), 10**9, places=3),
    decimal=st.sampled_from([".", ","]),
    thousands=st.sampled_from([None, ".", ",", "'", " "]),
)
def test_every_number_is_read_back_as_it_was_written(number: Any, decimal: str, thousands: str | None) -> None:
    if thousands == decimal:
        thousands = None
    grouped = f"{number:,}" if thousands else f"{number}"
    text = grouped.translate(str.maketrans({",": thousands or ",", ".": decimal}))
    options = {"delimiter": "|", "decimal": decimal, "thousands": thousands}
    (row,) = read(csv({"amount": text}, sep="|"), source(**options))
    assert (row["amount"], row["_unparsed"]) == (float(number), None), text


def test_numbers_of_parquet_are_no_text_and_need_no_declaration() -> None:
    (row,) = read(
        parquet(amount=[1299.5], items=[2.0]), source(format="parquet", decimal=",", thousands=".", nulls=("2",))
    )
    assert (row["amount"], row["items"]) == (1299.5, 2)


# times


def test_times_and_days_are_read_as_they_are_declared() -> None:
    declared = {
        "at": {"type": "timestamp", "format": "%d.%m.%Y %H:%M"},
        "note": {"type": "date", "format": ("%m/%d/%Y", "%d %b %Y")},
    }
    rows = read(
        csv({"at": "09.01.2026 10:05", "note": "01/31/2026"}, {"at": "2026-01-09", "note": "9 Jan 2026"}),
        source(declared),
    )
    assert (rows[0]["at"], rows[0]["note"]) == (datetime(2026, 1, 9, 10, 5, tzinfo=UTC), date(2026, 1, 31))
    assert (rows[1]["at"], rows[1]["note"]) == (None, date(2026, 1, 9))
    assert unread(rows) == [("line 3", "at=2026-01-09")], "ISO is not what is declared"


EPOCHS = {"epoch_s": 1_768_989_600, "epoch_ms": 1_768_989_600_000, "epoch_us": 1_768_989_600_000_000}


@pytest.mark.parametrize("unit", EPOCHS)
def test_epochs_are_times_where_they_are_declared(unit: str) -> None:
    moment, number = datetime(2026, 1, 21, 10, tzinfo=UTC), EPOCHS[unit]
    declared = {"at": {"type": "timestamp", "format": unit}}
    assert read(csv({"at": str(number)}), source(declared))[0]["at"] == moment
    assert read(jsonl(ROW | {"at": number}), source(declared, format="jsonl"))[0]["at"] == moment
    for values in ([number], [float(number)], [str(number)]):
        assert read(parquet(at=values), source(declared, format="parquet"))[0]["at"] == moment
    (row,) = read(parquet(at=[number]), source(format="parquet"))
    assert unread([row]) == [("row 0", f"at={number}")], "and no times where they are not"
    far = read(csv({"at": "9" * 30}, {"at": "nan"}, {"at": "soon"}), source(declared))
    assert [each["at"] for each in far] == [None] * 3 and len(unread(far)) == 3


def test_a_time_without_a_zone_is_in_the_declared_one() -> None:
    declared = {"at": {"type": "timestamp", "zone": "Europe/Berlin"}}
    texts = ["2026-01-05 10:00", "2026-07-05T10:00:00", "2026-01-05T10:00:00Z", "2026-01-05 10:00:00+05", "2026-01-05"]
    rows = read(csv(*({"at": text} for text in texts)), source(declared))
    hours = [(row["at"] - datetime(2026, row["at"].month, 5, tzinfo=UTC)) / timedelta(hours=1) for row in rows[:4]]
    assert hours == [9, 8, 10, 5]
    assert rows[4]["at"] == datetime(2026, 1, 4, 23, tzinfo=UTC)
    naive = pa.array([datetime(2026, 1, 5, 10)], pa.timestamp("us"))
    zoned = pa.array([datetime(2026, 1, 5, 10, tzinfo=UTC)], pa.timestamp("us", "UTC"))
    for values, hour in ((naive, 9), (zoned, 10)):
        (row,) = read(parquet(at=values), source(declared, format="parquet"))
        assert row["at"] == datetime(2026, 1, 5, hour, tzinfo=UTC)
    formatted = {
        "at": {"type": "timestamp", "format": ("%d.%m.%Y %H:%M %z", "%d.%m.%Y %H:%M"), "zone": "Europe/Berlin"}
    }
    rows = read(csv({"at": "05.01.2026 10:00 +0000"}, {"at": "05.01.2026 10:00"}), source(formatted))
    assert [row["at"].hour for row in rows] == [10, 9]


@given(
    moment=st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)).map(lambda each: each.replace(microsecond=0)),
    written=st.sampled_from(
        ["%d.%m.%Y %H:%M:%S", "%Y%m%d%H%M%S", "%m/%d/%Y %I:%M:%S %p", "%-d %b %Y %H.%M.%S", "%Y-%j %H:%M:%S"]
    ),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York"]),
)
def test_every_time_is_read_back_as_it_was_written(moment: datetime, written: str, zone: str) -> None:
    zoned = moment.replace(tzinfo=ZoneInfo(zone))
    utc = zoned.astimezone(UTC)
    if (
        utc.astimezone(ZoneInfo(zone)).replace(tzinfo=None) != moment
        or zoned.utcoffset() != zoned.replace(fold=1).utcoffset()
    ):
        return  # an hour that the clock leaps over, or shows twice
    declared = {"at": {"type": "timestamp", "format": written, "zone": zone}}
    (row,) = read(csv({"at": moment.strftime(written)}), source(declared))
    assert row["at"] == utc


# keys


def test_integers_that_pandas_wrote_as_floats_are_integers() -> None:
    rows = read(csv({"order_id": "1001.0", "items": "3.0"}, {"order_id": "1002.0", "items": ""}), source())
    assert [row["items"] for row in rows] == [3, None]
    whole = source({"order_id": {"type": "string", "normalise": ("whole",)}})
    texts = ["1001.0", "1001", "1001.5", "007.00", "v1.0", "1.0.0"]
    rows = read(csv(*({"order_id": text} for text in texts)), whole)
    assert [row["order_id"] for row in rows] == ["1001", "1001", None, "007", "v1.0", "1.0.0"]
    assert unread(rows) == [("line 4", "order_id=1001.5")], "a number with a fraction is no whole one"


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_key_that_arrives_as_1001_0_is_1001(kind: str) -> None:
    """Whether it names the row, or an entity: what pandas makes of integers where one is missing."""
    declared = source({"note": "string"}, format=kind)
    of = {"order_id": [1001.0, 1002.5, None], "note": [7.0, 7.5, 8.0]}
    if kind == "csv":
        content = csv(*({"order_id": str(one or ""), "note": str(two)} for one, two in zip(*of.values(), strict=True)))
    elif kind == "jsonl":
        content = jsonl(*(ROW | {"order_id": one, "note": two} for one, two in zip(*of.values(), strict=True)))
    else:
        buffer = io.BytesIO()
        pq.write_table(pa.table({name: of.get(name, [text] * 3) for name, text in ROW.items()}), buffer)
        content = buffer.getvalue()
    said: list[str] = []
    rows = read(content, declared.naming(["note"]), said)
    assert [(row["order_id"], row["note"]) for row in rows] == [("1001", "7"), (None, None), (None, "8")]
    assert [row["_unparsed"] for row in rows] == [None, "order_id=1002.5; note=7.5", None] and not said
    as_it_is = source({"order_id": {"type": "string", "normalise": ()}}, format=kind).naming(["note"])
    assert [row["order_id"] for row in read(content, as_it_is)][1] == "1002.5"
    readable = as_it_is.columns["order_id"], declared.naming([]).columns["order_id"]
    assert cells.readable(readable[0], ".", None) == "text"
    assert "as it is with `normalise: []`" in cells.readable(readable[1], ".", None)


def test_a_key_that_may_be_such_an_integer_is_told() -> None:
    """It may be a version too: so it is read as it is."""
    said: list[str] = []
    rows = read(csv({"order_id": "1001.0"}, {"order_id": "1002.0"}), source(), said)
    assert [row["order_id"] for row in rows] == ["1001.0", "1002.0"]
    (warning,) = said
    assert "order_id: every value is a whole number with .0, such as '1001.0'" in warning
    assert "`normalise: [whole]`" in warning
    read(csv({"order_id": "1001.0"}, {"order_id": "1002.5"}), source(), said)
    assert len(said) == 1


def test_numbers_that_are_keys_are_written_without_a_point() -> None:
    declared = source(format="parquet")
    for values in ([1001.0, None, 1003.0], [1001, None, 1003]):
        table = {name: [text] * 3 for name, text in ROW.items()} | {"order_id": values}
        buffer = io.BytesIO()
        pq.write_table(pa.table(table), buffer)
        assert [row["order_id"] for row in read(buffer.getvalue(), declared)] == ["1001", None, "1003"]
    assert read(parquet(order_id=[1001.5]), declared)[0]["order_id"] == "1001.5"
    assert read(parquet(order_id=[float("nan")]), declared)[0]["order_id"] is None
    rows = read(jsonl(*(ROW | {"order_id": each} for each in (1001, 1001.0, "1001.0", 1001.5))), source(format="jsonl"))
    assert [row["order_id"] for row in rows] == ["1001", "1001", "1001.0", "1001.5"]


LOOK_ALIKE = ["caf\u00e9", "cafe\u0301", " 1001", "1001 ", "1001\u00a0", "1001", "1001\u200b"]


def test_look_alike_keys_are_separate_unless_normalisation_is_declared() -> None:
    content = csv(*({"order_id": key} for key in LOOK_ALIKE))
    assert [row["order_id"] for row in read(content, source())] == LOOK_ALIKE
    declared = source({"order_id": {"type": "string", "normalise": ("blanks", "unicode")}})
    assert {row["order_id"] for row in read(content, declared)} == {"caf\u00e9", "1001"}
    (blank,) = read(csv({"order_id": "   "}), declared)
    assert (blank["order_id"], blank["_unparsed"]) == (None, None)


@given(key=st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='",'), min_size=1))
def test_a_key_has_one_form_however_often_it_is_normalised(key: str) -> None:
    declared = source({"order_id": {"type": "string", "normalise": ("blanks", "unicode", "whole")}}, format="jsonl")
    (once,) = read(jsonl(ROW | {"order_id": key}), declared)
    (twice,) = read(jsonl(ROW | {"order_id": once["order_id"] or ""}), declared)
    assert (twice["order_id"] or None) == (once["order_id"] or None)


# lines


@pytest.mark.parametrize("in_header", [True, False])
def test_a_trailing_delimiter_is_read_where_it_is_declared(in_header: bool) -> None:
    content = csv({"note": "ok,"}, {"note": ","}, header=",".join(ROW) + ("," if in_header else ""))
    rows = read(content, source(trailing_delimiter=True))
    assert [row["note"] for row in rows] == ["ok", None] and unread(rows) == []
    error = refused(content, source())
    assert "declare `trailing_delimiter: true` for the source" in error.next_step
    assert ("a header that ends with" if in_header else "line 2: 6 cells") in error.found
    beyond = csv({"note": "ok,"}, {"note": "ok,more"}, header=",".join(ROW) + ",")
    assert "line 3: 'more' after the last column" in refused(beyond, source(trailing_delimiter=True)).found
    assert [row["note"] for row in read(csv(ROW), source(trailing_delimiter=True))] == ["ok"], "it may be left out"
    assert read((",".join(ROW) + ",\n").encode(), source(trailing_delimiter=True)) == []


def test_excels_first_line_is_no_header() -> None:
    content = b"sep=;\r\n" + csv(ROW, {"items": "x"}, sep=";", end="\r\n")
    rows = read(content, source(delimiter=";"))
    assert [row["items"] for row in rows] == [2, None]
    assert unread(rows) == [("line 4", "items=x")], "lines are counted from the file's first"
    error = refused(content, source())
    assert error.found == "a first line that says sep=;"
    assert 'declare `delimiter: ";"`' in error.next_step


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_titles_above_the_header_are_passed_over_where_they_are_declared(end: str) -> None:
    titles = end.join(['Report, "of January"', "", "as of,2026-01-31", ""])
    content = titles.encode() + csv(ROW, {"items": "x"}, end=end)
    rows = read(content, source(skip_lines=3))
    assert [row["items"] for row in rows] == [2, None]
    assert unread(rows) == [("line 6", "items=x")], "lines are counted from the file's first"
    error = refused(content, source())
    assert error.found.startswith("the names of the columns in line 4, and other lines above it: 'Report, ")
    assert "declare `skip_lines: 3`" in error.next_step
    assert refused(content, source(skip_lines=9)).found == "nothing below the first 9 lines"


def test_stray_quotes_swallow_no_rows() -> None:
    opened = {"note": '"opened in error'}
    quoted = csv(ROW, opened, ROW, ROW, {"note": 'closed here"'}, ROW)
    assert refused(quoted, source()).found.startswith("line 3: a quote opens a value that ends in line 6, and ")
    times = {"epoch_s": "1768989600", "%d.%m.%Y %H:%M": "21.01.2026 10:00"}
    for written, text in times.items():  # however times are written
        content = csv(*({"at": text} | each for each in ({}, opened, {}, {}, {"note": 'closed here"'}, {})))
        declared = source({"at": {"type": "timestamp", "format": written}})
        assert "of the lines between read as rows" in refused(content, declared).found


def test_the_place_of_a_cell_is_the_line_that_its_row_begins_in() -> None:
    content = csv(ROW, {"items": "x"}, {"note": '"two\nlines"'}, {"items": "y"}).replace(b"o1,2026", b"\n\no1,2026", 1)
    assert unread(read(content, source())) == [("line 5", "items=x"), ("line 8", "items=y")]
    lines = jsonl(ROW, ROW | {"items": "x"}) + b"\n\n" + jsonl(ROW | {"items": "y"})
    assert [place for place, _ in unread(read(lines, source(format="jsonl")))] == ["line 2", "line 4"]


def test_the_place_of_a_cell_names_the_part_where_there_are_several() -> None:
    parts = [
        Part(Origin("shop/orders of 2026-01-05", f"landing/part-{number}.csv"), csv(ROW, {"items": "x"}))
        for number in (1, 2)
    ]
    rows = parse(parts, source()).to_pylist()
    assert unread(rows) == [("part-1.csv, line 3", "items=x"), ("part-2.csv, line 3", "items=x")]


# keys of JSON


def test_a_json_key_that_no_row_has_is_null_and_told() -> None:
    sparse = {name: value for name, value in ROW.items() if name != "note"}
    said: list[str] = []
    rows = read(jsonl(sparse, sparse), source({"note": {"type": "string", "from": "Ziel Wert"}}, format="jsonl"), said)
    assert [row["note"] for row in rows] == [None, None]
    assert said == ["no object of orders has the key 'Ziel Wert': note is null in 2 rows"]
    read(jsonl(sparse, ROW), source(format="jsonl"), said)
    assert len(said) == 1, "one that some row has is told by nobody"
    misspelt = sparse | {"Note": "ok"}
    assert "'Note' reads like note" in refused(jsonl(misspelt), source(format="jsonl")).found


@pytest.mark.parametrize("options", [{}, {"nulls": ("NA",)}, {"decimal": ","}, {"thousands": "."}])
@pytest.mark.parametrize("blank", [" ", "\u00a0", "  \t"])
def test_a_number_or_a_time_of_nothing_but_blanks_is_none(blank: str, options: dict[str, Any]) -> None:
    empty = {"amount": blank, "items": blank, "due": blank, "paid": blank}
    declared = source({"due": {"type": "date", "format": ("%d.%m.%Y",)}, "paid": "bool"}, format="jsonl", **options)
    (row,) = read(jsonl(ROW | {"due": "", "paid": ""} | empty), declared)
    assert row["_unparsed"] is None and {row[name] for name in empty} == {None}
    (row,) = read(jsonl(ROW | {"due": "", "paid": "", "note": blank}), declared)
    assert row["note"] == blank, "of a text nobody says that it is none"


@pytest.mark.parametrize(
    ("unit", "options", "cell", "value"),
    [
        ("$", {}, "$12.50", 12.5),
        ("$", {}, "-$12.50", -12.5),
        ("$", {}, "$ -12.50 ", -12.5),
        ("$", {}, "12.50", 12.5),
        ("$", {"thousands": ","}, "$1,234.50", 1234.5),
        ("%", {}, "12 %", 12.0),
        ("%", {}, "12%", 12.0),
        ("€", {"decimal": ",", "thousands": " "}, "1\u202f234,5\u00a0€", 1234.5),
        ("Fr.", {"thousands": "'"}, "Fr. 1'234.50", 1234.5),
        ("m2", {}, "70 m2", 70.0),
        ("$", {"nulls": ("$-", "-")}, "$-", None),
        ("$", {}, " ", None),
    ],
)
def test_a_number_is_read_without_its_unit(unit: str, options: dict[str, Any], cell: str, value: float | None) -> None:
    declared = source({"amount": {"type": "float", "unit": unit}}, delimiter=";", **options)
    (row,) = read(csv({"amount": cell}, sep=";"), declared)
    assert (row["amount"], row["_unparsed"]) == (value, None)


@pytest.mark.parametrize("cell", ["€12.50", "$", "$$12.50", "$12.50$", "12.50 USD", "12$50", "-$-1", "US$12"])
def test_a_cell_with_another_unit_goes_to_quarantine(cell: str) -> None:
    declared = source({"amount": {"type": "float", "unit": "$"}})
    rows = read(csv({"amount": cell}, {"amount": "$1"}), declared)
    assert rows[0]["_unparsed"] == f"amount={cell}" and rows[1]["amount"] == 1.0


def test_a_unit_hides_no_decimal_comma() -> None:
    declared = source({"amount": {"type": "float", "unit": "€"}}, delimiter=";")
    rows = read(csv({"amount": "1.299 €"}, {"amount": "10,50 €"}, {"amount": "7 €"}, sep=";"), declared)
    assert [row["amount"] for row in rows] == [None, None, 7.0], "1.299 may be 1299"


@pytest.mark.parametrize("unit", ["", " $", "12", "-", "$ "])
def test_what_is_no_unit_is_refused(unit: str) -> None:
    with pytest.raises(ValueError, match="unit"):
        source({"amount": {"type": "float", "unit": unit}})
