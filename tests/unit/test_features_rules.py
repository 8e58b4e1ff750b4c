"""Which partitions a published day makes due: any order, any interleaving, the same end."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.features import rules
from evergreen.interval import Interval, days
from evergreen.spec.schema import ModelSpec
from tests.small_models import tiny

FIRST = date(2026, 1, 1)
DAYS = days(FIRST, FIRST + timedelta(days=5))


def spec_of(look_back: str = "3d", horizon: str = "2d") -> ModelSpec:
    return tiny(
        features={"spend": {"sources": ("events",), "look_back": look_back, "features": {"spent": "float"}}},
        label={"name": "churned", "horizon": horizon, "sources": ("events",)},
    )


def day(number: int) -> Interval:
    return Interval.of_day(FIRST + timedelta(days=number))


def test_features_look_back_over_whole_days_and_never_ahead() -> None:
    spans = rules.feature_spans(spec_of().own_data(), "spend", day(3))
    assert [w.partition for w in spans] == ["2026-01-04", "2026-01-05", "2026-01-06"]
    assert spans[0].waits_for == ("2026-01-02", "2026-01-03", "2026-01-04")
    assert spans[0].start == datetime(2026, 1, 2, tzinfo=UTC)
    assert spans[0].end == spans[0].interval.as_of == datetime(2026, 1, 5, tzinfo=UTC)


def test_a_look_back_of_part_of_a_day_reads_the_whole_day_but_sees_only_its_part() -> None:
    span = rules.feature_spans(spec_of(look_back="36h").own_data(), "spend", day(3))[0]
    assert span.waits_for == ("2026-01-03", "2026-01-04")
    assert span.start == datetime(2026, 1, 3, 12, tzinfo=UTC)


def test_a_label_sees_the_interval_before_its_cutoff_and_its_horizon() -> None:
    spans = rules.label_spans(spec_of(), day(3))
    assert [w.partition for w in spans] == ["2026-01-02", "2026-01-03", "2026-01-04"]
    assert spans[0].waits_for == ("2026-01-02", "2026-01-03", "2026-01-04")
    assert (spans[0].start, spans[0].interval.as_of, spans[0].end) == (
        datetime(2026, 1, 2, tzinfo=UTC),
        datetime(2026, 1, 3, tzinfo=UTC),
        datetime(2026, 1, 5, tzinfo=UTC),
    )


def test_days_before_the_first_count_as_present() -> None:
    first = rules.feature_spans(spec_of().own_data(), "spend", day(0))[0]
    assert first.waits_for == ("2026-01-01",)
    assert [w.partition for w in rules.label_spans(spec_of(), day(0))] == ["2026-01-01"]


@pytest.mark.parametrize(
    ("as_of", "partitions"),
    [
        (2, []),
        (3, ["2026-01-01"]),
        (5, ["2026-01-01", "2026-01-02", "2026-01-03"]),
        (33, [d.partition for d in days(date(2026, 1, 3), date(2026, 1, 31))]),
    ],
)
def test_a_training_uses_the_labels_that_are_mature_within_its_window(as_of: int, partitions: list[str]) -> None:
    spans = rules.mature_label_spans(spec_of(), day(as_of).start)
    assert [span.partition for span in spans] == partitions
    assert all(span.end <= day(as_of).start for span in spans)


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_nothing_is_due_while_a_day_is_missing(missing: int) -> None:
    span = rules.feature_spans(spec_of().own_data(), "spend", day(3))[0]
    present = {day(n).partition: f"h{n}" for n in (1, 2, 3) if n != missing}
    assert rules.due([span], "query", {"events": present}, {}) == []


@pytest.mark.parametrize("change", ["content", "query", "nothing"])
def test_due_again_exactly_when_what_it_is_computed_from_changed(change: str) -> None:
    span = rules.feature_spans(spec_of().own_data(), "spend", day(3))[0]
    raw = {"events": dict.fromkeys(span.waits_for, "old")}
    recorded = {span.partition: rules.due([span], "query", raw, {})[0].inputs_hash}
    if change == "content":
        raw["events"][span.waits_for[0]] = "new"
    again = rules.due([span], "other query" if change == "query" else "query", raw, recorded)
    assert bool(again) == (change != "nothing")


def test_the_declaration_covers_query_features_and_source_columns() -> None:
    spec = spec_of().own_data()
    base = rules.feature_declaration(spec, "spend", "select 1")
    wider = spec.sources["events"].model_copy(update={"keys": ("id", "at")})
    assert base != rules.feature_declaration(spec, "spend", "select 2")
    assert base != rules.feature_declaration(spec_of(look_back="4d").own_data(), "spend", "select 1")
    assert base != rules.feature_declaration(
        spec.model_copy(update={"sources": {"events": wider}}), "spend", "select 1"
    )
    assert base == rules.feature_declaration(spec_of(horizon="5d").own_data(), "spend", "select 1")


def test_a_partition_whose_rows_reach_into_a_span_is_read_there_and_not_waited_for() -> None:
    own, *_ = rules.feature_spans(spec_of(look_back="1d").own_data(), "spend", day(3))
    two, three = day(2).partition, day(3).partition
    (span,) = rules.with_reaching([own], {"events": {two: day(3).start + timedelta(hours=4)}, "others": {}})
    assert (span.reads("events"), span.reads("others"), span.waits_for) == ((two, three), (three,), (three,))
    for reaches in ({two: own.start - timedelta(seconds=1)}, {day(4).partition: day(9).start}, {}):
        assert rules.with_reaching([own], {"events": reaches}) == [own]
    raw = {"events": {two: "two", three: "three"}, "others": {two: "not of the span", three: "three"}}
    (before,), (after,) = (rules.due([each], "query", raw, {}) for each in (own, span))
    assert before.inputs_hash != after.inputs_hash
    del raw["others"][two]
    assert rules.due([span], "query", raw, {span.partition: after.inputs_hash}) == []


def test_who_publishes_a_day_looks_at_every_span_that_its_rows_reach() -> None:
    spec = spec_of(look_back="2d").own_data()
    for reach, further in (
        (None, 0),
        (day(3).end - timedelta(seconds=1), 0),
        (day(3).end, 1),
        (day(4).end - timedelta(seconds=1), 1),
        (day(5).end, 3),
    ):
        usual = [span.partition for span in rules.feature_spans(spec, "spend", day(3))]
        touched = [span.partition for span in rules.feature_spans(spec, "spend", day(3), reach)]
        assert touched[: len(usual)] == usual and len(touched) == len(usual) + further


class World:
    """The catalogue, and runs whose steps may be interleaved:
    publish raw → compute → publish candidates, as the stages do."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.raw: dict[str, str] = {}
        self.features: dict[str, str] = {}
        self.labels: dict[str, str] = {}

    def _due(self, spans: list[rules.Span], recorded: dict[str, str]) -> dict[str, str]:
        return {d.span.partition: d.inputs_hash for d in rules.due(spans, "query", {"events": self.raw}, recorded)}

    def run(self, interval: Interval, content: str):
        self.raw[interval.partition] = content
        yield
        spans = rules.feature_spans(self.spec.own_data(), "spend", interval)
        candidates = self._due(spans, self.features)
        yield
        while candidates:
            for partition, fingerprint in candidates.items():
                if self._due(spans, self.features).get(partition) == fingerprint:
                    yield  # the write takes time: another run may publish a day now
                    self.features[partition] = fingerprint
            now = self._due(spans, self.features)
            candidates = {partition: now[partition] for partition in candidates.keys() & now.keys()}
            yield
        spans = rules.mature_label_spans(self.spec, DAYS[-1].end)  # of a training that comes after it
        while due := self._due(spans, self.labels):
            yield
            self.labels.update(due)


@settings(max_examples=150)
@given(
    order=st.permutations(range(6)),
    again=st.lists(st.integers(0, 5), max_size=3),
    picks=st.lists(st.integers(0, 8), max_size=120),
    look_back=st.sampled_from(["1d", "36h", "3d"]),
    horizon=st.sampled_from(["1d", "2d", "3d"]),
)
def test_any_order_and_interleaving_of_days_ends_the_same(
    order: list[int], again: list[int], picks: list[int], look_back: str, horizon: str
) -> None:
    spec = spec_of(look_back, horizon)
    in_order = World(spec)
    for n in range(6):
        for _ in in_order.run(day(n), f"content {n}"):
            pass
    world = World(spec)
    runs = [world.run(day(n), f"content {n}") for n in [*order, *again]]
    for pick in picks:
        if runs:
            chosen = pick % len(runs)
            try:
                next(runs[chosen])
            except StopIteration:
                runs.pop(chosen)
    for run in runs:
        for _ in run:
            pass
    assert world.features == in_order.features
    assert world.labels == in_order.labels
    assert set(in_order.features) == {d.partition for d in DAYS}
    assert len(in_order.labels) == 6 - int(horizon[0])
