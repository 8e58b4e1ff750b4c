"""Timestamps and dates as inputs: training and server turn them into the same number."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.calendar import Calendar
from evergreen.spec import ago
from evergreen.spec.load import load_spec

SPOT = load_spec(Path(__file__).parents[1] / "specs" / "valid" / "spot")
MOMENTS = st.datetimes(datetime(1800, 1, 1), datetime(2200, 1, 1)).map(lambda at: at.replace(tzinfo=UTC))
DAYS = st.dates(date(1, 1, 2), date(9999, 12, 30))
LATE = datetime(2026, 1, 31, 23, 30, tzinfo=UTC)


def test_the_model_takes_numbers_and_the_tables_keep_dates() -> None:
    assert ago.inputs(SPOT) == {"contract_from": "date", "metered_at": "timestamp"}
    assert (SPOT.feature_types["contract_from"], SPOT.feature_types["metered_at"]) == ("float", "float")
    assert SPOT.asking.inputs["contract_from"] == "date"


@pytest.mark.parametrize(
    ("kind", "value", "zone", "days"),
    [
        ("date", date(2026, 1, 30), "UTC", 1.0),
        ("date", date(2026, 1, 30), "Europe/Berlin", 2.0),
        ("date", date(2026, 2, 3), "UTC", -3.0),
        ("date", (date(2026, 1, 30) - date(1970, 1, 1)).days * 86_400, "UTC", 1.0),
        ("timestamp", LATE - timedelta(hours=36), "Europe/Berlin", 1.5),
        ("timestamp", LATE + timedelta(hours=6), "UTC", -0.25),
        ("timestamp", int(LATE.timestamp()) - 86_400, "UTC", 1.0),
        ("timestamp", None, "UTC", None),
        ("date", None, "UTC", None),
    ],
)
def test_it_is_days_before_the_moment(kind: Any, value: Any, zone: str, days: float | None) -> None:
    assert ago.of_value(kind, value, LATE, zone) == days


@settings(max_examples=40)  # each makes a table
@given(
    st.lists(st.tuples(MOMENTS, st.none() | DAYS, st.none() | MOMENTS), min_size=1),
    st.sampled_from(["UTC", "Europe/Berlin", "Pacific/Auckland"]),
)
def test_training_and_server_make_the_same_number_of_it(rows: list[tuple[Any, Any, Any]], zone: str) -> None:
    spec = SPOT.model_copy(update={"calendar": Calendar("day", zone)})
    moment = pa.timestamp("us", tz="UTC")
    columns = [
        pa.array(column, kind)
        for column, kind in zip(zip(*rows, strict=True), (moment, pa.date32(), moment), strict=True)
    ]
    frame = pa.table(columns, ["event_timestamp", "contract_from", "metered_at"]).to_pandas()
    taken = ago.of_frame(spec, frame)
    for place, (name, kind) in enumerate(ago.inputs(spec).items(), 1):
        for row, learned in zip(rows, taken[name].tolist(), strict=True):
            served = ago.of_value(kind, row[place], row[0], zone)
            assert served == learned or (served is None and math.isnan(learned)), name


def test_rows_without_any_value_are_missing() -> None:
    frame = pd.DataFrame(
        {
            "event_timestamp": pd.Series([LATE], dtype="datetime64[us, UTC]"),
            "contract_from": [None],
            "metered_at": pd.Series([None], dtype="datetime64[us, UTC]"),
        }
    )
    assert ago.of_frame(SPOT, frame)[["contract_from", "metered_at"]].isna().all(axis=None)
