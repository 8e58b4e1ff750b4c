"""How a prediction is asked for stands in one place: what follows from it, and that nobody else decides by it."""

from __future__ import annotations

import ast
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import create_model

from evergreen.calendar import Calendar, Length
from evergreen.interval import DAY, Interval
from evergreen.settings import PROJECT
from evergreen.spec.asking import EveryInterval, OnRequest
from evergreen.spec.label import Known
from evergreen.spec.load import load_spec
from evergreen.train import rules

SPECS = PROJECT / "tests" / "specs" / "valid"
INTERVALS, REQUESTS = load_spec(SPECS / "renewals"), load_spec(SPECS / "parcels")
START = datetime(2026, 1, 5, tzinfo=UTC)
minutes = st.integers(0, 24 * 60)


def test_a_model_with_a_request_is_asked_on_request() -> None:
    assert isinstance(INTERVALS.asking, EveryInterval) and isinstance(REQUESTS.asking, OnRequest)


def test_of_every_interval_a_request_names_the_entity_alone() -> None:
    asking = INTERVALS.asking
    assert list(asking.sent) == [INTERVALS.entity.key]
    assert not asking.named_by_request and not asking.inputs and not asking.queries and not asking.sources
    assert (asking.longest_lead, asking.look_back, asking.label_delay) == (
        timedelta(0),
        timedelta(0),
        INTERVALS.label.horizon,
    )


def test_a_request_has_every_key_and_input_and_only_its_own_key_must_be_known() -> None:
    sent = REQUESTS.asking.sent
    assert list(sent) == [*REQUESTS.keys, *REQUESTS.asking.inputs]
    of_null = create_model("Nulls", **{name: (kind, ...) for name, kind in sent.items()})
    with pytest.raises(ValueError, match="1 validation error") as caught:
        of_null.model_validate(dict.fromkeys(sent))
    assert REQUESTS.entity.key in str(caught.value)


@given(before=minutes, within=minutes)
def test_the_monitor_looks_where_a_request_may_have_been_logged(before: int, within: int) -> None:
    """A request of an interval is asked for in it or up to its longest lead before, and answered at once.
    Its outcome is known a horizon after the interval's end."""
    asking, interval, horizon = REQUESTS.asking, Interval(START, START + DAY), REQUESTS.label.horizon
    known = Interval(interval.start + horizon, interval.end + horizon)
    earliest = interval.start - asking.longest_lead * (before / (24 * 60))
    for moment in (earliest, interval.start + timedelta(minutes=within)):
        assert moment.date().isoformat() in asking.logged(known)
        assert interval.end + horizon - moment <= asking.label_delay
        assert asking.known_before(interval.end + horizon) <= moment
    assert interval.partition in asking.logged(known), "the labels' own partition"


@pytest.mark.parametrize("every", ["hour", "day", "week", "month"])
def test_folds_of_outcomes_with_moments_of_their_own_wait_as_long_as_the_split_does(every: Length) -> None:
    """Which of the rows were known by then each row says: an interval that is not over holds none of them back."""
    known = REQUESTS.label.model_copy(
        update={"horizon": 70 * DAY, "known": Known(column="known_at", within=timedelta(days=740))}
    )
    spec = REQUESTS.model_copy(update={"label": known, "calendar": Calendar(every=every)})
    split = rules.split(START, spec)
    assert spec.asking.known_before(split.evaluate_from) == split.learn_to


@given(answered=st.integers(0, 24 * 60 - 1))
def test_the_monitor_looks_where_an_interval_s_entities_may_have_been_logged(answered: int) -> None:
    """From the cutoff until the next one, predictions are made of its features."""
    cutoff, horizon = START + DAY, INTERVALS.label.horizon
    partitions = INTERVALS.asking.logged(Interval(START + horizon, cutoff + horizon))
    assert {(cutoff + timedelta(minutes=answered)).date().isoformat(), START.date().isoformat()} <= set(partitions)


@given(days=st.integers(1, 30), minute=st.integers(0, 24 * 60 - 1))
def test_a_stretch_of_days_has_as_many_moments_as_days(days: int, minute: int) -> None:
    until = START + timedelta(minutes=minute)
    first, last = INTERVALS.asking.stretch(days * DAY, until)
    grid = [START + number * DAY for number in range(-60, 5)]
    newest = [moment for moment in grid if moment <= until]
    assert [moment for moment in grid if first <= moment <= last] == newest[-days:]
    assert REQUESTS.asking.stretch(days * DAY, until) == (until - days * DAY, until)


def test_rows_are_alike_by_entity_or_by_day() -> None:
    moments = pd.to_datetime(["2026-01-05T01:00Z", "2026-01-05T23:00Z", "2026-01-06T01:00Z"])
    rows = pd.DataFrame({"event_timestamp": moments, "reader_id": ["a", "b", "a"], "parcel_id": ["1", "2", "3"]})
    assert list(INTERVALS.asking.alike(rows)) == ["a", "b", "a"]
    assert list(REQUESTS.asking.alike(rows)) == ["2026-01-05", "2026-01-05", "2026-01-06"]


def test_nobody_else_decides_by_how_a_prediction_is_asked_for() -> None:
    deciding = [
        f"{path.relative_to(PROJECT)}:{node.lineno}"
        for path in (PROJECT / "include").rglob("*.py")
        if path.parent.name != "spec" and "rules" not in path.parts
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr == "request" and ast.unparse(node.value).endswith("spec")
    ]
    assert not deciding, f"{deciding}: ask spec.asking"


def test_a_day_is_spelt_once() -> None:
    spelt = [
        f"{path.relative_to(PROJECT)}: {line.strip()}"
        for path in (PROJECT / "include").rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if "= timedelta(days=1)" in line
    ]
    assert len(spelt) == 1 and spelt[0].startswith("include/evergreen/interval.py"), spelt
