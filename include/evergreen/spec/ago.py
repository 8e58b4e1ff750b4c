"""Timestamps and dates as inputs: a model takes them as days before the moment of its prediction, never as they are.

An absolute time is a clock: whatever changes with the calendar would be explained by it, and no later row is like the
ones that were learned from. So training (`of_frame`) and server (`of_value`) turn them into the same number: of a
timestamp days with their fractions, by whole seconds; of a date whole days, by the local date of the calendar's zone.
It is negative for what is still to come, and null for what is not known.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, cast
from zoneinfo import ZoneInfo

from evergreen.spec.columns import EVENT

if TYPE_CHECKING:
    import pandas as pd

    from evergreen.spec.schema import ModelSpec

Dated = Literal["timestamp", "date"]
DATED: frozenset[str] = frozenset({"timestamp", "date"})

_DAY = 86_400  # seconds
_EPOCH = date(1970, 1, 1)


def inputs(spec: ModelSpec) -> dict[str, Dated]:
    """The features and inputs that are declared as timestamps or dates."""
    declared = {**spec.stored_types, **spec.asking.inputs}
    return {name: cast(Dated, kind) for name, kind in declared.items() if kind in DATED}


def of_value(kind: Dated, value: datetime | date | int | None, moment: datetime, zone: str) -> float | None:
    """How many days before a moment a value lies.

    Args:
        value: as a request says it, or as the online store has it: in seconds since 1970.
        zone: of the calendar.
    """
    if value is None:
        return None
    if kind == "date":
        day = _EPOCH + timedelta(days=value // _DAY) if isinstance(value, int) else value
        return float((moment.astimezone(ZoneInfo(zone)).date() - day).days)
    seconds = value if isinstance(value, int) else _microseconds(cast(datetime, value)) // 1_000_000
    return float(_microseconds(moment) - seconds * 1_000_000) / (_DAY * 1_000_000)  # rounded first, as NumPy does


def _microseconds(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def of_frame(spec: ModelSpec, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows, with their timestamps and dates as days before `event_timestamp`."""
    return frame.assign(**{name: _of_column(kind, frame, name, spec) for name, kind in inputs(spec).items()})


def _of_column(kind: Dated, frame: pd.DataFrame, name: str, spec: ModelSpec) -> Any:
    import numpy as np

    moments = frame[EVENT].dt.tz_convert("UTC")
    if kind == "date":
        zone = ZoneInfo(spec.calendar.zone)  # pandas knows no change of clocks after 2037
        local = np.array([at.to_pydatetime().astimezone(zone).date() for at in moments], "datetime64[D]")
        days = np.array([None if each is None or each != each else each for each in frame[name]], "datetime64[D]")
        return np.where(np.isnat(days), np.nan, (local - days).astype(np.float64))
    column = frame[name].dt.tz_convert("UTC").dt.tz_localize(None).to_numpy("datetime64[us]")
    seconds = column.astype(np.int64) // 1_000_000
    asked = moments.dt.tz_localize(None).to_numpy("datetime64[us]").astype(np.int64)
    return np.where(np.isnat(column), np.nan, (asked - seconds * 1_000_000) / (_DAY * 1_000_000))
