"""JSON Lines become a table of text: every value as its text, as in CSV. A reader that guesses types fails on a
column of two, and takes text for times."""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from evergreen.ingest import decode, limits
from evergreen.ingest.cells import UNPARSED, Cells, Tell
from evergreen.ingest.columns import as_declared
from evergreen.ingest.landing import Part
from evergreen.ingest.origin import Origin, address
from evergreen.quoting import shown
from evergreen.spec.dataset import Source
from evergreen.spec.kinds import whole

_BLOCK_ROWS = 10_000  # as Python's objects they take ten times the memory
_HALF = re.compile(r"\\u[dD][89a-fA-F]")  # an escape of JSON that may be half a character
_BROKEN = "\0"  # key of a row's cells that are no text; no column arrives under it
_BLANKS = (" ", "\t", "\r", "\n")
_DECODER = json.JSONDecoder()
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")


def read(part: Part, source: Source, room: int, tell: Tell) -> Cells:
    """The cells of a part, each object a row. A column that no object has is null, and told.

    Raises:
        BatchUnreadable: a line is no object, there are other names than the declared ones, or nobody has a key or a
            time.
    """
    names: dict[str, None] = {}
    rows: list[dict[str, str | None]] = []
    numbers = array("q")
    blocks = [_texts(rows, source)]
    for number, written, row in objects(decode.text(part, source, room), part.origin):
        names.update(dict.fromkeys(row))
        numbers.append(number)
        halved = _HALF.search(written) is not None
        rows.append(_cells(row, source) if halved else {name: cell(value) for name, value in row.items()})
        if len(rows) == _BLOCK_ROWS:
            blocks.append(_texts(rows, source))
            rows = []
    blocks.append(_texts(rows, source))
    identity = {source.event_time, *source.identity}
    present = as_declared(
        list(names or source.arriving), source, part.origin, may_miss=source.columns.keys() - identity
    ).values()
    for name in (name for name in source.columns if name not in present):
        arrives = source.columns[name].arrives_as(name)
        tell(f"no object of {address(part.name)} has the key {shown(arrives)}: {name} is null in {len(numbers):,} rows")
    table = pa.concat_tables(blocks)
    return Cells(table, lambda at: [numbers[each] for each in at])


def objects(text: str, origin: Origin) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """The objects of a text, one a line or all in one JSON list, each with the line that it begins in and its text.

    Raises:
        BatchUnreadable: it holds anything else.
    """
    if text.lstrip().startswith("["):
        yield from _listed(text, origin)
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, line, _object(line, number, origin)


def _listed(text: str, origin: Origin) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """The objects of a JSON list, one after the other: as Python's objects all of them take ten times the memory."""
    at, number, counted = _after_blanks(text, text.index("[") + 1), 1, 0
    while at < len(text) and text[at] != "]":
        number += text.count("\n", counted, at)
        counted = at
        try:
            _, end = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            end = len(text)  # which says what is wrong
        yield number, text[at:end], _object(text[at:end], number, origin)
        at = _after_blanks(text, end)
        if text[at : at + 1] == ",":
            at = _after_blanks(text, at + 1)
        elif text[at : at + 1] != "]":
            break
    if text[at:].strip() != "]":
        raise origin.unreadable(f"a list that ends with {shown(text[at:][:40])}", "objects, commas between them, and ]")


def _after_blanks(text: str, at: int) -> int:
    while text[at : at + 1] in _BLANKS:
        at += 1
    return at


def _object(line: str, number: int, origin: Origin) -> dict[str, Any]:
    expected = "one JSON object a line, or a list of them"
    if len(line) > limits.ROW:
        raise origin.unreadable(f"line {number} of {len(line):,} characters", f"{expected}, of at most {limits.ROW:,}")
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        about = shown(line[max(0, error.pos - 20) : error.pos + 20])
        raise origin.unreadable(f"line {number} is no JSON, from column {error.colno} on: {about}", expected) from error
    except (ValueError, RecursionError) as error:
        excess = "values nested too deeply" if isinstance(error, RecursionError) else "a number of thousands of digits"
        raise origin.unreadable(f"line {number} has {excess}: {shown(line)}", expected) from error
    if not isinstance(value, dict):
        raise origin.unreadable(f"line {number} is no object: {shown(line.strip())}", expected)
    return value


def cell(value: object) -> str | None:
    """A value as text, null where it is."""
    return value if value is None or isinstance(value, str) else json.dumps(whole(value), ensure_ascii=False)


def _cells(row: Mapping[str, object], source: Source) -> dict[str, str | None]:
    """The cells of a row that may have half a character, which is no text: it costs
    the row, as any cell that does not fit."""
    cells, broken, named = {}, [], source.arriving
    for name, value in row.items():
        text = cell(value)
        if text is not None and _HALF_CHARACTER.search(text):
            broken.append(f"{named.get(name, name)}={text.encode('utf-8', 'backslashreplace').decode()}")
            text = None
        cells[name] = text
    return cells | {_BROKEN: "; ".join(broken) or None}


def _texts(rows: Sequence[Mapping[str, str | None]], source: Source) -> pa.Table:
    named = {**source.arriving, _BROKEN: UNPARSED}
    return pa.table({name: pa.array([row.get(key) for row in rows], pa.string()) for key, name in named.items()})
