"""Batches that are days of another time zone, through the whole chain: no row is lost, and the owner hears of it."""

from __future__ import annotations

import copy
import logging
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from evergreen.interval import Interval
from evergreen.lake.schema import FEATURES, QUARANTINE, RAW, REASONS
from evergreen.loops import inline
from evergreen.run import DatasetRun
from evergreen.settings import Settings, settings
from evergreen.spec.load import load_spec
from evergreen.spec.schema import ModelSpec
from tests.small_models import SHOP, write_shop

FIRST = date(2026, 1, 1)
HABITS = "select guest_id, count(*) as visits_7d, min(kind) as kind from visits group by guest_id"
LABEL = "select distinct guest_id, true as returns from visits where visits.at < $cutoff"
CONTRACT = [{"type": "expect_column_values_to_not_be_null", "column": "guest_id"}]


@pytest.fixture
def shop(home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelSpec:
    """A shop with a view of one day."""
    declared = copy.deepcopy(SHOP)
    declared["features"]["habits"]["look_back"] = "1d"
    folder = tmp_path / "shop"
    write_shop(folder, declared, dict.fromkeys(("visits", "habits"), CONTRACT), HABITS, LABEL)
    monkeypatch.setenv("EVERGREEN_LANDING", str(tmp_path / "landing"))
    settings.cache_clear()
    return load_spec(folder)


def ingest(spec: ModelSpec, number: int, rows: list[str]) -> dict[str, Any]:
    """Land the times of a day's visits, and ingest the day up to its features."""
    day = FIRST + timedelta(days=number)
    file = Path(settings().landing) / "shop" / "visits" / f"{day}.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{day}-{position},g1,{moment},1.0,walk-in" for position, moment in enumerate(rows)]
    file.write_text("\n".join(["visit_id,guest_id,at,spent,kind", *lines]) + "\n")
    return inline.run(DatasetRun(spec.own_data(), Interval.of_day(day)), "ingest", last="publish_features")


def counted(spec: ModelSpec) -> dict[str, int]:
    from evergreen.lake import tables

    table = tables.read(FEATURES.of(spec.model, "habits"))
    assert table is not None
    return {row["partition"]: row["visits_7d"] for row in table.to_pylist()}


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_the_24_rows_of_a_new_york_day_are_all_counted_once(
    shop: ModelSpec, order: tuple[int, ...], caplog: pytest.LogCaptureFixture
) -> None:
    """shared/cases, localday.py."""
    warnings = []
    for number in order:
        day = FIRST + timedelta(days=number)
        results = ingest(shop, number, [f"{day}T{hour:02}:00:00-05:00" for hour in range(24)])
        warnings += results["validate"].warnings  # type: ignore[union-attr]
    assert counted(shop) == {"2026-01-01": 19, "2026-01-02": 24, "2026-01-03": 24}, "the last five are of the day after"
    assert len(warnings) == 3
    assert all("visits: 5 rows lie after the interval" in warning for warning in warnings)


def test_rows_outside_of_the_day_are_told_and_those_of_another_year_are_kept_apart(
    shop: ModelSpec, caplog: pytest.LogCaptureFixture
) -> None:
    """shared/cases, rows_outside_the_day."""
    from evergreen.lake import catalogue, tables

    moments = ["2026-01-01T00:30:00+01:00", "2026-01-01T23:30:00-05:00", "2026-01-01T12:00:00+01:00"]
    with caplog.at_level(logging.INFO, "evergreen"):
        results = ingest(shop, 0, [*moments, "2025-02-01T12:00:00Z", "2027-06-01T12:00:00Z"])
    assert "visits: rows outside of their interval: 1 before it, 1 after it, 2 more than 183 days away" in caplog.text
    assert len(results["validate"].warnings) == 3  # type: ignore[union-attr]
    rejected = tables.read(QUARANTINE.of(shop.model, "visits"))
    assert rejected is not None
    assert rejected[REASONS.name].to_pylist() == [
        "far from its interval: 2025-02-01T12:00:00Z",
        "far from its interval: 2027-06-01T12:00:00Z",
    ]
    (entry,) = catalogue.published(RAW.of(shop.model, "visits")).values()
    assert (entry.rows, entry.reaches and entry.reaches.isoformat()) == (3, "2026-01-02T04:30:00+00:00")
