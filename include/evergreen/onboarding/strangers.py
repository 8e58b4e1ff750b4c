"""Files that are none of those which a source reads, by how they begin: what they are, and what to make of them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from typing import NamedTuple

from evergreen.quoting import listed

_AS_CSV = "save the sheet as CSV (in Excel: File, Save As, CSV UTF-8), and name that file: --from FILE"
_MOST = 10  # files of an archive that are named
_READABLE = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".parquet", ".gz")


class Strange(NamedTuple):
    """What a file is, and the next step."""

    found: str
    next_step: str


def look(content: bytes) -> Strange | None:
    """What a file is that no source reads; None: nothing that is known here."""
    for mark, of in _MARKS:
        if content.startswith(mark):
            return of if isinstance(of, Strange) else of(content)
    start = content[:1000].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return Strange("a page of HTML", "download the file itself, and not the page that shows it: --from FILE")
    if start.startswith(b"<?xml"):
        return Strange("an XML file", "make a CSV of it, a row per element: --from FILE")
    return None


def _zipped(content: bytes) -> Strange:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = [each for each in archive.namelist() if not each.endswith("/")]
    except (zipfile.BadZipFile, UnicodeDecodeError, NotImplementedError):  # of a name, or a later format
        return Strange("a zip archive that cannot be opened", "load it again, unpack it, and name the file in it")
    if "xl/workbook.xml" in names or "xl/workbook.bin" in names:
        return Strange("an Excel workbook", _AS_CSV)
    if "content.xml" in names and "mimetype" in names:
        return Strange("an OpenDocument spreadsheet or text", _AS_CSV)
    readable = [each for each in names if each.lower().endswith(_READABLE)]
    return Strange(
        f"a zip archive with {listed(names, _MOST) or 'nothing in it'}",
        f"unpack it, and name a file of it: --from {readable[0] if readable else 'FILE'}",
    )


def _packed(how: str, command: str) -> Strange:
    return Strange(f"a file packed with {how}", f"unpack it (`{command}`), and name what comes out: --from FILE")


_MARKS: tuple[tuple[bytes, Strange | Callable[[bytes], Strange]], ...] = (
    (b"PK\x03\x04", _zipped),
    (b"PK\x05\x06", _zipped),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Strange("an Excel workbook of before 2007", _AS_CSV)),
    (b"BZh", _packed("bzip2", "bunzip2 FILE")),
    (b"\xfd7zXZ\x00", _packed("xz", "unxz FILE")),
    (b"\x28\xb5\x2f\xfd", _packed("zstd", "unzstd FILE")),
    (b"7z\xbc\xaf\x27\x1c", _packed("7-Zip", "7z x FILE")),
    (b"%PDF", Strange("a PDF", "ask who made it for the table itself, as CSV: --from FILE")),
    (
        b"SQLite format 3\x00",
        Strange(
            "an SQLite database",
            "name a table of it: AIRFLOW_CONN_IT=sqlite:////PATH, then --from it --table NAME",
        ),
    ),
    (b"ARROW1", Strange("an Arrow or Feather file", "write it as Parquet (in pandas: to_parquet), and name that file")),
    (b"\x89HDF", Strange("an HDF5 file", "write its table as Parquet (in pandas: to_parquet), and name that file")),
)
