"""Outcomes that are known later than their row: no view sees one before, and no label takes an open one for known.

Days are stamped at their start. The answer of a day (does it rain tomorrow?) is known when the next day is over, two
days after the stamp. A model is asked at the end of the day, so its horizon is one day.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from evergreen.errors import PermanentError, SpecError
from evergreen.features import computing, rules
from evergreen.interval import Interval
from evergreen.lake import catalogue, partitions, schema
from evergreen.settings import Settings
from evergreen.spec.load import load_spec
from evergreen.spec.schema import ModelSpec
from tests.small_models import TINY

FIRST, DAYS = date(2026, 1, 1), 9
RAIN = (True, False, False, True, True, False, True, False, True)  # of the day after each day
SEEN = """
select place, bool_or(rain_tomorrow) filter (where stamp = $as_of - interval 1 day) as tomorrow,
    bool_or(rain_tomorrow) filter (where stamp = $as_of - interval 2 day) as today
from days group by place
"""
PLACED = {"type": "expect_column_values_to_not_be_null", "column": "place", "severity": "critical"}
LABEL = "select place, rain_tomorrow as rains from days where stamp >= $cutoff - interval 1 day and stamp < $cutoff"


def write(folder: Path, *, delay: str = "2d", horizon: str = "1d", label: str = LABEL) -> ModelSpec:
    """The model on its folder; its mistakes are raised."""
    (folder / "features").mkdir(parents=True)
    (folder / "features" / "seen.sql").write_text(SEEN)
    (folder / "label.sql").write_text(label)
    (folder / "contracts").mkdir()
    for table in ("days", "seen"):
        (folder / "contracts" / f"{table}.yaml").write_text(yaml.safe_dump({"expectations": [PLACED]}))
    days: dict[str, Any] = {
        "path": "days/{partition}.csv",
        "event_time": "stamp",
        "keys": ["place", "stamp"],
        "columns": {"place": "string", "stamp": "timestamp", "rain_tomorrow": "bool"},
        "outcome": {"rain_tomorrow": delay},
    }
    declared = TINY | {
        "model": folder.name,
        "first_day": str(FIRST),
        "entity": {"name": "place", "key": "place"},
        "sources": {"days": days},
        "features": {
            "seen": {"sources": ["days"], "look_back": "3d", "features": {"tomorrow": "bool", "today": "bool"}}
        },
        "label": {"name": "rains", "horizon": horizon, "sources": ["days"]},
        "gates": {"minimum_rows": 40, "floor": {"roc_auc": 0.5}},
    }
    (folder / "model.yaml").write_text(yaml.safe_dump(declared))
    return load_spec(folder)


def interval(day: int) -> Interval:
    return Interval.of_day(FIRST + timedelta(days=day))


def publish(spec: ModelSpec, *, hour: int = 0, places: Sequence[str] = ("here",)) -> None:
    """Every day, as history has it: with its answer."""
    for day in range(DAYS):
        stamp = datetime(2026, 1, 1, hour, tzinfo=UTC) + timedelta(days=day)
        rows = [
            {
                "place": place,
                "stamp": stamp,
                "rain_tomorrow": RAIN[day],
                "known_at": interval(day).end,
                "partition": interval(day).partition,
            }
            for place in places
        ]
        types = [("place", pa.string()), ("stamp", pa.timestamp("us", "UTC")), ("rain_tomorrow", pa.bool_())]
        stamps = [("known_at", pa.timestamp("us", "UTC")), ("partition", pa.string())]
        table = pa.Table.from_pylist(rows, schema=pa.schema(types + stamps))
        place = schema.RAW.of(spec.model, "days").at(interval(day).partition)
        catalogue.record(partitions.replace(place, table, known_at=interval(day).end, reaches=None))


def seen(spec: ModelSpec, day: int) -> tuple[bool | None, bool | None]:
    """What the view has as of the end of a day: the answer of that day, and that of the day before."""
    data = spec.own_data()
    span = next(each for each in rules.feature_spans(data, "seen", interval(day)) if each.interval == interval(day))
    (row,) = computing.features(data, "seen", span).to_pylist()
    return row["tomorrow"], row["today"]


def labels(spec: ModelSpec, day: int) -> tuple[list[bool], int]:
    span = next(each for each in rules.label_spans(spec, interval(day)) if each.interval == interval(day))
    table, without = computing.labels(spec, span)
    return [bool(row["rains"]) for row in table.to_pylist()], without


def test_the_true_delay_of_an_outcome_is_taken_and_keeps_tomorrows_answer_from_every_view(
    home: Settings, tmp_path: Path
) -> None:
    spec = write(tmp_path / "rain")
    publish(spec)
    for day in range(1, DAYS - 1):
        (span,) = (
            s for s in rules.feature_spans(spec.own_data(), "seen", interval(day)) if s.interval == interval(day)
        )
        (row,) = computing.features(spec.own_data(), "seen", span).to_pylist()
        assert (row["tomorrow"], row["today"]) == (None, RAIN[day - 1]), day
        assert labels(spec, day) == ([RAIN[day]], 0), "and the label has it"


def test_a_delay_shorter_than_the_truth_is_what_leaks(home: Settings, tmp_path: Path) -> None:
    """The test above can fail: this is what it would see."""
    spec = write(tmp_path / "rain", delay="1d")
    publish(spec)
    assert seen(spec, 4) == (RAIN[4], RAIN[3])


def test_an_outcome_that_no_row_of_the_interval_can_have_by_the_horizon_lengthens_the_horizon(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"label\.horizon") as refused:
        write(tmp_path / "rain", delay="4d")
    assert "at least 3d" in str(refused.value) and "leave the delay as it is" in str(refused.value)


@pytest.mark.parametrize(
    "label",
    [
        "select place, bool_or(rain_tomorrow) as rains from days group by place",
        "select place, count(*) filter (where rain_tomorrow) > 1 as rains from days group by place",
        "select place, coalesce(rain_tomorrow, false) as rains from days where stamp >= $cutoff",
        "select place, max(coalesce(rain_tomorrow::int, 0)) as rains from days group by place",
    ],
)
def test_an_open_outcome_is_taken_for_no_answer(home: Settings, tmp_path: Path, label: str) -> None:
    spec = write(tmp_path / "rain", label=label)
    publish(spec)
    with pytest.raises(PermanentError, match="still open") as refused:
        for day in range(1, DAYS - 1):  # on some days it rains anyway
            labels(spec, day)
    assert "days.rain_tomorrow is known 2d after stamp" in str(refused.value)


def test_what_is_still_open_is_left_out_and_counted(home: Settings, tmp_path: Path) -> None:
    known = "select place, rain_tomorrow as rains from days where stamp < $cutoff and rain_tomorrow is not null"
    spec = write(tmp_path / "rain", label=known)
    publish(spec, hour=12, places=("here", "there"))  # known at noon, half a day after the horizon
    assert labels(spec, 3) == ([], 2)
