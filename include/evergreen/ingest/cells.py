"""What is read of a part of a batch, before its cells become values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from evergreen.lake import schema

UNPARSED, ROW, PLACE = schema.UNPARSED.name, schema.ROW.name, schema.PLACE.name

Tell = Callable[[str], None]  # hears what the owner of a source should know of a batch that can be read
Lines = Callable[[Sequence[int]], Sequence[int]]  # of rows, counted from 0: the lines that they begin in, from 1


@dataclass(frozen=True)
class Cells:
    """The cells of a part."""

    table: pa.Table  # the declared columns, of any type; maybe with `_unparsed`, where a cell is not even text
    lines: Lines | None = None  # None: it has none
    part: str | None = None  # its file's name, where the batch has several
    first: int = 0  # `_row` of its first row

    def places(self, rows: Sequence[int]) -> list[str]:
        """Where rows stand, given their `_row`: `line 7`, or `part-2.csv, line 7`; of what has no lines `row 5`."""
        within = "" if self.part is None else f"{self.part}, "
        numbers = [row - self.first for row in rows]
        if self.lines is None:
            return [f"{within}row {number}" for number in numbers]
        return [f"{within}line {line}" for line in self.lines(numbers)]
