"""How a foreign value (a cell, a column's name, a field of a request, a file's
name) is shown in a message or a log line.

Whoever wrote the value must not be able to write the line around it: everything that would break the line, colour it,
turn its direction or not be seen at all is shown as an escape, and a long value is cut. It is the one place that knows
how.
"""

from __future__ import annotations

from collections.abc import Sequence
from reprlib import Repr

# Blank on a screen, and yet letters, marks or symbols to Unicode: `str.isprintable` lets them pass.
_BLANK = set("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
_BLANK |= {chr(code) for code in (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))}  # variation selectors
_BITS = 4096  # of an integer whose digits are written out; Python refuses to write very many


class _Bounded(Repr):
    """Containers, bounded in depth and length whatever they hold."""

    def repr_int(self, x: int, level: int) -> str:
        return _integer(x)


_CONTAINERS = _Bounded()
_CONTAINERS.maxstring = _CONTAINERS.maxother = 80


def shown(value: object, limit: int = 80) -> str:
    """A value as part of a line: text in quotes, everything else as it is written, at most `limit` characters of it.

    Text that is not cut is a Python literal of the same text, so two values never look alike:
    `'a\\x1b[31mb'`, `"it's"`, `'aaa'… (2,000 characters)`.
    """
    if isinstance(value, str | bytes):
        unit = "characters" if isinstance(value, str) else "bytes"
        cut = f"… ({len(value):,} {unit})" if len(value) > limit else ""
        return visible(repr(value[:limit])) + cut
    if isinstance(value, dict | list | tuple | set | frozenset):
        text = _CONTAINERS.repr(value)
    else:
        text = _integer(value) if isinstance(value, int) else str(value)
    cut = f"… ({len(text):,} characters)" if len(text) > limit else ""
    return visible(text[:limit]) + cut


def listed(values: Sequence[object], most: int = 5) -> str:
    """The first of some values, as part of a line."""
    return ", ".join(map(shown, values[:most])) + (", …" if len(values) > most else "")


def line(text: str, limit: int = 400) -> str:
    """A sentence of ours that has foreign names in it, for one line of a message:
    visible, at most `limit` characters of it."""
    cut = f"… ({len(text):,} characters)" if len(text) > limit else ""
    return visible(text[:limit]) + cut


def lines(text: str) -> str:
    """A text of several lines, such as a traceback or the end of a log: its lines stay, each of them visible."""
    return "\n".join(visible(each.expandtabs(4)) for each in text.split("\n"))


def _integer(value: int) -> str:
    return str(value) if value.bit_length() <= _BITS else f"(an integer of {value.bit_length():,} bits)"


def visible(text: str) -> str:
    """Text without quotes, for a place that parts it from its surroundings by itself, such as a table's cell."""
    return "".join(one if one.isprintable() and one not in _BLANK else ascii(one)[1:-1] for one in text)
