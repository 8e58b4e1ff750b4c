"""Requests are held against what stands with their labels: whose features they were, and what they should have said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from evergreen.features import computing, rules
from evergreen.handovers.monitor import Skewed
from evergreen.labels import writing
from evergreen.lake import catalogue, partitions, tables
from evergreen.lake.schema import FEATURES, LABELS, PREDICTIONS
from evergreen.loops import inline
from evergreen.monitor import skew
from evergreen.settings import Settings
from evergreen.spec.schema import ModelSpec
from tests.components.features.bookings import DAYS, STAMP, bookings, interval, publish, write

TRUTH = bookings(per_day=24)
INPUTS = {"rooms": "int", "arrives": "date"}
REQUEST = """
select booking_id, guest, booked_at as event_timestamp, rooms, cast(booked_at as date) + 30 as arrives
from bookings where booked_at >= $start and booked_at < $end
"""
SERVED = ["booked", "decided", "cancelled_before", "newest"]


@pytest.fixture
def hotel(home: Settings, tmp_path: Path) -> ModelSpec:
    """Bookings, the features of the guests, and the outcomes that are known."""
    request = {"sources": ["bookings"], "inputs": INPUTS}
    spec = write(tmp_path / "hotel", request_sql=REQUEST, request=request)
    publish(spec, TRUTH, updates=True)
    data = spec.own_data()
    for day in range(DAYS):
        span = next(
            each for each in rules.feature_spans(data, "guests", interval(day)) if each.interval == interval(day)
        )
        place, rows = FEATURES.of(data.name, "guests").at(span.partition), computing.features(data, "guests", span)
        catalogue.record(partitions.replace(place, rows, known_at=span.interval.end))
    writing.write(spec, rules.mature_label_spans(spec, interval(DAYS - 1).end))
    return spec


def answered(spec: ModelSpec, change: Callable[[pd.DataFrame], pd.DataFrame] = lambda frame: frame) -> None:
    """Every booking is asked about when it is made, by the features of the midnight before."""
    for day in range(1, DAYS):
        known = tables.read(FEATURES.of(spec.model, "guests"), [interval(day - 1).partition])
        assert known is not None
        made = [each for each in TRUTH if each.day == day]
        frame = pd.DataFrame({"booking_id": [e.booking_id for e in made], "guest": [e.guest for e in made]})
        frame = frame.merge(known.to_pandas()[["guest", *SERVED]], on="guest", how="left").drop(columns="guest")
        frame = frame.assign(rooms=[float(each.rooms) for each in made], arrives=-30.0)
        stamps: dict[str, Any] = {
            "as_of": [each.booked_at for each in made],
            "features_at": [interval(day).start] * len(made),
            "known_at": [interval(day).end] * len(made),
        }
        columns = {name: pa.nulls(len(made), kind) for name, kind in PREDICTIONS.arrow.items()}
        columns |= {name: pa.array(moments, STAMP) for name, moments in stamps.items()}
        columns |= {"request_id": pa.array([f"r{each.booking_id}" for each in made])}
        columns |= {"version": pa.array([1] * len(made), pa.int64()), "prediction": pa.array([0.5] * len(made))}
        numbers = change(frame.astype(dict.fromkeys([*SERVED, "rooms", "arrives"], "float64")))
        columns |= {name: pa.array(numbers[name], from_pandas=True) for name in numbers}
        place = PREDICTIONS.of(spec.model).at(interval(day).partition)
        catalogue.record(partitions.replace(place, pa.table(columns), known_at=interval(day).end))


def measured(spec: ModelSpec, day: int = 12) -> dict[str, Skewed]:
    labels = tables.version(LABELS.of(spec.model, spec.label.name))
    return skew.measure(inline.of(spec, interval(day)), pd.DataFrame(), labels)


def test_requests_that_say_what_history_says_show_no_difference(hotel: ModelSpec) -> None:
    answered(hotel)
    found = measured(hotel)
    assert set(found) == {*SERVED, *INPUTS}
    assert {each.rows for each in found.values()} == {found["rooms"].rows} and found["rooms"].rows > 10
    assert not [name for name, each in found.items() if each.different or each.since]


@pytest.mark.parametrize(
    ("change", "skewed"),
    [
        (lambda frame: frame.assign(rooms=frame["rooms"] * 10), {"rooms"}),
        (lambda frame: frame.assign(arrives=frame["arrives"] * 24), {"arrives"}),
        (lambda frame: frame.assign(booked=frame["booked"] + 1), {"booked"}),
        (lambda frame: frame.assign(newest=frame["newest"] / 60), {"newest"}),
    ],
)
def test_what_a_client_or_the_server_gets_wrong_is_found(hotel: ModelSpec, change: Any, skewed: set[str]) -> None:
    answered(hotel, change)
    found = measured(hotel)
    assert {name for name, each in found.items() if each.different > 0.8 * each.rows} == skewed
    assert {name for name, each in found.items() if each.different} == skewed


def test_before_any_label_is_known_nothing_is_compared(hotel: ModelSpec) -> None:
    answered(hotel)
    assert skew.measure(inline.of(hotel, interval(12)), pd.DataFrame(), None) == {}
