"""What the meters of the model `meters` (tests/specs/valid/meters) count: two readings in every hour."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from evergreen.calendar import Calendar
from evergreen.interval import Interval

METERS, HALF_AN_HOUR = 60, timedelta(minutes=30)
CALENDAR = Calendar("hour", "Europe/Berlin")
HOURS = CALENDAR.between(CALENDAR.first_of(date(2026, 10, 25)), CALENDAR.at("2026-10-25T0900Z"))
TRAINED = 9  # hours that the first training knows
IDS = [f"m{number:02}" for number in range(METERS)]


def readings(hour: Interval) -> pd.DataFrame:
    """The rows of an hour: a function of the moment. What a meter counts depends on whose it is."""
    usual = np.random.default_rng(7).uniform(0.1, 2.0, METERS)
    frames = []
    moment = hour.start
    while moment < hour.end:
        noise = np.random.default_rng(int(moment.timestamp())).normal(0, 0.05, METERS)
        frames.append(pd.DataFrame({"meter_id": IDS, "read_at": moment, "kwh": (usual + noise).clip(0.01).round(3)}))
        moment += HALF_AN_HOUR
    return pd.concat(frames)


def counted(start: datetime, end: datetime) -> pd.Series:  # type: ignore[type-arg]
    """Meter → what it counts in `[start, end)`."""
    hours = CALENDAR.between(CALENDAR.interval_of(start), CALENDAR.interval_of(end - HALF_AN_HOUR))
    rows = pd.concat([readings(hour) for hour in hours])
    within = rows[(rows["read_at"] >= start) & (rows["read_at"] < end)]
    return within.groupby("meter_id")["kwh"].sum()


def write(hour: Interval, landing: Path) -> None:
    """The file of an hour: named by the hour in UTC, with times as a clock in Berlin shows them."""
    file = landing / "meters" / f"{hour.start:%Y-%m-%d}" / f"{hour.start:%H}.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    rows, berlin = readings(hour), ZoneInfo("Europe/Berlin")
    local = [moment.astimezone(berlin).isoformat() for moment in rows["read_at"]]
    rows.assign(read_at=local).to_csv(file, index=False)
