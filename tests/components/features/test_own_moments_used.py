"""Outcomes with a moment of their own in training and monitoring: as of several moments each is used from when it was
known, and what is open is counted."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from evergreen.errors import EvidenceMissing
from evergreen.features import computing, rules
from evergreen.handovers.monitor import Collected
from evergreen.labels import writing
from evergreen.lake import catalogue, partitions, staging
from evergreen.lake.schema import FEATURES, PREDICTIONS
from evergreen.loops import inline
from evergreen.monitor import live
from evergreen.settings import Settings
from evergreen.spec.schema import ModelSpec
from evergreen.train import rules as splitting
from evergreen.train import stages as training

from .bookings import DAYS, STAMP, bookings, interval, publish, write
from .test_own_moments import compute, known_at

TRUTH = bookings(per_day=24)


@pytest.fixture
def hotel(home: Settings, tmp_path: Path) -> ModelSpec:
    """Bookings as they arrive, with the features of the guests."""
    spec = write(tmp_path / "hotel", split={"window": "40d", "evaluation": "3d", "minimum_rows": 20, "folds": 2})
    publish(spec, TRUTH, updates=True)
    data = spec.own_data()
    for day in range(DAYS):
        span = next(
            each for each in rules.feature_spans(data, "guests", interval(day)) if each.interval == interval(day)
        )
        place = FEATURES.of(data.name, "guests").at(span.partition)
        catalogue.record(
            partitions.replace(place, computing.features(data, "guests", span), known_at=span.interval.end)
        )
    return spec


@pytest.mark.parametrize("day", [13, 17])
def test_a_training_uses_what_was_known_when_it_had_to_be_and_counts_the_rest(hotel: ModelSpec, day: int) -> None:
    writing.write(hotel, rules.mature_label_spans(hotel, interval(DAYS - 1).end))  # later runs were there before
    run = inline.of(hotel, interval(day))
    split = splitting.split(run.as_of, hotel)
    built = training.build(run)
    rows = staging.read(built.staged).to_pandas().set_index("booking_id")
    counts = {"learn": [0, 0], "evaluate": [0, 0]}
    for each in TRUTH:
        known = known_at(each, updates=True)
        for part, first, last, by in (
            ("learn", split.learn_from, split.learn_to, split.evaluate_from),
            ("evaluate", split.evaluate_from, split.evaluate_to, split.as_of),
        ):
            if first <= each.booked_at <= last:
                there = known is not None and known <= by
                counts[part][not there] += 1
                assert (each.booking_id in rows.index) == there, (part, each, known)
                if there:
                    row = rows.loc[each.booking_id]
                    assert (bool(row["cancelled"]), row["known_at"], row["rooms"]) == (
                        each.cancelled,
                        known,
                        each.rooms,
                    )
    assert [built.learn.rows, built.learn.still_open] == counts["learn"]
    assert [built.evaluate.rows, built.evaluate.still_open] == counts["evaluate"]
    assert len(rows) == counts["learn"][0] + counts["evaluate"][0] and counts["evaluate"][1] > 0


def test_a_training_of_those_that_are_decided_soonest_alone_is_no_evidence(hotel: ModelSpec) -> None:
    known = hotel.label.known
    assert known is not None
    strict = hotel.label.model_copy(update={"known": known.model_copy(update={"share": 0.97})})
    spec = hotel.model_copy(update={"label": strict})
    compute(spec, DAYS - 1)
    with pytest.raises(EvidenceMissing, match=r"label\.known\.share") as refused:
        training.build(inline.of(spec, interval(DAYS - 1)))
    assert "write a longer label.horizon (it is 4d)" in str(refused.value)


def test_each_outcome_is_scored_in_the_interval_in_which_it_became_known(hotel: ModelSpec) -> None:
    compute(hotel, DAYS - 1)
    log_predictions(hotel)
    scored: dict[str, int] = {}
    for day in range(DAYS):
        run = inline.of(hotel, interval(day))
        asked = [each for each in TRUTH if each.booked_at <= run.as_of]
        outcomes: dict[str, int] = {}
        collected = Collected(partition=run.interval.partition, rows=1, version=1, champion=1, ages={}, warnings=())
        by_version, still_open = live.matured(run, collected, None)
        assert by_version.keys() <= {1}
        for matured in by_version.values():
            outcomes.update(zip(matured["booking_id"], matured["label"], strict=True))
        for key, label in outcomes.items():
            assert key not in scored, "once"
            scored[key] = day
            assert bool(label) == next(each.cancelled for each in TRUTH if each.booking_id == key)
        # a prediction is looked at as long as its outcome may come
        since = run.interval.start - timedelta(days=8 + 1)
        waiting = [each for each in asked if (known := moment(each)) is None or known > run.as_of]
        assert still_open <= len(waiting)
        assert still_open >= sum(each.booked_at >= since + timedelta(days=2) for each in waiting)
    expected = {each.booking_id: known for each in TRUTH if (known := moment(each)) is not None}
    assert scored == {key: (known - interval(0).end).days for key, known in expected.items()}


def moment(each: object) -> datetime | None:
    """When an outcome arrived, of those that arrived within the days of the test."""
    known = known_at(each, updates=True)  # type: ignore[arg-type]  # a booking
    return known if known is not None and known <= interval(DAYS - 1).end else None


def log_predictions(spec: ModelSpec) -> None:
    """One answer for every booking, when it was made."""
    for day in range(DAYS):
        made = [each for each in TRUTH if each.day == day]
        moments, end = (
            pa.array([each.booked_at for each in made], STAMP),
            pa.array([interval(day).end] * len(made), STAMP),
        )
        stamps = {"as_of": moments, "features_at": moments, "known_at": end}
        columns = {name: stamps.get(name, pa.nulls(len(made), kind)) for name, kind in PREDICTIONS.arrow.items()}
        columns |= {
            "booking_id": pa.array([each.booking_id for each in made]),
            "request_id": pa.array([f"r{each.booking_id}" for each in made]),
            "version": pa.array([1] * len(made), pa.int64()),
            "prediction": pa.array([0.5] * len(made), pa.float64()),
        }
        place = PREDICTIONS.of(spec.model).at(interval(day).partition)
        catalogue.record(partitions.replace(place, pa.table(columns), known_at=interval(day).end))


def test_of_the_whole_wait_the_monitor_reads_keys_alone(hotel: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole rows are read of the intervals alone whose predictions may have an outcome that became known now."""
    compute(hotel, DAYS - 1)
    log_predictions(hotel)
    whole: list[str] = []
    monkeypatch.setattr(live, "read", lambda spec, keys, version: whole.extend(keys))
    run = inline.of(hotel, interval(DAYS - 1))
    collected = Collected(partition=run.interval.partition, rows=1, version=1, champion=1, ages={}, warnings=())
    live.matured(run, collected, None)
    news = {each.day for each in TRUTH if known_at(each, updates=True) == run.as_of}
    near = {interval(day + apart).partition for day in news for apart in (-1, 0, 1, 2)}
    assert whole and set(whole) <= near and len(whole) < len(hotel.asking.logged(run.interval))
