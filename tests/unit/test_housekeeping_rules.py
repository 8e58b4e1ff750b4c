"""Housekeeping never lets go what somebody needs, whatever is declared and whatever is there."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from evergreen.housekeeping import rules
from evergreen.interval import DAY, Interval
from evergreen.registry.rules import Ended
from tests.small_models import tiny

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
HOURS = st.integers(1, 4000).map(lambda hours: timedelta(hours=hours))
LENGTHS = st.sampled_from([timedelta(hours=1), timedelta(hours=5), DAY, 7 * DAY])
TABLES = st.sampled_from(["shop/labels/left", "shop/features/habits", "stock/features/prices"])


@st.composite
def intervals(draw: st.DrawFn, least: int = 0) -> list[Interval]:
    """Those of one calendar, some of them missing, in any order."""
    length = draw(LENGTHS)
    numbers = draw(st.lists(st.integers(0, 300), min_size=least, max_size=40, unique=True))
    return [Interval(FIRST + number * length, FIRST + (number + 1) * length) for number in numbers]


@given(intervals(), st.none() | HOURS, HOURS)
def test_no_interval_goes_that_is_new_needed_or_not_declared_to_go(
    there: list[Interval], kept: timedelta | None, needed: timedelta
) -> None:
    gone = rules.expired(there, kept, needed)
    if kept is None or not there:
        assert gone == []
        return
    newest = max(there)
    assert newest not in gone and gone == sorted(gone)
    for interval in there:
        age = newest.end - interval.end
        assert (interval in gone) == (interval != newest and age >= kept and age >= needed)
    left = [interval for interval in there if interval not in gone]
    assert rules.expired(left, kept, needed) == [], "a second time there is nothing"


ENDED = st.lists(
    st.builds(
        Ended, st.uuids().map(str), st.sampled_from("abc"), st.integers(0, 60).map(lambda day: FIRST + day * DAY)
    ),
    max_size=30,
)


@given(ENDED, st.randoms(use_true_random=False), st.sets(st.sampled_from("abc")), HOURS)
def test_no_candidate_goes_that_is_a_version_new_or_the_last_of_a_family(
    candidates: list[Ended], random: random.Random, families: set[str], kept: timedelta
) -> None:
    registered = {each.run_id for each in candidates if random.random() < 0.3}
    gone = rules.unregistered(candidates, registered, families, kept)
    for each in candidates:
        alike = [other.as_of for other in candidates if other.family == each.family]
        last = each.family in families and each.as_of == max(alike)
        old = max(other.as_of for other in candidates) - each.as_of >= kept
        assert (each in gone) == (old and not last and each.run_id not in registered)
    left = [each for each in candidates if each not in gone]
    assert rules.unregistered(left, registered, families, kept) == [], "a second time there is nothing"


@given(intervals(least=1), st.sets(st.integers(0, 400), max_size=60), HOURS, HOURS, st.none() | HOURS)
def test_no_day_of_the_log_goes_that_is_not_all_in_the_lake_or_long_gone_from_it(
    collected: list[Interval], numbers: set[int], kept: timedelta, needed: timedelta, copies: timedelta | None
) -> None:
    days = {FIRST.date() + number * DAY for number in numbers}
    gone = rules.copied(days, collected, kept, needed, copies)
    assert rules.copied(days, collected, None, needed, copies) == []
    for day in gone:
        hours = [datetime(day.year, day.month, day.day, hour, tzinfo=UTC) for hour in range(24)]
        age = max(collected).end - (hours[0] + DAY)
        in_lake = all(any(each.start <= hour < each.end for each in collected) for hour in hours)
        assert in_lake or (copies is not None and age >= max(copies, needed))
        assert age >= max(kept, needed)


PINS = st.dictionaries(
    st.sampled_from(["shop", "kiosk"]),
    st.dictionaries(st.integers(1, 9), st.dictionaries(TABLES, st.integers(0, 99), max_size=3), max_size=5),
)


@given(PINS, st.dictionaries(st.sampled_from(["shop", "kiosk"]), st.frozensets(st.integers(1, 9))))
def test_every_pin_of_a_version_that_is_not_retired_is_kept(
    pins: dict[str, dict[int, dict[str, int]]], retired: dict[str, frozenset[int]]
) -> None:
    kept = rules.pinned(pins, retired)
    for model, versions in pins.items():
        for number, joined in versions.items():
            for table, version in joined.items():
                assert number in retired.get(model, ()) or version in kept[table]
    wanted = {
        (table, version)
        for model, versions in pins.items()
        for number, joined in versions.items()
        if number not in retired.get(model, ())
        for table, version in joined.items()
    }
    assert wanted == {(table, version) for table, versions in kept.items() for version in versions}


@given(st.none() | HOURS)
def test_an_old_version_stays_for_who_reads_it_now(kept: timedelta | None) -> None:
    held = rules.versions_kept(kept)
    assert held is None if kept is None else held is not None and held >= max(kept, 2 * DAY)


def test_what_windows_and_look_backs_reach_is_needed() -> None:
    model = tiny(split={"window": "90d", "evaluation": "3d", "minimum_rows": 1})
    data = model.own_data()
    assert rules.needed("raw", data, [model]) >= 3 * DAY and rules.needed("quarantine", data, [model]) == 2 * DAY
    for layer in ("features", "labels"):
        assert rules.needed(layer, data, [model]) >= 92 * DAY
    assert rules.copied([date(2026, 1, 1)], [], DAY, DAY, DAY) == []
