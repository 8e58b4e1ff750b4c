from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen_simulator.delivery import World
from evergreen_simulator.events import COLUMNS, TABLES
from evergreen_simulator.landing import as_csv
from evergreen_simulator.scenarios import (
    CovariateDrift,
    Scenario,
    SchemaBreak,
    conditions,
    harmless,
    outage,
    parse,
    story,
)

DAY = date(2026, 2, 10)
BEFORE, AFTER = DAY - timedelta(days=1), DAY + timedelta(days=1)
SIZE = 300
TIMES = {"usage": "started_at", "payments": "paid_at", "tickets": "opened_at"}


def world(*scenarios: str) -> World:
    return World(7, SIZE, tuple(parse(text) for text in scenarios))


def happened(of: World, first: date, last: date) -> dict[str, pd.DataFrame]:
    business = of.business
    present = list(business.days(first, last))
    return {source: pd.concat([table(business, day) for day in present]) for source, table in TABLES.items()}


def late_share(of: World, days: int = 10) -> float:
    batches = [batches["usage"] for _, batches in of.batches(DAY, DAY + timedelta(days=days))]
    dates = np.concatenate(
        [np.full(len(batch), (DAY + timedelta(days=n)).isoformat()) for n, batch in enumerate(batches)]
    )
    return float((pd.concat(batches)["started_at"].str[:10].to_numpy() < dates).mean())


def test_without_scenarios_few_rows_are_late_and_only_by_two_days() -> None:
    for day, batches in world().batches(DAY, DAY + timedelta(days=9)):
        for source, time in TIMES.items():
            dates = batches[source][time].str[:10]
            assert dates.max() <= day.isoformat()
            assert dates.min() >= (day - timedelta(days=2)).isoformat()
        assert set(batches["customers"]["snapshot_at"].str[:10]) <= {
            day.isoformat(),
            (day - timedelta(days=1)).isoformat(),
        }
    assert 0.003 < late_share(world()) < 0.025


def test_every_row_arrives_and_copies_are_equal() -> None:
    of = world()
    truth = happened(of, DAY, DAY + timedelta(days=4))
    arrived = list(of.batches(DAY, DAY + timedelta(days=7)))
    for source, time in TIMES.items():
        key = COLUMNS[source][0]
        delivered = pd.concat([batches[source] for _, batches in arrived]).astype(str)
        delivered = delivered[delivered[time].str[:10].between(DAY.isoformat(), (DAY + timedelta(days=4)).isoformat())]
        assert set(delivered[key]) == set(truth[source][key])
        assert not delivered.drop_duplicates()[key].duplicated().any()


def test_without_scenarios_some_rows_arrive_twice_and_some_are_damaged() -> None:
    usage = pd.concat([batches["usage"] for _, batches in World(7).batches(DAY, DAY + timedelta(days=9))])
    assert 0.001 < usage["session_id"].duplicated().mean() < 0.01
    assert 0.0001 < (usage["minutes"] < 0).mean() < 0.004


def test_late_rows() -> None:
    assert late_share(world("late_rows@2026-02-01:share=0.3")) > 0.15


def test_late_rows_change_when_rows_arrive_and_nothing_else() -> None:
    late, usual = (
        pd.concat([batches["usage"] for _, batches in of.batches(BEFORE, DAY + timedelta(days=4))])
        for of in (world(f"late_rows@{DAY}..{DAY}:share=0.5"), world())
    )
    on_day = [set(rows.loc[rows["started_at"].str[:10] == DAY.isoformat(), "session_id"]) for rows in (late, usual)]
    assert on_day[0] == on_day[1]


def test_duplicate_rows_come_in_the_same_batch_and_in_the_next() -> None:
    of = world(f"duplicate_rows@{DAY}..{DAY}:share=0.4")
    today, tomorrow = (of.batch(day)["usage"]["session_id"] for day in (DAY, AFTER))
    assert today.duplicated().mean() > 0.05
    assert tomorrow.isin(set(today)).mean() > 0.05


def test_sensor_outage_empties_the_column_on_its_days_only() -> None:
    of = world(f"sensor_outage@{DAY}..{AFTER}:column=usage.minutes")
    for day in (BEFORE, DAY, AFTER, AFTER + timedelta(days=1)):
        usage = of.batch(day)["usage"]
        own = usage[usage["started_at"].str[:10] == day.isoformat()]
        assert own["minutes"].isna().mean() == pytest.approx(1.0 if DAY <= day <= AFTER else 0.0, abs=0.02)
        assert own["device"].notna().all()


def test_schema_break_drops_or_renames_the_column() -> None:
    missing, renamed = world(f"schema_break@{DAY}..{DAY}"), world(f"schema_break@{DAY}:renamed=duration")
    assert list(missing.batch(BEFORE)["usage"]) == list(missing.batch(AFTER)["usage"]) == list(COLUMNS["usage"])
    assert "minutes" not in missing.batch(DAY)["usage"]
    assert "duration" in renamed.batch(DAY)["usage"]
    assert "duration" in renamed.batch(AFTER)["usage"]
    assert list(missing.batch(DAY)["payments"]) == list(COLUMNS["payments"])


def test_new_category_marks_the_same_customers_every_day() -> None:
    of = world(f"new_category@{DAY}:value=family")
    marked = [
        set(rows.loc[rows["plan"] == "family", "customer_id"])
        for rows in (of.batch(day)["customers"] for day in (BEFORE, DAY, AFTER))
    ]
    assert not marked[0]
    assert 0.05 * SIZE < len(marked[1]) < 0.3 * SIZE
    assert marked[2] & set(of.batch(DAY)["customers"]["customer_id"]) <= marked[1]


def test_covariate_drift_moves_what_is_seen_and_nobody_leaves_for_it() -> None:
    drifted, usual = (happened(of, DAY, DAY + timedelta(days=6)) for of in (world(f"covariate_drift@{DAY}"), world()))
    assert drifted["customers"]["monthly_price"].mean() == pytest.approx(
        1.3 * usual["customers"]["monthly_price"].mean()
    )
    assert drifted["usage"]["minutes"].mean() > 1.25 * usual["usage"]["minutes"].mean()
    assert len(drifted["usage"]) < 0.85 * len(usual["usage"])
    assert (drifted["usage"]["device"] == "mobile").mean() > 0.12 + (usual["usage"]["device"] == "mobile").mean()
    pd.testing.assert_frame_equal(drifted["cancellations"], usual["cancellations"])


def test_the_harmless_story_moves_prices_and_devices_and_nothing_that_tells_who_leaves() -> None:
    drifted, usual = (happened(of, DAY, DAY + timedelta(days=6)) for of in (World(7, SIZE, harmless(DAY)), world()))
    assert drifted["customers"]["monthly_price"].mean() == pytest.approx(
        1.3 * usual["customers"]["monthly_price"].mean()
    )
    assert (drifted["usage"]["device"] == "mobile").mean() > 0.12 + (usual["usage"]["device"] == "mobile").mean()
    same = ["session_id", "customer_id", "started_at", "minutes"]
    pd.testing.assert_frame_equal(drifted["usage"][same], usual["usage"][same])
    for source in ("cancellations", "tickets"):
        pd.testing.assert_frame_equal(drifted[source], usual[source])


def test_the_outage_story_is_three_days_without_lengths_and_a_usual_world() -> None:
    of = World(7, SIZE, outage(DAY))
    assert conditions(of.scenarios, DAY) == conditions((), DAY)
    for number in range(-1, 4):
        day = DAY + timedelta(days=number)
        usage = of.batch(day)["usage"]
        own = usage[usage["started_at"].str[:10] == day.isoformat()]
        assert own["minutes"].isna().mean() == pytest.approx(1.0 if 0 <= number <= 2 else 0.0, abs=0.02)


def test_concept_drift_changes_who_leaves() -> None:
    """Before, those who hardly come leave; afterwards, those who come most, and the dearest plans."""

    def leavers(of: World) -> tuple[float, float]:
        present = list(of.business.days(DAY + timedelta(days=3), DAY + timedelta(days=30)))
        engagement = np.concatenate([day.engagement[day.cancels] for day in present])
        plan = np.concatenate([day.plan[day.cancels] for day in present])
        return float(engagement.mean()), float(plan.mean())

    usual, drifted = leavers(world()), leavers(world(f"concept_drift@{DAY}"))
    assert usual[0] < -0.3 < 0.3 < drifted[0]
    assert drifted[1] > usual[1] + 0.2


@given(st.floats(0, 1))
def test_strength_scales_the_drift(strength: float) -> None:
    weak = conditions(story(DAY, strength), DAY)
    full, none = conditions(story(DAY), DAY), conditions((), DAY)
    assert weak.price == pytest.approx(none.price + strength * (full.price - none.price))
    assert weak.reasons.engagement == pytest.approx(
        none.reasons.engagement + strength * (full.reasons.engagement - none.reasons.engagement)
    )


@pytest.mark.parametrize(
    "text",
    [
        "covariate_drift",
        "cosmetic_drift",
        "concept_drift",
        "sensor_outage",
        "schema_break",
        "late_rows",
        "duplicate_rows",
        "new_category",
    ],
)
def test_a_scenario_leaves_earlier_days_alone(text: str) -> None:
    changed, usual = world(f"{text}@{DAY}").batch(BEFORE), world().batch(BEFORE)
    assert all(as_csv(changed[source]) == as_csv(usual[source]) for source in COLUMNS)


def test_scenarios_combine() -> None:
    of = world(f"covariate_drift@{DAY}", f"sensor_outage@{DAY}..{DAY}", f"schema_break@{DAY}:column=tickets.topic")
    batch = of.batch(DAY)
    assert "topic" not in batch["tickets"]
    assert batch["usage"]["minutes"].isna().mean() > 0.9
    assert batch["customers"]["monthly_price"].max() == 52.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("covariate_drift@2026-02-10", CovariateDrift(since=DAY)),
        ("covariate_drift@2026-02-10..2026-02-11:strength=0.5", CovariateDrift(since=DAY, until=AFTER, strength=0.5)),
        ('{"kind": "covariate_drift", "since": "2026-02-10"}', CovariateDrift(since=DAY)),
        (
            "schema_break@2026-02-10:column=tickets.topic,renamed=subject",
            SchemaBreak(since=DAY, column="tickets.topic", renamed="subject"),
        ),
    ],
)
def test_parse(text: str, expected: Scenario) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("covariate_drift", "no date"),
        ("earthquake@2026-02-10", "earthquake"),
        ("covariate_drift@10.02.2026", "since"),
        ("covariate_drift@2026-02-10..2026-02-01", "before it starts"),
        ("covariate_drift@2026-02-10:strength=2", "strength"),
        ("covariate_drift@2026-02-10:force=1", "force"),
        ("sensor_outage@2026-02-10:column=usage.speed", "usage.speed"),
        ("{}", "kind"),
    ],
)
def test_parse_names_the_mistake(text: str, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        parse(text)
