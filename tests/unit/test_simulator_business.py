from __future__ import annotations

import hashlib
import itertools
import os
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen_simulator.business import LONGEST_LIFE, Business
from evergreen_simulator.delivery import World
from evergreen_simulator.events import COLUMNS, TABLES
from evergreen_simulator.landing import as_csv
from evergreen_simulator.scenarios import story

FIRST = date(2026, 1, 1)
SIZE = 60
some_days = st.integers(0, 400).map(lambda n: FIRST + timedelta(days=n))


def digests(world: World, day: date) -> dict[str, str]:
    return {source: hashlib.sha256(as_csv(batch)).hexdigest() for source, batch in world.batch(day).items()}


def happened(business: Business, first: date, days: int) -> dict[str, pd.DataFrame]:
    present = list(business.days(first, first + timedelta(days=days - 1)))
    return {source: pd.concat([table(business, of_day) for of_day in present]) for source, table in TABLES.items()}


@settings(max_examples=8)
@given(st.integers(0, 2**40), some_days, st.integers(1, 5), st.booleans())
def test_a_day_is_the_same_alone_and_in_a_row(seed: int, day: date, before: int, drifted: bool) -> None:
    world = World(seed, SIZE, story(day - timedelta(days=2)) if drifted else ())
    in_a_row = dict(world.batches(day - timedelta(days=before), day))[day]
    for source, batch in world.batch(day).items():
        assert as_csv(batch) == as_csv(in_a_row[source])


def test_days_are_the_same_in_any_order_and_in_another_process() -> None:
    world = World(5, SIZE)
    days = [FIRST + timedelta(days=n) for n in (4, 0, 9, 2)]
    here = {day: digests(world, day) for day in days}
    assert here == {day: digests(World(5, SIZE), day) for day in sorted(days)}
    program = (
        "import hashlib, sys; from datetime import date; from evergreen_simulator.delivery import World\n"
        "from evergreen_simulator.landing import as_csv\n"
        f"batches = World(5, {SIZE}).batch(date.fromisoformat(sys.argv[1]))\n"
        "print({source: hashlib.sha256(as_csv(batch)).hexdigest() for source, batch in batches.items()})"
    )
    environment = os.environ | {"PYTHONHASHSEED": "99", "TZ": "Asia/Tokyo", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", program, days[2].isoformat()]
    there = subprocess.run(command, env=environment, cwd=Path.cwd(), capture_output=True, text=True, check=True)
    assert there.stdout.strip() == str(here[days[2]])


def test_another_seed_is_another_business() -> None:
    one, other = digests(World(1, SIZE), FIRST), digests(World(2, SIZE), FIRST)
    assert all(one[source] != other[source] for source in COLUMNS)


@pytest.fixture(scope="module", params=[(), story(FIRST + timedelta(days=20))], ids=["as usual", "drift"])
def history(request: pytest.FixtureRequest) -> dict[str, pd.DataFrame]:
    return happened(World(3, 200, request.param).business, FIRST, 45)


def test_who_cancelled_never_comes_back(history: dict[str, pd.DataFrame]) -> None:
    left = history["cancellations"].set_index("customer_id")["cancelled_at"]
    assert len(left) > 100
    assert left.index.is_unique
    for source, time in (
        ("customers", "snapshot_at"),
        ("usage", "started_at"),
        ("payments", "paid_at"),
        ("tickets", "opened_at"),
    ):
        rows = history[source]
        after = rows[time].to_numpy() >= rows["customer_id"].map(left).fillna("9999").to_numpy()
        assert not after.any(), source


def test_nothing_happens_to_a_customer_before_the_sign_up(history: dict[str, pd.DataFrame]) -> None:
    signed_up = history["customers"].drop_duplicates("customer_id").set_index("customer_id")["signed_up_at"]
    for source, time in (("usage", "started_at"), ("payments", "paid_at"), ("tickets", "opened_at")):
        rows = history[source]
        assert not (rows[time].to_numpy() < rows["customer_id"].map(signed_up).fillna("").to_numpy()).any(), source


def test_a_snapshot_is_the_one_before_with_the_new_and_without_the_gone(history: dict[str, pd.DataFrame]) -> None:
    snapshots = {
        day: set(rows["customer_id"])
        for day, rows in history["customers"].groupby(history["customers"]["snapshot_at"].str[:10])
    }
    left = {
        day: set(rows["customer_id"])
        for day, rows in history["cancellations"].groupby(history["cancellations"]["cancelled_at"].str[:10])
    }
    signed_up = dict(
        zip(history["customers"]["customer_id"], history["customers"]["signed_up_at"].str[:10], strict=True)
    )
    days = sorted(snapshots)
    assert len(days) == 45
    for yesterday, today in itertools.pairwise(days):
        new = {name for name in snapshots[today] if signed_up[name] == today}
        assert snapshots[today] == (snapshots[yesterday] | new) - left.get(today, set())


def test_a_snapshot_is_taken_within_its_day_and_has_each_customer_once() -> None:
    business = Business(1, SIZE)
    rows = TABLES["customers"](business, business.day(FIRST))
    assert set(rows["snapshot_at"]) == {"2026-01-01T23:59:59Z"}
    assert rows["customer_id"].is_unique


def test_identifiers_are_unique(history: dict[str, pd.DataFrame]) -> None:
    for source, key in (("usage", "session_id"), ("payments", "payment_id"), ("tickets", "ticket_id")):
        assert history[source][key].is_unique


@pytest.mark.parametrize("size", [50, 1000])
def test_arrivals_balance_cancellations_at_the_size_asked_for(size: int) -> None:
    present = list(Business(11, size).days(FIRST, FIRST + timedelta(days=89)))
    active = [int((~day.cancels).sum()) for day in present]
    assert all(0.65 * size < count < 1.35 * size for count in active)
    assert max((day.day.toordinal() - day.signed_up).max() for day in present) <= LONGEST_LIFE


def test_six_to_twelve_percent_of_customers_leave_within_three_days() -> None:
    for seed in (1, 2, 3):
        present = list(Business(seed).days(FIRST, FIRST + timedelta(days=62)))
        gone = sum(int(day.cancels.sum()) for day in present)
        active = sum(int((~day.cancels).sum()) for day in present)
        assert 0.06 < 3 * gone / active < 0.12
