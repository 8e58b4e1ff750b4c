"""Files as other systems export them: compressed, in other encodings, with other delimiters, several a day."""

from __future__ import annotations

import bz2
import gzip
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evergreen.errors import BatchMissing, BatchUnreadable
from evergreen.ingest import landing
from evergreen.ingest.landing import Part
from evergreen.ingest.origin import Origin
from evergreen.ingest.parse import parse
from evergreen.spec.dataset import Source

ROWS = "id,at,name\n1,2026-01-05T10:00:00Z,café\n2,2026-01-05T11:00:00Z,Łódź\n"
LATIN = ROWS.replace("Łódź", "Zürich")
NAMES = ["café", "Łódź"]
SUBJECT = "shop/visits of 2026-01-05"


def source(**options: Any) -> Source:
    columns = {"id": "int", "at": "timestamp", "name": "string"}
    return Source.model_validate(
        {"path": "visits/{partition}.csv", "event_time": "at", "keys": ("id",), "columns": columns, **options}
    )


def names(content: bytes, name: str = "2026-01-05.csv", **options: Any) -> list[str]:
    part = Part(Origin(SUBJECT, f"landing/visits/{name}"), content)
    return parse([part], source(**options))["name"].to_pylist()


def unreadable(content: bytes, name: str = "2026-01-05.csv", **options: Any) -> BatchUnreadable:
    with pytest.raises(BatchUnreadable) as caught:
        names(content, name, **options)
    assert caught.value.doing == f"reading the batch of {SUBJECT} from landing/visits/{name}"
    return caught.value


# compression


def test_gzip_is_read_where_the_name_or_the_spec_says_so() -> None:
    assert names(gzip.compress(ROWS.encode()), "2026-01-05.csv.gz") == NAMES
    assert names(gzip.compress(ROWS.encode()), compression="gzip") == NAMES
    assert names(ROWS.encode(), "2026-01-05.csv.gz", compression="none") == NAMES
    lines = gzip.compress(b'{"id": 1, "at": null, "name": "x"}')
    assert names(lines, "2026-01-05.jsonl.gz", format="jsonl") == ["x"]
    halves = ROWS.encode()[:40], ROWS.encode()[40:]
    assert names(b"".join(map(gzip.compress, halves)), "2026-01-05.csv.gz") == NAMES, "several members, as `cat` makes"


def test_gzip_that_nobody_declared_says_what_to_declare() -> None:
    for kind in ("csv", "jsonl"):
        error = unreadable(gzip.compress(ROWS.encode()), format=kind)
        assert error.found == "gzip (it begins with 1f 8b)"
        assert "or declare `compression: gzip` for the source" in error.next_step
    error = unreadable(gzip.compress(b"PAR1"), "2026-01-05.parquet.gz", format="parquet")
    assert (error.found, error.expected) == ("gzip (it begins with 1f 8b)", "parquet as it is, not inside of gzip")
    assert "declare" not in error.next_step, "there is nothing to declare that would help"


def test_what_is_declared_as_gzip_and_is_none_says_what_it_begins_with() -> None:
    error = unreadable(bz2.compress(ROWS.encode()), compression="gzip")
    assert (error.found, error.expected) == ("no gzip (it begins with 42 5a)", "gzip, as declared")
    assert "declare `compression: none`" in error.next_step
    assert unreadable(ROWS.encode(), "2026-01-05.csv.gz").expected == "gzip, as its name says"
    assert unreadable(b"", "2026-01-05.csv.gz").found == "no gzip (it begins with nothing: an empty file)"


def test_a_broken_gzip_stream_is_no_shorter_day() -> None:
    whole = gzip.compress((ROWS * 200).encode())
    broken = {
        "cut": whole[:-20],
        "its sum": whole[:-8] + b"\0\0\0\0" + whole[-4:],
        "its bytes": whole[:20] + b"\xff\xff\xff\xff" + whole[24:],
        "more behind it": whole + b"more",
    }
    for how, content in broken.items():
        error = unreadable(content, compression="gzip")
        assert error.found.startswith("a broken gzip stream: "), how
        assert error.expected == "a whole gzip file"


# encoding


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig", "cp1250", "gb18030"]
)
def test_text_of_the_declared_encoding_is_read(encoding: str) -> None:
    text = ROWS.replace("é", "e") if encoding == "cp1250" else ROWS
    assert names(text.encode(encoding), encoding=encoding) == [
        name.replace("é", "e") if encoding == "cp1250" else name for name in NAMES
    ]
    line = '{"id": 1, "at": null, "name": "Łódź"}'.encode(encoding)
    assert names(line, format="jsonl", encoding=encoding) == ["Łódź"]


MISREAD = [  # what the file is, what is declared, what it looks like
    ("latin-1", "utf-8", "cp1252"),
    ("utf-16", "utf-8", "utf-16"),
    ("utf-16-le", "utf-8", "utf-16-le"),
    ("utf-16-be", "utf-8", "utf-16-be"),
    ("utf-32", "utf-8", "utf-32"),
    ("utf-8", "latin-1", "utf-8"),
    ("utf-8", "cp1252", "utf-8"),
    ("utf-8-sig", "cp1252", "utf-8"),
    ("utf-16", "cp1252", "utf-16"),
    ("utf-8", "utf-16", "utf-8"),
    ("utf-8", "ascii", "utf-8"),
]


@pytest.mark.parametrize(("is_", "declared", "looks"), MISREAD)
def test_text_of_another_encoding_says_what_it_looks_like(is_: str, declared: str, looks: str) -> None:
    """Also where the declared one takes any bytes, and would make Ã© of é for ever."""
    for kind, text in (("csv", LATIN), ("jsonl", '{"id": 1, "at": null, "name": "Zürich"}\n' * 2)):
        error = unreadable(text.encode(is_), encoding=declared, format=kind)
        assert error.found.endswith(f"; it looks like {looks}"), kind
        assert error.expected == declared.upper()
        assert f"declare `encoding: {looks}` for the source" in error.next_step


def test_what_looks_like_something_else_can_be_declared_and_read() -> None:
    for encoded, _, looks in MISREAD:
        assert names(LATIN.encode(encoded), encoding=looks) == ["café", "Zürich"], f"the advice for {encoded} is wrong"


def test_bytes_that_the_declared_encoding_does_not_have_are_found_by_line() -> None:
    error = unreadable(b"id,at,name\n1,,a\x81\xff", encoding="cp1252")
    assert (error.found, error.expected) == ("byte 0x81 at offset 15, line 2", "CP1252")


# delimiter


@pytest.mark.parametrize("delimiter", [";", "\t", "|", ":"])
def test_cells_are_parted_by_the_declared_delimiter(delimiter: str) -> None:
    text = ROWS.replace(":00:00Z", "").replace(",", delimiter).replace("café", '"a, b"')
    assert names(text.encode(), delimiter=delimiter) == ["a, b", "Łódź"]


@pytest.mark.parametrize(("is_", "declared"), [(";", ","), ("\t", ","), ("|", ","), (",", ";"), (";", "\t")])
def test_a_header_with_another_delimiter_says_which(is_: str, declared: str) -> None:
    text = ROWS.replace(",", is_).replace("café", "1,5;2")  # rows that would fail for a stranger reason
    error = unreadable(text.encode(), delimiter=declared)
    shown = {"\t": '"\\t"'}.get(is_, f'"{is_}"')
    assert (
        error.found == f"one column: {ROWS.splitlines()[0].replace(',', is_)!r}; the header looks delimited by {shown}"
    )
    assert f"declare `delimiter: {shown}` for the source" in error.next_step
    assert names(ROWS.replace(",", is_).encode(), delimiter=is_) == NAMES, "the advice is wrong"


# several files


def put(folder: Path, name: str, content: bytes | str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder / name


def read(zone: Path, path: str = "visits/{partition}/part-*.csv", **options: Any) -> list[dict[str, Any]]:
    parts = landing.read(str(zone), path, "2026-01-05", SUBJECT)
    return parse(parts, source(path=path, **options)).to_pylist()


def rows(*numbers: int) -> str:
    return "id,at,name\n" + "".join(f"{n},2026-01-05T10:00:00Z,n{n}\n" for n in numbers)


def test_all_matching_files_in_order_of_their_names_are_one_batch(tmp_path: Path) -> None:
    day = tmp_path / "visits" / "2026-01-05"
    put(day, "part-2.csv", rows(3))
    put(day, "part-1.csv", rows(1, 2))
    put(day, "part-10.csv", rows())
    put(day, "part-3.csv", rows(4, 5))
    put(day, "part-3.csv.tmp", "unfinished")
    put(day, "_SUCCESS", "")
    (day / "part-4.csv").mkdir()
    put(tmp_path / "visits" / "2026-01-06", "part-1.csv", rows(9))
    batch = read(tmp_path)
    assert [(row["id"], row["_row"]) for row in batch] == [(1, 0), (2, 1), (3, 2), (4, 3), (5, 4)]
    assert [(row["id"], row["_row"]) for row in read(tmp_path, "visits/{partition}/part-2.csv")] == [(3, 0)]


@pytest.mark.parametrize("written", [range(20), range(19, -1, -1), [7 * n % 20 for n in range(20)]])
def test_the_order_is_that_of_the_names_and_not_that_of_the_folder(written: Iterable[int], tmp_path: Path) -> None:
    for number in written:
        put(tmp_path, f"2026-01-05-{number:02}.csv", rows(number))
    assert [row["id"] for row in read(tmp_path, "{partition}-*.csv")] == list(range(20))


def test_files_of_a_day_beside_those_of_others_may_be_compressed_each_by_its_name(tmp_path: Path) -> None:
    put(tmp_path, "2026-01-05-a.csv.gz", gzip.compress(rows(1).encode()))
    put(tmp_path, "2026-01-05-b.csv", rows(2))
    put(tmp_path, "2026-01-04-c.csv", rows(3))
    assert [row["id"] for row in read(tmp_path, "{partition}-*")] == [1, 2]


def test_a_star_in_front_passes_over_what_is_unfinished_or_no_data(tmp_path: Path) -> None:
    day = tmp_path / "2026-01-05"
    for name in ("_SUCCESS", ".part-0.csv.crc", "_temporary.csv", ".csv"):
        put(day, name, "no rows")
    put(day, "part-0.csv", rows(1))
    put(day, "[a]?.csv", rows(0))
    assert [row["id"] for row in read(tmp_path, "{partition}/*")] == [0, 1]
    assert [row["id"] for row in read(tmp_path, "{partition}/[a]?*")] == [0], "only the star is no plain character"


@pytest.mark.parametrize("there", ["nothing", "an empty folder", "others"])
def test_no_file_that_matches_is_a_missing_batch(there: str, tmp_path: Path) -> None:
    if there != "nothing":
        (tmp_path / "visits" / "2026-01-05").mkdir(parents=True)
    if there == "others":
        put(tmp_path / "visits" / "2026-01-05", "other.csv", rows(1))
    with pytest.raises(BatchMissing) as caught:
        read(tmp_path)
    assert (caught.value.found, caught.value.expected) == ("no such file", f"{tmp_path}/visits/2026-01-05/part-*.csv")


def test_a_part_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    put(tmp_path, "2026-01-05-1.csv", rows(1))
    wrong = put(tmp_path, "2026-01-05-2.csv", rows(2).replace("name", "title"))
    with pytest.raises(BatchUnreadable, match="columns missing: name; unexpected: 'title'") as caught:
        read(tmp_path, "{partition}-*.csv")
    assert caught.value.doing == f"reading the batch of {SUBJECT} from {wrong}"
    wrong.write_bytes(b"\xff\xff\xff")
    with pytest.raises(BatchUnreadable, match="byte 0xff") as caught:
        read(tmp_path, "{partition}-*.csv")
    assert caught.value.doing.endswith(str(wrong))
    wrong.unlink()
    wrong.symlink_to(tmp_path / "gone")
    with pytest.raises(BatchMissing) as missing:
        read(tmp_path, "{partition}-*.csv")
    assert missing.value.expected == str(wrong)


def test_parquet_parts_may_differ_in_the_types_that_they_hold(tmp_path: Path) -> None:
    for number, ids in enumerate((pa.array([1], pa.int16()), pa.array(["2", "two"]), pa.array([3.0]))):
        table = pa.table({"id": ids, "at": ["2026-01-05"] * len(ids), "name": [None] * len(ids)})
        pq.write_table(table, tmp_path / f"2026-01-05-{number}.parquet")
    rows = read(tmp_path, "{partition}-*.parquet", format="parquet")
    assert [(row["id"], row["_unparsed"], row["_row"]) for row in rows] == [
        (1, None, 0),
        (2, None, 1),
        (None, "id=two", 2),
        (3, None, 3),
    ]


def test_the_hash_is_of_every_name_and_byte() -> None:
    def digest(**parts: bytes) -> str:
        return landing.digest([Part(Origin(SUBJECT, f"landing/{name}"), content) for name, content in parts.items()])

    assert digest(a=b"x") == hashlib.sha256(b"x").hexdigest(), "of one file, as sha256sum tells it"
    different = [
        digest(a=b"x", b=b"yz"),
        digest(a=b"xy", b=b"z"),
        digest(a=b"x", c=b"yz"),
        digest(a=b"x", b=b"yz", c=b""),
        digest(b=b"yz", a=b"x"),
        digest(a=b"xyz"),
    ]
    assert len(set(different)) == len(different)
    assert digest(a=b"x", b=b"yz") == different[0]
