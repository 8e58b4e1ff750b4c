"""A CSV becomes a table of text: what its cells mean is decided later, and nothing is guessed."""

from __future__ import annotations

import csv
import io
import json
import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.csv

from evergreen.ingest import decode, limits, lines
from evergreen.ingest.cells import Cells
from evergreen.ingest.columns import as_declared
from evergreen.ingest.landing import Part
from evergreen.ingest.origin import address
from evergreen.quoting import shown
from evergreen.spec.dataset import Source

log = logging.getLogger(__name__)

_EXCELS = re.compile(r"sep=(.)(?:\r\n|\r|\n|\Z)", re.IGNORECASE)  # what Excel writes above a header
_TITLES = 30  # lines that a title may take
_TRAILING = "`trailing_delimiter: true`"


def read(part: Part, source: Source, room: int) -> Cells:
    """The cells of a part; an empty one is null.

    Raises:
        BatchUnreadable: a row has another number of cells than the header, the columns are not the declared ones, or a
            quote has swallowed other rows.
    """
    text, delimiter = decode.text(part, source, room), source.delimiter
    body = _below_excels(lines.below(text, source.skip_lines).lstrip("\r\n"), part, source)
    header, above = body[: lines.end_of_first(body)], text[: len(text) - len(body)]
    if not header.strip():
        header_line = delimiter.join(source.arriving)
        what = f"nothing below the first {source.skip_lines} lines" if source.skip_lines else "an empty file"
        raise part.origin.unreadable(what, f"a header line: {header_line}")
    names = next(csv.reader([header], delimiter=delimiter))
    if len(names) == 1 and header not in source.arriving:
        _same_delimiter(header, part, source)
    first = (above.count("\n") or above.count("\r")) + 1
    if names[-1] == "" and len(names) > 1:
        if not source.trailing_delimiter:
            raise part.origin.unreadable(
                f"a header that ends with {json.dumps(delimiter)}: {shown(header, 200)}",
                f"columns {', '.join(source.arriving)}",
                declare=_TRAILING,
            )
        names.pop()
        body = header.removesuffix(delimiter) + body[len(header) :]
    _no_titles(names, body, first, part, source)
    named = as_declared(names, source, part.origin)
    look = lines.Look(body, delimiter, len(names), first)
    if source.trailing_delimiter and look.width_of_first() == len(names) + 1:
        header = body[: lines.end_of_first(body)]
        look = replace(look, text=f"{header}{delimiter}{body[len(header) :]}", width=len(names) + 1)
        names.append("")
    table = _table(look, names, part)
    several = look.several(table.num_rows)
    times = source.event_time or source.valid_from
    moment = None if times is None else source.columns[times]
    if moment is not None and (wrong := look.swallowed(several, names.index(moment.arrives_as(str(times))), moment)):
        raise part.origin.unreadable(wrong, "a quote at both ends of a value, or at none")
    if several:
        where, count = several[0].where, len(several)
        log.warning("%s has %d values of several lines, the first in %s", address(part.origin.name), count, where)
    if names[-1] == "":
        if table.column(len(named)).null_count < table.num_rows:
            raise part.origin.unreadable(look.beyond(), f"nothing after the last {json.dumps(delimiter)} of a line")
        table = table.remove_column(len(named))
    return Cells(table.rename_columns([named[name] for name in table.column_names]), look.lines_of(table.num_rows))


def _table(look: lines.Look, names: Sequence[str], part: Part) -> pa.Table:
    content = (look.text if look.text.endswith("\n") else look.text + "\n").encode()  # the reader wants a whole header
    options = pa.csv.ParseOptions(delimiter=look.delimiter, newlines_in_values=True)
    try:
        return text_columns(content, names, options, null_values=[""], quoted_strings_can_be_null=True)
    except pa.ArrowInvalid as error:
        misshapen = look.misshapen()
        expected = f"rows of {look.width} cells, as the header has"
        more = {"declare": _TRAILING} if misshapen.ends_with_delimiter else {}
        raise part.origin.unreadable(misshapen.words, expected, **more) from error


def text_columns(content: bytes, names: Sequence[str], options: pa.csv.ParseOptions, **nulls: Any) -> pa.Table:
    """The cells of a CSV in UTF-8 as text, whatever they look like.

    Raises:
        pyarrow.ArrowInvalid: a line has another number of cells than the header.
    """
    convert = pa.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, **nulls)
    blocks = pa.csv.ReadOptions(block_size=limits.ROW)
    return pa.csv.read_csv(io.BytesIO(content), parse_options=options, convert_options=convert, read_options=blocks)


def _below_excels(body: str, part: Part, source: Source) -> str:
    """The text below a first line `sep=;`, which says a delimiter and is no header."""
    stated = _EXCELS.match(body)
    if stated is None or body[: stated.end()].rstrip("\r\n") in source.arriving:
        return body
    if stated[1] != source.delimiter:
        raise part.origin.unreadable(
            f"a first line that says sep={stated[1]}",
            f"columns delimited by {json.dumps(source.delimiter)}",
            declare=f"`delimiter: {json.dumps(stated[1])}`",
        )
    return body[stated.end() :].lstrip("\r\n")


def _no_titles(names: Sequence[str], body: str, first: int, part: Part, source: Source) -> None:
    """Lines above the one that names the declared columns are titles."""
    if {*names} & {*source.arriving}:
        return
    for below in range(1, _TITLES):
        line = lines.below(body, below)
        cells = next(csv.reader([line[: lines.end_of_first(line)]], delimiter=source.delimiter), [])
        if {*source.arriving} <= {*cells}:
            raise part.origin.unreadable(
                f"the names of the columns in line {first + below}, and other lines above it: {shown(body[:200])}",
                "a header in the first line that is read",
                declare=f"`skip_lines: {first + below - 1}`",
            )


def _same_delimiter(header: str, part: Part, source: Source) -> None:
    """A header that another delimiter would make sense of says so, before the rows fail for a stranger reason."""
    other = next((each for each in ",;\t|" if each in header), None)
    if other is not None:
        raise part.origin.unreadable(
            f"one column: {shown(header, 200)}; the header looks delimited by {json.dumps(other)}",
            f"columns delimited by {json.dumps(source.delimiter)}",
            declare=f"`delimiter: {json.dumps(other)}`",
        )
