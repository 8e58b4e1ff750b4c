"""What a span sees and waits for, whatever the calendar and whatever its clock does: every row once, none too early."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.calendar import Calendar
from evergreen.features import rules
from evergreen.ingest import landing
from evergreen.interval import Interval
from evergreen.spec.schema import ModelSpec
from tests.small_models import tiny
from tests.unit.test_calendar import anywhere

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
# Durations that a calendar's rules allow, in its units: look-backs and horizons, and windows of a training.
calendars = st.one_of(
    st.tuples(st.just("hour"), st.integers(1, 50), st.integers(1, 30)),
    st.tuples(st.just("day"), st.integers(1, 12), st.integers(1, 9)),
    st.tuples(st.just("week"), st.integers(1, 5), st.integers(1, 3)),
    st.tuples(st.just("month"), st.integers(31, 100), st.integers(1, 70)),
)


def spec_of(calendar: Calendar, look_back: timedelta, horizon: timedelta, first: date = date(1905, 1, 1)) -> ModelSpec:
    return tiny(
        calendar=calendar,
        first_day=first,
        features={"spend": {"sources": ("events",), "look_back": look_back, "features": {"spent": "float"}}},
        label={"name": "churned", "horizon": horizon, "sources": ("events",)},
        split={"window": 10 * horizon + 2 * calendar.longest, "evaluation": horizon, "minimum_rows": 1},
    )


@st.composite
def cases(draw: st.DrawFn) -> tuple[ModelSpec, Interval]:
    """A model of some calendar, and an interval near a change of the clock."""
    (every, look_back, horizon), (zone, moment) = draw(calendars), draw(anywhere)
    calendar = Calendar(every, zone)
    unit = calendar.unit
    moment = min(max(moment, datetime(1907, 1, 1, tzinfo=UTC)), datetime(2190, 1, 1, tzinfo=UTC))
    return spec_of(calendar, look_back * unit, horizon * unit), calendar.interval_of(moment)


def overlap(span: rules.Span, interval: Interval) -> bool:
    return span.start < interval.end and interval.start < span.end


def waits_rightly(spec: ModelSpec, span: rules.Span) -> bool:
    """It waits for the intervals that can hold rows that it sees, and its rows are known when the last is over."""
    touched = spec.calendar.between(
        spec.calendar.interval_of(span.start), spec.calendar.interval_of(span.end - datetime.resolution)
    )
    assert span.waits_for == [each.partition for each in touched]
    assert list(span.waits_for) == sorted(set(span.waits_for))
    return span.known_at == touched[-1].end >= span.end > span.interval.start


@given(cases())
def test_a_published_interval_makes_exactly_the_views_partitions_due_that_see_it(case: tuple[ModelSpec, Interval]):
    spec, interval = case
    calendar, data = spec.calendar, spec.own_data()
    spans = rules.feature_spans(data, "spend", interval)
    for span in spans:
        assert waits_rightly(spec, span) and overlap(span, interval)
        assert span.end == span.known_at == span.interval.as_of, "nothing after its own end"
        assert interval.partition in span.waits_for
    assert [span.interval for span in spans] == calendar.between(spans[0].interval, spans[-1].interval)
    further = calendar.after(spans[-1].interval)
    assert calendar.earlier(further.end, data.features["spend"].look_back) >= interval.end
    assert spans[0].interval == interval


@given(cases(), st.integers(0, 3000))
def test_who_publishes_an_interval_looks_at_every_span_that_its_rows_reach(
    case: tuple[ModelSpec, Interval], minutes: int
) -> None:
    spec, interval = case
    reach = interval.end + timedelta(minutes=minutes)
    spans = rules.feature_spans(spec.own_data(), "spend", interval, reach)
    assert all(span.start <= reach for span in spans)
    (seeing,) = (span for span in spans if span.interval.start <= reach < span.interval.end)
    assert seeing.start <= reach < seeing.end


@given(cases())
def test_a_training_uses_the_labels_that_are_known_and_the_monitor_finds_them(case: tuple[ModelSpec, Interval]) -> None:
    spec, interval = case
    calendar, horizon = spec.calendar, spec.label.horizon
    spans = rules.mature_label_spans(spec, interval.end)
    assert spans and all(waits_rightly(spec, span) for span in spans)
    for span in spans:
        assert span.end == calendar.later(span.interval.end, horizon) <= span.known_at <= interval.end
        assert calendar.earlier(interval.end, spec.split.window) <= span.interval.end
    newest, further = spans[-1].interval, calendar.after(spans[-1].interval)
    assert calendar.complete(calendar.later(further.end, horizon)) > interval.end, "one more is not known"
    assert spec.asking.known_before(interval.end) >= newest.end or calendar.every == "month"
    assert calendar.complete(calendar.later(spec.asking.known_before(interval.end), horizon)) <= interval.end
    within = [span.partition for span in spans if span.known_at > interval.start]
    assert set(within) <= set(spec.asking.logged(interval))
    for span in rules.label_spans(spec, interval):
        assert waits_rightly(spec, span) and overlap(span, interval)


@given(cases(), st.integers(1, 20))
def test_whole_intervals_lead_from_one_boundary_to_another(case: tuple[ModelSpec, Interval], count: int) -> None:
    calendar, interval = case[0].calendar, case[1]
    if calendar.every == "month":
        return
    if calendar.every == "hour" and calendar.bound != interval.end - interval.start + calendar.bound - HOUR:
        return  # hours that pass need not end where the clock shows a full one, if it is changed by half of one
    later, earlier = (change(interval.end, count * calendar.unit) for change in (calendar.later, calendar.earlier))
    if calendar.every != "hour":
        assert calendar.complete(later) == later and calendar.complete(earlier) == earlier
        assert calendar.earlier(later, count * calendar.unit) == interval.end
    assert earlier < interval.end < later
    assert len(calendar.back(interval, count * calendar.unit)) == count or calendar.every == "hour"


@given(cases())
def test_no_interval_is_longer_than_its_bound(case: tuple[ModelSpec, Interval]) -> None:
    calendar, interval = case[0].calendar, case[1]
    assert interval.end - interval.start <= calendar.bound


@given(cases())
def test_what_a_moment_ends_has_the_key_of_the_last_complete_interval(case: tuple[ModelSpec, Interval]) -> None:
    calendar, interval = case[0].calendar, case[1]
    assert calendar.until(interval.end) == interval
    between = calendar.until(interval.end + timedelta(minutes=7))
    assert (between.partition, between.as_of) == (interval.partition, interval.end + timedelta(minutes=7))


@given(cases())
@settings(max_examples=30)
def test_the_parts_of_a_key_name_one_interval(case: tuple[ModelSpec, Interval]) -> None:
    calendar, interval = case[0].calendar, case[1]
    path = "x/{partition}/" + "-".join(f"{{{part}}}" for part in calendar.parts)
    there, after = (landing.uri_of("zone", path, each.partition) for each in (interval, calendar.after(interval)))
    assert "{" not in there and there.rpartition("/")[2] < after.rpartition("/")[2]


def test_the_night_of_a_clock_change_has_twenty_five_hours_each_with_a_key_and_a_file() -> None:
    berlin = Calendar("hour", "Europe/Berlin")
    first, last = berlin.first_of(date(2026, 10, 25)), berlin.last_of(date(2026, 10, 25))
    night = berlin.between(first, last)
    assert (len(night), night[0].partition, night[-1].partition) == (25, "2026-10-24T2200Z", "2026-10-25T2200Z")
    files = [landing.uri_of("zone", "dt={year}-{month}-{day}/hour={hour}/*.csv", hour.partition) for hour in night]
    assert files[2] == "zone/dt=2026-10-25/hour=00/*.csv" and len(set(files)) == 25


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_a_year_of_hours_in_each_of_a_years_spans_is_one_list(zone: str) -> None:
    """Else it were 76 million partitions for every hour that is published."""
    calendar = Calendar("hour", zone)
    spec = spec_of(calendar, 365 * DAY, 24 * HOUR, date(2022, 1, 1))
    interval = calendar.at("2025-06-01T0000Z")
    spans = rules.feature_spans(spec.own_data(), "spend", interval)
    assert len(spans) == len(spans[0].waits_for) == 365 * 24
    assert len({id(span.waits_for.partitions) for span in spans}) == 1
    published = dict.fromkeys(spans[0].waits_for, "hash")
    assert len(rules.waited_for(spans)) == 2 * 365 * 24 - 1
    assert [due.span.partition for due in rules.due(spans, "query", {"events": published}, {})] == [interval.partition]
