"""What the airports send each day, and what clients ask: batches by the day of their
event in UTC, requests two hours ahead."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any

import pandas as pd

from evergreen_flights import data
from evergreen_simulator.replay import Replay, replay
from evergreen_simulator.upload import put

MODEL = "flight_delay"
LEAD = timedelta(hours=2)  # before its scheduled departure a flight is asked about
_SCHEDULE = ["carrier", "flight", "origin", "destination", "tailnum", "scheduled_at"]
_TABLES = {  # name → (time of the event, columns)
    "departures": ("scheduled_at", [*_SCHEDULE, "local_hour", "distance"]),
    "reports": (
        "reported_at",
        [*_SCHEDULE, "reported_at", "status", "departed_at", "arrived", "departure_delay", "arrival_delay", "air_time"],
    ),
    "weather": (
        "observed_at",
        ["origin", "observed_at", "temperature", "humidity", "wind_speed", "precipitation", "visibility"],
    ),
}


def batches(day: date) -> dict[str, pd.DataFrame]:
    """The rows of a day by table, in the order of their events."""
    return {name: _days(name).get(day, _table(name).iloc[:0]) for name in _TABLES}


def write(first: date, last: date, landing: str) -> Iterator[date]:
    """Write every day's batches into the landing zone, and name each day when its batches are there."""
    for number in range((last - first).days + 1):
        day = first + timedelta(days=number)
        for name, rows in batches(day).items():
            text = rows.to_csv(index=False, date_format="%Y-%m-%dT%H:%M:%SZ")
            put(landing, f"{MODEL}/{name}/{day}.csv", text.encode())
        yield day


def requests(day: date) -> list[dict[str, Any]]:
    """The bodies of the requests that are made on a day, in their order: flights of the
    same minute are asked about together."""
    start = pd.Timestamp(datetime(day.year, day.month, day.day, tzinfo=UTC))
    predictable = _predictable()
    today = predictable[(predictable["asked_at"] >= start) & (predictable["asked_at"] < start + pd.Timedelta(days=1))]
    bodies = []
    for moment in sorted(today["asked_at"].unique()):
        together = today[today["asked_at"] == moment]
        entities = [
            {name: _plain(value) for name, value in row.items()}
            for row in together.drop(columns="asked_at").to_dict("records")
        ]
        bodies.append({"entities": entities, "as_of": moment.isoformat()})
    return bodies


def ask(day: date, server_url: str) -> Replay:
    """Ask the server about every flight that is two hours from its departure on a day."""
    return replay(requests(day), MODEL, "flight_id", server_url)


@cache
def _predictable() -> pd.DataFrame:
    """Every flight as it is asked about: the keys and inputs of the model's requests, made without its SQL."""
    flights = data.flights()
    frame = pd.DataFrame(
        {
            "flight_id": flights["scheduled_at"].dt.strftime("%Y%m%dT%H%M")
            + "-"
            + flights["carrier"]
            + flights["flight"].astype(str)
            + "-"
            + flights["origin"],
            "carrier": flights["carrier"],
            "origin": flights["origin"],
            "destination": flights["destination"],
            "route": flights["origin"] + "-" + flights["destination"],
            "tailnum": flights["tailnum"],
            "airline": flights["carrier"],
            "airport": flights["origin"],
            "local_hour": flights["local_hour"],
            "weekday": (flights["scheduled_at"] - pd.Timedelta(hours=5)).dt.dayofweek + 1,
            "distance": flights["distance"].astype(float),
            "asked_at": flights["scheduled_at"] - LEAD,
        }
    )
    weather = data.weather().sort_values("observed_at")
    frame = frame.sort_values(["asked_at", "flight_id"])
    return pd.merge_asof(frame, weather, left_on="asked_at", right_on="observed_at", by="origin").drop(
        columns="observed_at"
    )


@cache
def _table(name: str) -> pd.DataFrame:
    time, columns = _TABLES[name]
    source = data.weather() if name == "weather" else data.flights()
    return source[columns].sort_values([time, *columns[:3]], ignore_index=True)


@cache
def _days(name: str) -> dict[date, pd.DataFrame]:
    rows = _table(name)
    by_day: dict[date, pd.DataFrame] = dict(list(rows.groupby(rows[_TABLES[name][0]].dt.date)))  # type: ignore[arg-type]  # the object itself is taken for a mapping
    return by_day


def _plain(value: Any) -> Any:
    """A value as JSON has it; what is missing is null."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    return value.item() if hasattr(value, "item") else value
