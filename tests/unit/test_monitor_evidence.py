"""What windows with matured labels say: whether a retraining pays, whether the last one helped, whether none would."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen.monitor import evidence
from evergreen.monitor.evidence import FEWEST, Row
from evergreen.spec.schema import ModelSpec
from tests.small_models import tiny

FIRST, DAY = datetime(2026, 1, 1, tzinfo=UTC), timedelta(days=1)


def spec_of(**retrain: Any) -> ModelSpec:
    return tiny(monitoring={"minimum_rows": 1, "cooldown": "2d", "retrain": retrain})


def row(day: int, gap: float = 0.0, **changes: Any) -> Row:
    """A day on which everybody loses about a half, and the champion so much more."""
    noise = random.Random(day).gauss(0, 0.01)
    made = Row(
        window=FIRST + day * DAY,
        version=1,
        rows=500,
        usual=500.0,
        champion=0.5 + noise + gap,
        understudy=0.5 + noise,
        earlier=0.5 + noise + random.Random(-day).gauss(0, 0.01),
        replaced=None,
        apart=5 + day,
        made_from="",
        known_at=FIRST + (day + 2) * DAY,
    )
    return replace(made, **changes)


def changed(at: int, days: int, gap: float = 0.2) -> list[Row]:
    return [row(day, gap if day >= at else 0.0) for day in range(days)]


def weigh(rows: Sequence[Row], champion: int = 1, **retrain: Any) -> evidence.Weighed:
    return evidence.weigh(spec_of(**retrain), rows, champion)


def due(weighed: evidence.Weighed) -> bool:
    return weighed.evidence is not None and weighed.evidence.due


def test_a_lasting_gap_makes_a_retraining_due_and_says_since_when() -> None:
    assert not due(weigh(changed(40, 40)))
    assert not due(weigh(changed(40, 41))), "one odd window is none"
    after = weigh(changed(40, 44))
    assert due(after) and after.changed_at == FIRST + 40 * DAY and after.windows == 44


@given(order=st.permutations(range(30)), again=st.lists(st.integers(0, 29), max_size=5))
def test_the_order_of_the_rows_does_not_matter(order: list[int], again: list[int]) -> None:
    rows = changed(25, 30)
    assert weigh([rows[place] for place in order]) == weigh(rows)


@given(seed=st.integers(0, 1000))
def test_shuffled_days_of_a_world_that_changes_little_are_no_reason(seed: int) -> None:
    draw = random.Random(seed)
    rows = [row(day, draw.gauss(0, 0.02)) for day in range(80)]
    assert not due(weigh(rows))


@given(cut=st.integers(0, 30))
def test_windows_with_few_rows_are_counted_together(cut: int) -> None:
    """Four quarters of a day say what the day does."""
    whole = changed(20, 30)
    parts = [replace(each, rows=each.rows // 4) for each in whole for _ in range(4)]
    moved = [replace(each, window=FIRST + number * DAY / 4) for number, each in enumerate(parts)]
    merged = list(evidence._merged(moved))
    assert all(sum(each.rows for each in one.of) >= FEWEST for one in merged)
    assert {len(one.of) for one in merged} == {2} and len(merged) == 60
    left = list(evidence._merged(moved[: 2 * cut + 1]))
    assert len(left) == cut, "what is left over is no window yet"


def test_an_incident_is_no_evidence() -> None:
    rows = changed(40, 44)
    days = {FIRST + day * DAY for day in range(40, 44)}
    assert not due(evidence.weigh(spec_of(), rows, 1, days))


def test_what_matures_of_an_older_champion_says_nothing_of_the_one_that_serves() -> None:
    rows = changed(40, 44)
    assert weigh(rows, champion=2) == evidence.NOTHING
    newer = [*rows, row(44, version=2, replaced=0.8)]
    known = weigh(newer, champion=2)
    assert known.windows == 1 and not due(known)
    assert known.helped is not None and known.helped.known and known.helped.gain > 0.2


def test_presets_say_how_soon_and_how_dear() -> None:
    cautious, eager = (evidence.rule(spec_of(preset=preset)) for preset in ("cautious", "eager"))
    balanced = evidence.rule(spec_of())
    assert cautious.fast > balanced.fast > eager.fast > 2 and cautious.share > balanced.share > eager.share
    assert (balanced.fast, balanced.slow, balanced.share, balanced.cost) == (4.0, 20, 0.35, None)
    assert evidence.rule(spec_of(evidence=3.0)).fast == 3.0
    assert (balanced.window, balanced.delay, balanced.refit) == (30, 1, 1)


def test_a_stated_cost_has_to_be_paid_first() -> None:
    rows = changed(40, 44)
    assert due(weigh(rows, cost=0.5)) and not due(weigh(rows, cost=50.0))


def test_a_recipe_that_no_longer_fits_is_found_and_a_gap_is_none() -> None:
    worse = [row(day) for day in range(30)]
    worse += [replace(row(day), champion=0.9, understudy=0.9, earlier=0.9) for day in range(30, 36)]
    found = weigh(worse).unfit
    assert found is not None and found.now == pytest.approx(0.9) and found.usual == pytest.approx(0.5, abs=0.02)
    assert weigh(worse[:30]).unfit is None
    assert weigh(changed(30, 36)).unfit is None, "a retraining helps there"
