"""Markdown of the pages that are generated."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from evergreen.quoting import lines


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The lines of a table."""
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)


def plain(text: str) -> str:
    """A text of a spec, or with names of data in it, as Markdown of one line that reads the same: what stands in it
    makes no link, no image and no element."""
    return re.sub(r"([\\<&\[\]!`*_#|~])", r"\\\1", " ".join(lines(text).split()))
