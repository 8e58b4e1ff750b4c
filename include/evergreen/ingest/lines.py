"""Which line of a CSV is wrong.

The reader proper is fast and does not say; this one is only asked when something is.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import NamedTuple

from evergreen.ingest import limits
from evergreen.ingest.cells import Lines
from evergreen.quoting import shown
from evergreen.spec.cells import EPOCHS, Column

csv.field_size_limit(1 << 30)  # Python's own reader gives up at 131,072 characters, which a cell may have


def end_of_first(text: str) -> int:
    """Where the first line of a text ends."""
    ends = [at for at in (text.find("\n"), text.find("\r")) if at >= 0]
    return min(ends, default=len(text))


def below(text: str, count: int) -> str:
    """The text below its first lines, which may end as any system ends them."""
    ends = [0, *(each.end() for each in islice(re.finditer(r"\r\n|\r|\n", text), count))]
    return text[ends[count] :] if count < len(ends) else ""


@dataclass(frozen=True)
class _Row:
    """One row of a file, and the lines that it stands in."""

    first: int
    last: int
    cells: list[str]

    @property
    def where(self) -> str:
        return f"line {self.first}" if self.first == self.last else f"lines {self.first} to {self.last}"


class Misshapen(NamedTuple):
    """A row that has another number of cells than the header."""

    words: str
    ends_with_delimiter: bool  # and nothing else is wrong with it


@dataclass(frozen=True)
class Look:
    """A closer look at a text whose header has `width` cells and stands in line `first` of its file."""

    text: str
    delimiter: str
    width: int
    first: int

    def misshapen(self) -> Misshapen:
        """The first row that has another number of cells than the header, or is too long to be one."""
        for row in self._rows():
            if sum(map(len, row.cells)) > limits.ROW:
                words = f"a row of more than {limits.ROW >> 20} MiB; a quote that is never closed makes one"
                return Misshapen(f"{row.where}: {words}", False)
            if len(row.cells) != self.width:
                words = (
                    f"{row.where}: {len(row.cells)} cells, where the header has {self.width}: "
                    f"{shown(self.delimiter.join(row.cells))}"
                )
                return Misshapen(words, len(row.cells) == self.width + 1 and row.cells[-1] == "")
        return Misshapen(f"a line that has not {self.width} cells", False)

    def width_of_first(self) -> int:
        """How many cells the first row below the header has; 0 where there is none."""
        rows = self._rows()
        next(rows, None)
        return len(first.cells) if (first := next(rows, None)) else 0

    def beyond(self) -> str:
        """The first row that has something in its last cell, where nothing is meant to be."""
        rows = self._rows()
        next(rows, None)
        row = next(each for each in rows if each.cells[-1] != "")
        return f"{row.where}: {shown(row.cells[-1])} after the last column"

    def lines_of(self, rows: int) -> Lines:
        """The lines that rows begin in, given how many rows the reader counted."""
        first = self.first + 1
        if rows == self._most_rows:
            return lambda at: [first + each for each in at]

        def looked_up(at: Sequence[int]) -> list[int]:
            begins = [row.first for row in self._rows()][1:]
            return [begins[each] for each in at]

        return looked_up

    @property
    def _most_rows(self) -> int:
        """How many rows there are below the header if each has a line of its own."""
        ends = self.text.count("\n") or self.text.count("\r")
        return ends - self.text.endswith(("\n", "\r"))

    def several(self, rows: int) -> list[_Row]:
        """The rows that stand in several lines: none, where the reader found as many rows as there are lines."""
        most = self._most_rows
        if rows >= most and not self._open(self._last_line()):
            return []
        return [
            row
            for row in self._rows()
            if row.first < row.last or (row.last - self.first >= most and self._open(self._from(row)))
        ]

    def swallowed(self, several: Sequence[_Row], moment: int, written: Column) -> str | None:
        """What a quote that was never meant to open a value has taken in, if it has.

        Args:
            several: the rows that stand in several lines, which may be meant.
            moment: the position of the cell that says when a row happened: a line of prose has none there.
            written: how that cell is written.
        """
        for row in several:
            inner = [line for cell in row.cells for line in cell.splitlines()[1:]]
            if taken := sum(self._is_row(line, moment, written) for line in inner):
                return (
                    f"line {row.first}: a quote opens a value that ends in line {row.last}, and {taken} of the lines "
                    "between read as rows"
                )
        if several and self._open(self._from(several[-1])):
            return f"line {several[-1].first}: a quote that is never closed"
        return None

    def _rows(self) -> Iterator[_Row]:
        reader = csv.reader(io.StringIO(self.text, newline=""), delimiter=self.delimiter)
        before = 0
        for cells in reader:
            if cells:
                yield _Row(self.first + before, self.first + reader.line_num - 1, cells)
            before = reader.line_num

    def _last_line(self) -> str:
        text = self.text.rstrip("\r\n")
        return text[max(text.rfind("\n"), text.rfind("\r")) + 1 :]

    def _from(self, row: _Row) -> str:
        """The text from a row on."""
        return "".join(io.StringIO(self.text, newline="").readlines()[row.first - self.first :])

    def _open(self, text: str) -> bool:
        """Whether a text ends within a quoted value."""
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=self.delimiter, strict=True)
        try:
            for _ in reader:
                continue
        except csv.Error as error:
            return "unexpected end of data" in str(error)
        return False

    def _is_row(self, line: str, moment: int, written: Column) -> bool:
        cells = next(csv.reader([line], delimiter=self.delimiter), [])
        return len(cells) == self.width and _is_moment(cells[moment].strip(), written)


def _is_moment(text: str, written: Column) -> bool:
    """Whether a text reads as a time, to tell a row from prose."""
    for each in written.format or ("",):
        try:
            if each in EPOCHS:
                float(text)
            elif each:
                datetime.strptime(text, each)
            else:
                datetime.fromisoformat(text)
        except ValueError:
            continue
        return True
    return False
