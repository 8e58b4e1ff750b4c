"""Where the header of a CSV stands: its delimiter, and the titles above it."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

_DELIMITERS = (",", ";", "\t", "|")
_ROWS = 200  # by which the delimiter is chosen
_TITLES = 20  # rows above the header, at most


class Row(NamedTuple):
    """A row that has something in it."""

    above: int  # lines of the text before it
    cells: list[str]


class Layout(NamedTuple):
    """How a text is read.

    Attributes:
        titles: lines above the header.
        rows: the first, the header among them.
    """

    delimiter: str
    titles: int
    rows: list[list[str]]


def layout(text: str) -> Layout:
    """The delimiter that explains the most rows, and what stands above the header."""
    heads = {each: _head(text, each) for each in _DELIMITERS}
    delimiter = max(heads, key=lambda each: _width([row.cells for row in heads[each]]))
    if not _told(heads[delimiter]):
        delimiter = max(heads, key=lambda each: _width([row.cells for row in _below(heads[each])]))
    rows = _below(heads[delimiter])
    return Layout(delimiter, rows[0].above if rows is not heads[delimiter] else 0, [row.cells for row in rows])


def is_number(text: str) -> bool:
    """Whether a cell is one."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _head(text: str, delimiter: str) -> list[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows, above = [], 0
    for cells in reader:
        if any(cells):
            rows.append(Row(above, cells))
        above = reader.line_num
        if len(rows) == _ROWS:
            break
    return rows


def _width(rows: Sequence[Sequence[str]]) -> tuple[int, int]:
    """How well a delimiter explains some rows: how many are as wide as the header, and how wide that is."""
    width = len(rows[0]) if rows else 0
    return (sum(len(row) in (width, width + 1) for row in rows) if width > 1 else 0, width)


def _told(rows: Sequence[Row]) -> bool:
    """Whether most rows are as wide as the first."""
    return 2 * _width([row.cells for row in rows])[0] > len(rows)


def _below(rows: list[Row]) -> list[Row]:
    """The rows from the header on; all of them where there is no title, or no line that names columns."""
    widths = Counter(len(row.cells) for row in rows[_TITLES // 2 :] or rows)
    usual = max(widths, key=lambda width: (widths[width], width), default=1)
    full = [row for row in rows if len(row.cells) == usual]
    filled = 2 * sum(bool(row.cells[-1]) for row in full) > len(full)  # else lines end with one delimiter more
    for at, (_, cells) in enumerate(rows[:_TITLES]):
        if not _is_title(cells, usual, filled):
            return rows[at:] if at and _names(cells, usual) else rows
    return rows


def _is_title(cells: Sequence[str], usual: int, filled: bool) -> bool:
    """Whether a row has less in it than a header of that many columns: it is shorter, or filled up with empty cells."""
    said = sum(bool(cell.strip()) for cell in cells)
    if len(cells) < usual - 1:
        return True
    return 2 * said <= usual and (usual > 2 or (len(cells) < usual and filled))


def _names(cells: Sequence[str], usual: int) -> bool:
    """Whether a row names columns: all of them, but for one maybe, and by no number."""
    named = [cell for cell in cells if cell.strip()]
    return len(cells) in (usual, usual - 1) and len(named) >= usual - 1 and not any(map(is_number, named))
