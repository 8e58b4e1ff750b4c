"""Outcomes that become known each at a moment of its own: as of a moment exactly those are labels that were known by
then, however the data arrives, and whoever says that one was known before it was is stopped."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from evergreen.errors import PermanentError, SpecError
from evergreen.features import computing, rules
from evergreen.labels import writing
from evergreen.lake import tables
from evergreen.lake.schema import LABELS
from evergreen.settings import Settings
from evergreen.spec.schema import ModelSpec

from .bookings import (
    BY_GUEST,
    COLUMNS,
    DAYS,
    DECIDED,
    LONGEST,
    Booking,
    bookings,
    interval,
    publish,
    write,
    write_of_guests,
)

TRUTH = bookings()


def as_of(day: int) -> datetime:
    return interval(day).end


def known_at(each: Booking, *, updates: bool) -> datetime | None:
    """When the outcome of a booking was known to us; None: so late that nobody waits any more."""
    arrives = datetime.combine(each.booked_at.date(), datetime.min.time(), UTC) + timedelta(days=1)
    known = max(each.decided_at, arrives)
    if updates:  # it comes with the day of the decision, when that is over
        known = datetime.combine(each.decided_at.date(), datetime.min.time(), UTC) + timedelta(days=1)
    return known if known <= arrives + timedelta(days=LONGEST) else None


def stored(spec: ModelSpec, moment: datetime) -> dict[str, bool]:
    """The labels that a run as of a moment has."""
    rows = tables.read(LABELS.of(spec.model, spec.label.name))
    assert rows is not None
    return {
        row["booking_id"]: bool(row["cancelled"])
        for row in rows.to_pylist()
        if row["known_at"] is not None and row["known_at"] <= moment
    }


def expected(moment: datetime, *, updates: bool) -> dict[str, bool]:
    found = {}
    for each in TRUTH:
        known = known_at(each, updates=updates)
        if known is not None and known <= moment:
            found[each.booking_id] = each.cancelled
    return found


def compute(spec: ModelSpec, day: int) -> None:
    writing.write(spec, rules.mature_label_spans(spec, as_of(day)))


@pytest.mark.parametrize("updates", [False, True], ids=["history", "updates"])
def test_exactly_what_is_known_by_a_moment_is_a_label_as_of_it(home: Settings, tmp_path: Path, updates: bool) -> None:
    spec = write(tmp_path / "hotel", split={"window": "40d", "evaluation": "4d", "minimum_rows": 20})
    for day in range(DAYS):
        publish(spec, TRUTH, updates=updates, days=[day])
        if day in (3, 10, 11, DAYS - 1):
            compute(spec, day)
            for moment in (as_of(2), as_of(day) - timedelta(hours=7), as_of(day)):
                assert stored(spec, moment) == expected(moment, updates=updates), (day, moment)
    rows = tables.read(LABELS.of(spec.model, spec.label.name))
    assert rows is not None and rows.num_rows == len(TRUTH), "what is open is a row too"
    outcomes = {row["booking_id"]: row for row in rows.to_pylist()}
    for each in TRUTH:
        row = outcomes[each.booking_id]
        assert (row["event_timestamp"], row["rooms"]) == (each.booked_at, each.rooms), "as it was asked"
        assert (row["cancelled"] is None) == (row["known_at"] is None)


def test_days_may_arrive_in_any_order_with_the_same_end(home: Settings, tmp_path: Path) -> None:
    ends = []
    for name, days in (("inorder", list(range(11))), ("shuffled", random.Random(5).sample(range(11), 11))):
        spec = write(tmp_path / name, split={"window": "40d", "evaluation": "4d", "minimum_rows": 20})
        for number, day in enumerate(days):
            publish(spec, TRUTH, updates=True, days=[day])
            if number % 4 == 3:
                compute(spec, 10)
        compute(spec, 10)
        rows = tables.read(LABELS.of(spec.model, spec.label.name))
        assert rows is not None
        ends.append(sorted(rows.drop_columns(["partition"]).to_pylist(), key=lambda row: row["booking_id"]))
        assert stored(spec, as_of(9)) == expected(as_of(9), updates=True)
        assert not writing.write(spec, rules.mature_label_spans(spec, as_of(10))), "nothing is left to do"
    assert ends[0] == ends[1]


def test_a_raw_file_is_read_once_for_all_the_partitions_that_look_at_it(
    home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = write(tmp_path / "hotel")
    publish(spec, TRUTH, updates=True, days=range(8))
    opened, reading = list[str](), tables._dataset

    def counted(*arguments: Any) -> Any:
        found = reading(*arguments)
        opened.extend(found.files)
        return found

    monkeypatch.setattr(tables, "_dataset", counted)
    written = writing.write(spec, rules.mature_label_spans(spec, as_of(7)))
    assert len(written) > 4, "each of which looks at all days since its own"
    assert len(opened) == len({*opened}) == 8


def test_an_update_of_a_decided_row_moves_no_label(home: Settings, tmp_path: Path) -> None:
    """A later batch says another outcome: what was learned as of the days between stays what it was."""
    spec = write(tmp_path / "hotel")
    publish(spec, TRUTH, updates=True, days=range(9))
    compute(spec, 8)
    before = stored(spec, as_of(8))
    changed = [
        Booking(**vars(each) | {"cancelled": not each.cancelled, "decided_at": interval(9).start + timedelta(hours=3)})
        for each in TRUTH
        if each.day < 7
    ]
    publish(spec, changed, updates=True, days=[9])
    compute(spec, 9)
    after = stored(spec, as_of(9))
    assert len(before) > 30 and {key: after[key] for key in before} == before


@pytest.mark.parametrize("updates", [False, True], ids=["history", "updates"])
def test_a_view_counts_an_outcome_only_from_when_it_was_known(home: Settings, tmp_path: Path, updates: bool) -> None:
    spec = write(tmp_path / "hotel")
    publish(spec, TRUTH, updates=updates)
    data = spec.own_data()
    for day in (4, 13, 16):
        span = next(
            each for each in rules.feature_spans(data, "guests", interval(day)) if each.interval.end == as_of(day)
        )
        for row in computing.features(data, "guests", span).to_pylist():
            seen = [each for each in TRUTH if each.guest == row["guest"] and span.start <= each.booked_at < span.end]
            known = [each for each in seen if each.decided_at < as_of(day)]
            assert row["booked"] == len(seen)
            assert (row["decided"], row["cancelled_before"]) == (len(known), sum(each.cancelled for each in known))
            assert row["newest"] == max((each.decided_at.timestamp() for each in known), default=None), (
                "its moment is no news either"
            )


PLANTED = {
    "open is no": "select booking_id, coalesce(cancelled, false) as cancelled, "
    "coalesce(decided_at, $horizon_end) as decided_at from bookings where booked_at < $cutoff",
    "known when it was asked for": "select booking_id, cancelled, booked_at as decided_at from bookings "
    "where booked_at < $cutoff and cancelled is not null",
    "known a day too soon": "select booking_id, cancelled, decided_at - interval 1 day as decided_at from bookings "
    "where booked_at < $cutoff and cancelled is not null",
    "a label without a moment": "select booking_id, coalesce(cancelled, true) as cancelled, decided_at from bookings "
    "where booked_at < $cutoff",
}


@pytest.mark.parametrize("planted", PLANTED)
def test_a_label_with_a_planted_leak_fails(home: Settings, tmp_path: Path, planted: str) -> None:
    spec = write(tmp_path / "hotel", label_sql=PLANTED[planted])
    publish(spec, TRUTH, updates=False)
    with pytest.raises(PermanentError) as refused:
        compute(spec, DAYS - 1)
    assert "label.sql" in str(refused.value) and (
        "still open" in str(refused.value) or "`decided_at`" in str(refused.value)
    )


def test_a_request_with_a_planted_leak_fails(tmp_path: Path) -> None:
    from evergreen.spec.load import load_spec

    for number, column in enumerate(("cancelled", "decided_at")):
        told = f"rooms + ({column} is null)::int as rooms"
        request = f"select booking_id, guest, booked_at as event_timestamp, {told} from bookings"
        spec = write(tmp_path / f"hotel{number}", request_sql=request)
        with pytest.raises(SpecError, match=column):
            load_spec(spec.folder, deep=True)


def test_the_moment_of_an_outcome_that_is_not_declared_is_refused(tmp_path: Path) -> None:
    """Else every view would see the outcome from the start, and all would be green."""
    with pytest.raises(SpecError, match=r"label\.known\.column") as refused:
        write(tmp_path / "hotel", source={"outcome": {}})
    assert "write outcome: {COLUMN: decided_at}" in str(refused.value)
    with pytest.raises(SpecError, match="when a prediction is asked for"):
        write(tmp_path / "other", **_label(column="booked_at"))


def test_a_delay_that_is_longer_than_the_wait_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"label\.known\.within") as refused:
        write(tmp_path / "hotel", **_label(within="2d"))
    assert "at least label.horizon (4d)" in str(refused.value)


@pytest.mark.parametrize(
    ("outcome", "columns", "expected"),
    [
        ({"cancelled": "decided"}, {}, "write decided_at"),
        ({"cancelled": "rooms"}, {}, "rooms, a int"),
        ({"cancelled": "booking_id"}, {}, "booking_id, a string"),
        ({"cancelled": "decided_at", "decided_at": "3d"}, {}, "leave decided_at out"),
        ({"cancelled": "two days"}, {}, "own moment"),
    ],
)
def test_what_is_no_moment_of_an_outcome_is_told(
    tmp_path: Path, outcome: dict[str, str], columns: dict[str, str], expected: str
) -> None:
    with pytest.raises(SpecError) as refused:
        write(tmp_path / "hotel", source={"outcome": outcome})
    assert expected in str(refused.value)


def _label(**known: Any) -> dict[str, Any]:
    stated = {"column": "decided_at", "within": "8d"} | known
    return {"label": {"name": "cancelled", "horizon": "4d", "known": stated, "sources": ["bookings"]}}


def test_a_date_is_known_when_its_day_is_over(home: Settings, tmp_path: Path) -> None:
    whole = {"window": "40d", "evaluation": "4d", "minimum_rows": 20}
    spec = write(tmp_path / "hotel", source={"columns": COLUMNS | DECIDED | {"decided_at": "date"}}, split=whole)
    publish(spec, TRUTH, updates=False, dated=True)
    compute(spec, DAYS - 1)
    # the same as where the decision arrives in that day's batch
    assert stored(spec, as_of(14)) == expected(as_of(14), updates=True)
    assert stored(spec, as_of(14) - timedelta(hours=1)) == expected(as_of(13), updates=True)


def test_an_interval_model_learns_what_is_known_by_then(home: Settings, tmp_path: Path) -> None:
    """Of a guest: does one of the day's bookings end as a cancellation? Known when all of them are decided."""
    spec = write_of_guests(tmp_path / "guests", BY_GUEST)
    publish(spec, TRUTH, updates=False)
    compute(spec, DAYS - 1)
    rows = tables.read(LABELS.of(spec.model, spec.label.name))
    assert rows is not None
    found = {(row["guest"], row["partition"]): row for row in rows.to_pylist()}
    of_day: dict[tuple[str, str], list[Booking]] = {}
    for each in TRUTH:
        of_day.setdefault((each.guest, interval(each.day).partition), []).append(each)
    known = 0
    for key, theirs in of_day.items():
        moments = [known_at(each, updates=False) for each in theirs]
        if all(moments):
            known += 1
            assert found[key]["known_at"] == max(moment for moment in moments if moment), key
            assert bool(found[key]["cancels"]) == any(each.cancelled for each in theirs)
        else:
            assert key not in found or found[key]["known_at"] is None, "open"
    assert 0 < known < len(of_day)


@pytest.mark.parametrize(
    "label",
    [
        BY_GUEST.replace("having count(cancelled) = count(*)", "having count(cancelled) > 0"),
        BY_GUEST.replace("max(decided_at)", "min(decided_at)"),
    ],
    ids=["some are open", "known with the first"],
)
def test_a_planted_leak_of_an_interval_model_fails(home: Settings, tmp_path: Path, label: str) -> None:
    spec = write_of_guests(tmp_path / "guests", label)
    publish(spec, TRUTH, updates=False)
    with pytest.raises(PermanentError) as refused:
        compute(spec, DAYS - 1)
    assert "still open" in str(refused.value) or "`decided_at`" in str(refused.value)
