"""Lengths of time as a spec writes them: 6h, 3d, 2w."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from evergreen.interval import DAY
from evergreen.spec.keyed import NAME

_DURATION = re.compile(r"^[1-9][0-9]{0,4}[hdw]$")  # also a pattern of JSON Schema, which knows no named groups
_LONGEST = timedelta(days=36_525)  # further from the days that a model may have no moment can be computed with
_UNITS = {"h": timedelta(hours=1), "d": DAY, "w": timedelta(weeks=1)}


def _duration(value: object) -> timedelta:
    duration = value if isinstance(value, timedelta) else None
    if isinstance(value, str) and _DURATION.fullmatch(value):
        duration = int(value[:-1]) * _UNITS[value[-1]]
    if duration is None or not timedelta(0) < duration <= _LONGEST or duration % _UNITS["h"]:
        raise ValueError("a whole number and a unit: 6h, 3d, 2w; at most a century, 36525d")
    return duration


def _delay(value: object) -> timedelta:
    return timedelta(0) if value in ("0h", timedelta(0)) else _duration(value)


def _until_known(value: object) -> timedelta | str:
    """A delay, or the name of the column that has each row's own moment."""
    if isinstance(value, str) and re.fullmatch(NAME, value):  # no duration begins with a letter
        return value
    try:
        return _delay(value)
    except ValueError as error:
        raise ValueError(f"{error}; or the column with each row's own moment") from None


def duration_text(value: timedelta) -> str:
    """The duration as a spec writes it, in the largest unit that is whole: 36h, 3d, 2w."""
    unit = next(unit for unit in reversed(_UNITS) if not value % _UNITS[unit]) if value else "h"
    return f"{value // _UNITS[unit]}{unit}"


Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    PlainSerializer(duration_text, return_type=str),
    WithJsonSchema({"type": "string", "pattern": _DURATION.pattern, "examples": ["6h", "3d", "2w"]}),
]
Delay = Annotated[
    timedelta,
    BeforeValidator(_delay),
    PlainSerializer(duration_text, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^(0h|[1-9][0-9]{0,4}[hdw])$", "examples": ["0h", "6h", "3d"]}),
]
UntilKnown = Annotated[
    timedelta | str,
    BeforeValidator(_until_known),
    PlainSerializer(lambda value: value if isinstance(value, str) else duration_text(value), return_type=str),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": rf"^(0h|[1-9][0-9]{{0,4}}[hdw]|{NAME[1:-1]})$",
            "examples": ["0h", "6h", "3d", "decided_at"],
        }
    ),
]
