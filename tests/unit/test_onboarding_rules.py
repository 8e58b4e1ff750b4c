"""What is decided of a file: the length of its intervals, its split, its bounds; all of it as a spec's rules allow."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen.onboarding import rules
from evergreen.onboarding.proposing import draft
from evergreen.onboarding.rules import AHEAD, Column, Label, Profile, Rhythm

DAY = timedelta(days=1)
FIRST = datetime(2025, 1, 1)


def profile(days: int, rows: float, *, label: Label | None = None, key: str | None = "id") -> Profile:
    """A file with so many rows on each of so many days."""
    hours = {"hour": Rhythm(24 * days, 24 * days, max(rows / 24, 1.0), 2 * int(rows), rows)}
    longer = {
        name: Rhythm(max(1, days // length), max(1, days // length), rows * length, int(2 * rows * length), rows)
        for name, length in (("day", 1), ("week", 7), ("month", 30))
    }
    total = int(days * rows)
    columns = (
        Column("id", "id", "string", total, 0, total),
        Column("seen_at", "seen_at", "timestamp", total, 0, total, newest=FIRST + days * DAY),
        Column("size", "size", "float", total, 0, total, (), 0.0, 9.0),
        Column("left", "left", "string", total, 0, 2, ("no", "yes")),
    )
    return Profile(
        table="visits",
        file="visits.csv",
        declared={"format": "csv"},
        rows=total,
        columns=columns,
        label=label or Label("gone", "left", "left = 'yes'", ("left",), False, "binary", rarest=0.3),
        time="seen_at",
        first=FIRST,
        last=FIRST + days * DAY,
        rhythms=hours | longer,  # type: ignore[arg-type]  # its keys are lengths
        key=key,
        key_repeats=False,
        identity=("id",),
        repeated=0,
        known_later={"left": "the label is made of it"},
    )


@pytest.mark.parametrize(
    ("days", "rows", "every"),
    [
        (365, 500, "day"),  # enough rows in each
        (944, 48, "week"),  # of half hours
        (1_500, 1, "month"),
        (60, 5, "day"),  # too few weeks
        (5, 5_000, "hour"),  # too few days
        (15, 5, "day"),
        (0, 3, None),
    ],
)
def test_an_interval_has_enough_rows_and_there_are_enough_intervals(days: int, rows: float, every: str | None) -> None:
    assert rules.rhythm_of(profile(days, rows), None) == every
    assert rules.rhythm_of(profile(days, rows), "week") == "week", "who says it knows better"
    assert rules.rhythm_of(replace(profile(days, rows), time=None), None) is None


def test_rows_that_have_a_year_are_not_divided_by_time() -> None:
    yearly = {each: Rhythm(count, 12, 30, 40, 30) for each, count in (("hour", 96_000), ("day", 4_000), ("week", 570))}
    measured = replace(profile(4_000, 1), rhythms=yearly | {"month": Rhythm(133, 12, 30, 40, 30)})  # type: ignore[arg-type]  # its keys are lengths
    assert rules.rhythm_of(measured, None) is None
    drafted = draft("it", replace(measured, time=None, undivided="seen_at"))
    assert drafted.style == "batch" and "seen_at_ago" in drafted.inputs


@given(st.integers(12, 3_000), st.floats(1, 5_000), st.one_of(st.none(), st.floats(0, 3_000)))
def test_what_is_learned_evaluated_and_waited_for_fits_into_the_window(
    days: int, rows: float, delay: float | None
) -> None:
    label = Label("gone", "left", "left = 'yes'", ("left",), False, "binary", rarest=0.3)
    late = label if delay is None else replace(label, delays={0.5: delay / 2, 0.99: delay, 1.0: 2 * delay})
    made = draft("visits", profile(days, rows, label=late))
    unit = AHEAD[made.calendar.every]
    for length in (made.horizon, made.evaluation):
        assert length > timedelta(0) and not length % unit
    assert made.evaluation + 2 * made.horizon < made.window, "as a spec's rules ask"
    assert 2 * made.rows_of_class <= made.evaluation_rows
    if delay is not None and made.horizon < timedelta(hours=delay):
        assert made.horizon >= days * DAY // 6 - unit, "cut short only where the file ends too soon"
    if made.horizon > unit:
        learned = made.window - made.evaluation - 2 * made.horizon
        assert learned >= 2 * made.horizon - unit, "a time fold waits a horizon too, and has as much to score"


def test_a_prediction_has_no_input_that_tells_its_outcome_or_names_its_row() -> None:
    made = draft("visits", profile(200, 300))
    assert set(made.inputs) == {"size", "asked_weekday", "asked_hour"} - (
        set() if rules.rhythm_of(made.profile, None) else {"asked_hour"}
    )
    assert made.left_out == {"left": "the label is made of it"}
    assert (made.key, made.key_sql, made.style) == ("id", "id", "request")


def test_a_few_huge_values_do_not_decide_alone() -> None:
    tame = Label("n", "n", "n", ("size",), False, "numeric", deviation=3.0, distance=2.0)
    assert rules.metric(tame) == "rmse" and rules.floor(tame) == {"rmse": 3.0}
    wild = replace(tame, deviation=55.04, distance=17.22)
    assert rules.metric(wild) == "mae" and rules.floor(wild) == {"mae": 17.3}
