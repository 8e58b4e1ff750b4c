"""A sample as cells under the names that it gives them; a file as it lies, and how it would have to be declared."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from evergreen.errors import BatchUnreadable, PermanentError
from evergreen.ingest import jsonl, limits, lines
from evergreen.ingest.delimited import text_columns
from evergreen.ingest.origin import Origin
from evergreen.onboarding import layout, strangers
from evergreen.onboarding.rules import Relation
from evergreen.quoting import listed, shown

_GZIP = b"\x1f\x8b"
_LEAST = 20  # rows
_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8"}


class SampleUnusable(PermanentError):
    """A file or a table that no model can be made of as it is."""


@dataclass(frozen=True)
class Cells:
    """The rows of a sample.

    Attributes:
        name: of the file, or of the table.
        table: its columns by its own names: text, or the types that Parquet or a database gives them.
        declared: keys of a source that read a file so: `format`, `delimiter`, `encoding`, `trailing_delimiter`.
        file: where it lies.
        relation: where it stands in a database, in place of a file.
    """

    name: str
    table: pa.Table
    declared: Mapping[str, object] = field(default_factory=dict)
    file: Path | None = None
    relation: Relation | None = None


def read(file: Path) -> Cells:
    """The cells of a CSV, JSON or Parquet file, the first two maybe as gzip.

    Raises:
        SampleUnusable: it is not there, empty, or none of these.
    """
    try:
        content = file.read_bytes()
        packed = content.startswith(_GZIP)
        if packed:
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        other = "name another file: --from FILE; of a connection to a database say --table NAME or --query SQL, too"
        raise unusable(file, f"{type(error).__name__}: {error}", "a file that can be read", other) from error
    if len(content) > limits.batch():
        raise unusable(file, f"{len(content):,} bytes", f"at most {limits.batch():,} (EVERGREEN_LARGEST_BATCH_MB)")
    if content.startswith(b"PAR1"):
        return _parquet(file)
    if strange := strangers.look(content):
        raise unusable(file, strange.found, "CSV, JSON Lines, a JSON list or Parquet", strange.next_step)
    stated: dict[str, object] = {}
    if packed != file.name.endswith(".gz"):
        stated["compression"] = "gzip" if packed else "none"
    encoding = _encoding(content)
    text = content.decode(encoding).removeprefix("\ufeff")
    if not text.strip():
        raise unusable(file, "an empty file", "rows")
    if encoding != "utf-8":
        stated["encoding"] = encoding
    if text.lstrip().startswith(("{", "[")):
        return _jsonl(file, text, stated)
    return _csv(file, text, stated)


def unusable(
    file: Path, found: str, expected: str, next_step: str = "name another file: --from FILE"
) -> SampleUnusable:
    """The error that says what is wrong with the file."""
    return SampleUnusable(f"reading {shown(str(file), 200)}", found=found, expected=expected, next_step=next_step)


def learnable(table: pa.Table, error: Callable[[str, str, str], SampleUnusable]) -> pa.Table:
    """The table, if every column has a name of its own and there are rows enough.

    Args:
        error: makes the error of what was found, what was expected, and what to do.

    Raises:
        SampleUnusable: otherwise.
    """
    twice = sorted({name for name in table.column_names if table.column_names.count(name) > 1})
    if twice:
        raise error(f"columns of one name: {listed(twice)}", "every column named once", "name each of them once")
    if table.num_rows < _LEAST:
        raise error(f"{table.num_rows} rows", f"at least {_LEAST} to learn from", "name one with more rows")
    return table


def _encoding(content: bytes) -> str:
    for mark, name in _MARKS.items():
        if content.startswith(mark):
            return name
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def _parquet(file: Path) -> Cells:
    try:
        table = pyarrow.parquet.ParquetFile(file).read()
    except (pa.ArrowException, OSError) as error:
        raise unusable(file, f"Parquet that cannot be read: {error}", "a whole Parquet file") from error
    return _cells(file, table, {"format": "parquet"})


def _jsonl(file: Path, text: str, stated: Mapping[str, object]) -> Cells:
    names: dict[str, None] = {}
    rows = []
    try:
        for _, _, row in jsonl.objects(text, Origin("a file", str(file))):
            names.update(dict.fromkeys(row))
            rows.append({name: jsonl.cell(value) for name, value in row.items()})
    except BatchUnreadable as error:
        raise unusable(file, error.found, error.expected) from error
    table = pa.table({name: pa.array([row.get(name) for row in rows], pa.string()) for name in names})
    return _cells(file, table, {"format": "jsonl", **stated})


def _csv(file: Path, text: str, stated: Mapping[str, object]) -> Cells:
    said = text.lstrip("\r\n")
    if said[:4].lower() == "sep=":  # Excel's; ingestion passes over it
        said = lines.below(said, 1)
    laid = layout.layout(said)
    above = text[: len(text) - len(said)]
    text, first = said, len(above.splitlines()) + 1
    if laid.titles:
        text, first = lines.below(said, laid.titles), first + laid.titles
        stated = {**stated, "skip_lines": first - 1}
    delimiter, (names, *others) = laid.delimiter, laid.rows
    if all(map(layout.is_number, filter(None, names))):
        raise _unnamed(file, first, names, "all of them numbers")
    bare = names[-1] == "" and not any(row[-1] for row in others if len(row) == len(names))
    _once(file, first, names[: len(names) - bare])
    declared = dict(stated) | ({} if delimiter == "," else {"delimiter": delimiter})
    widths = {len(names), *map(len, others)}
    if widths == {len(names)} and names[-1] == "" and len(names) > 1:  # all lines, the header too
        text = "\n".join(line.rstrip("\r").removesuffix(delimiter) for line in text.split("\n"))
        names, declared["trailing_delimiter"] = names[:-1], True
    elif widths == {len(names), len(names) + 1}:
        header, *below = text.split("\n")
        text = "\n".join([header, *(line.rstrip("\r").removesuffix(delimiter) for line in below)])
        declared["trailing_delimiter"] = True
    try:
        options = pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
        table = text_columns(text.encode(), names, options, null_values=[""], quoted_strings_can_be_null=True)
    except pa.ArrowInvalid as error:
        width, *more = {*map(len, others)} or {len(names)}
        if not more and width != len(names):
            raise _unnamed(file, first, names, f"and the lines below it have {width} cells") from error
        wrong = lines.Look(text, delimiter, len(names), first).misshapen().words
        raise unusable(file, wrong, f"{len(names)} cells a row, as its header has", "correct the file there") from error
    return _cells(file, table, {"format": "csv", **declared})


def _once(file: Path, line: int, names: list[str]) -> None:
    """Refuse a header that names a column twice: nobody knows which of them is meant."""
    for name in dict.fromkeys(names):
        places = [str(at) for at, each in enumerate(names, 1) if each == name]
        if len(places) > 1:
            called = f"columns {listed(places, 6)} " + (f"the same: {shown(name)}" if name else "nothing at all")
            raise unusable(
                file,
                f"line {line} calls {called}",
                "a name of its own for every column",
                "give each its name in that line, or delete the columns that have no values",
            )


def _unnamed(file: Path, line: int, names: list[str], but: str) -> SampleUnusable:
    """The error of a file whose first line does not name its columns."""
    found = f"line {line} names {len(names)} columns, {but}: {listed(names, 6)}"
    return unusable(file, found, "a first line that names every column", "write one there: a name for each column")


def _cells(file: Path, table: pa.Table, declared: Mapping[str, object]) -> Cells:
    def error(found: str, expected: str, next_step: str) -> SampleUnusable:
        return unusable(file, found, expected, next_step)

    return Cells(file.name, learnable(table, error), declared, file)
