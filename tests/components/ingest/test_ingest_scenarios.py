"""The simulated business's mishaps, through the real stages: each has the effect that its day's people would expect."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from evergreen.errors import BatchUnreadable
from evergreen.lake import tables
from evergreen.lake.schema import FEATURES, QUARANTINE, RAW, Layer
from evergreen.settings import Settings, settings
from evergreen_simulator import scenarios
from evergreen_simulator.delivery import World
from evergreen_simulator.landing import write_days

from .conftest import FIRST, WORLD, Json, churn, everything, ingest, lake, run_of, says

SECOND = FIRST + timedelta(days=1)
Deliver = Callable[..., None]


@pytest.fixture
def deliver(home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lands the first days of the usual business with a scenario."""
    folder = tmp_path / "landing"
    monkeypatch.setenv("EVERGREEN_LANDING", str(folder))
    settings.cache_clear()

    def landing(scenario: scenarios.Scenario, days: int) -> None:
        for _ in write_days(
            World(WORLD.seed, WORLD.size, (scenario,)), FIRST, FIRST + timedelta(days=days - 1), str(folder)
        ):
            pass

    yield landing
    settings.cache_clear()


def frame(layer: Layer, name: str) -> pd.DataFrame:
    table = tables.read(layer.of("churn", name))
    assert table is not None
    return table.to_pandas()


def of_days(content: Json, days: int) -> Json:
    """The part of the lake's content that the first days alone decide: features."""
    partitions = {run_of(day).interval.partition for day in range(days)}
    return {name: v for name, v in content.items() if name.startswith("features/") and name.split("/")[2] in partitions}


@pytest.mark.parametrize(
    ("renamed", "problem"), [("duration", "missing: minutes; unexpected: 'duration'"), (None, "missing: minutes")]
)
def test_a_schema_break_stops_its_day_and_leaves_the_days_before(
    deliver: Deliver, renamed: str | None, problem: str
) -> None:
    deliver(scenarios.SchemaBreak(since=SECOND, column="usage.minutes", renamed=renamed), days=2)
    ingest(run_of(0))
    before = everything(churn())
    with pytest.raises(BatchUnreadable) as caught:
        ingest(run_of(1))
    says(
        caught.value,
        doing="reading the batch of churn/usage of 2026-01-02 from ",
        found=f"columns {problem}",
        expected="columns session_id, customer_id, started_at, minutes, device",
        next_step="ask the upstream system for a corrected file",
    )
    assert everything(churn()) == before


def test_a_sensor_outage_alerts_twice_and_its_rows_count(deliver: Deliver, reference: Json) -> None:
    deliver(scenarios.SensorOutage(since=FIRST, column="usage.minutes"), days=1)
    done = ingest(run_of(0))
    missing = "expect_column_proportion_of_non_null_values_to_be_between"
    assert any(w.startswith(f"usage: {missing}(minutes)") for w in done["validate"].warnings), "the batch's contract"
    assert any(
        w.startswith(f"activity: {missing}(minutes_per_session_7d)") for w in done["validate_features"].warnings
    ), "the features' contract"
    assert reference["lake"]["raw/usage/2026-01-01"][0] == done["publish"].sources["usage"].rows, (
        "its rows were dropped"
    )
    activity = frame(FEATURES, "activity")
    assert activity["minutes_per_session_7d"].isna().mean() > 0.9
    assert (activity["sessions_3d"] > 0).mean() > 0.5, "the sessions do not count"
    untouched = {name: value for name, value in of_days(reference["lake"], 1).items() if "/activity/" not in name}
    assert {name: value for name, value in of_days(lake(churn()), 1).items() if "/activity/" not in name} == untouched


def test_duplicate_rows_change_no_feature(deliver: Deliver, reference: Json) -> None:
    """Those of one batch go to quarantine; those that come again with the next batch count once."""
    deliver(scenarios.DuplicateRows(since=FIRST, share=0.5), days=2)
    for day in (0, 1):
        ingest(run_of(day))
    reasons = frame(QUARANTINE, "usage")["_reasons"]
    assert (reasons == "duplicate key").sum() > 20
    raw = frame(RAW, "usage")
    assert raw["session_id"].duplicated().sum() > 10, "no row came again a day later: half of the rule was not tested"
    assert not raw.duplicated(["session_id", "partition"]).any()
    assert of_days(lake(churn()), 2) == of_days(reference["lake"], 2)


def test_late_rows_count_from_the_day_on_which_they_were_known(deliver: Deliver) -> None:
    deliver(scenarios.LateRows(since=FIRST, share=0.5), days=3)
    for day in range(3):
        ingest(run_of(day))
    usage = frame(RAW, "usage").sort_values("known_at").drop_duplicates("session_id")
    late = usage["known_at"] - usage["started_at"] > timedelta(days=1)
    assert late.sum() > 50, "hardly a row was late: nothing was tested"
    activity = frame(FEATURES, "activity")
    for day in range(3):
        as_of = pd.Timestamp(run_of(day).as_of)
        known = usage[(usage["known_at"] <= as_of) & (usage["started_at"] < as_of)]
        counts = known.groupby("customer_id").size()
        rows = activity[activity["event_timestamp"] == as_of].set_index("customer_id")["sessions_14d"]
        assert rows.to_dict() == counts.reindex(rows.index, fill_value=0).to_dict(), f"as of {as_of}"


def test_a_new_category_alerts_and_reaches_the_features(deliver: Deliver, reference: Json) -> None:
    deliver(scenarios.NewCategory(since=FIRST, column="customers.plan", value="family"), days=1)
    done = ingest(run_of(0))
    (warning,) = [w for w in done["validate"].warnings if w.startswith("customers: ")]
    assert warning.startswith("customers: expect_column_distinct_values_to_be_in_set(plan)") and "family" in warning
    assert done["publish"].sources["customers"].rows == reference["lake"]["raw/customers/2026-01-01"][0]
    assert (frame(FEATURES, "account")["plan"] == "family").sum() > 0
