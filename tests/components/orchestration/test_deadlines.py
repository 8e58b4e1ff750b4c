"""When a run is late and which intervals get one: what Airflow asks of us, without its database."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pendulum
import pytest
from airflow.timetables.base import DataInterval, TimeRestriction
from airflow.timetables.interval import CronDataIntervalTimetable

from evergreen.orchestration.deadlines import IntervalComplete, of_late
from evergreen.orchestration.timetable import IntervalsUntil
from evergreen.settings import PROJECT
from evergreen.spec.load import load_spec

START, END = datetime(2026, 1, 5, tzinfo=UTC), datetime(2026, 1, 6, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("kind", "made", "begins"),
    [
        ("scheduled", END + timedelta(seconds=3), END + 2 * HOUR),  # when its last batch is complete
        ("scheduled", END + 9 * HOUR, END + 9 * HOUR),  # after an outage, a run has its own time
        ("scheduled", END + 24 * HOUR, None),  # it is caught up
        ("backfill", END + timedelta(seconds=3), None),
        ("manual", END + timedelta(seconds=3), None),
        ("asset_triggered", END + timedelta(seconds=3), None),
    ],
)
def test_only_a_scheduled_run_of_the_newest_interval_has_a_deadline(
    kind: str, made: datetime, begins: datetime | None
) -> None:
    assert IntervalComplete(2 * HOUR).begins(kind, START, END, made) == begins


def test_what_airflow_stores_of_the_reference_is_the_reference() -> None:
    reference = IntervalComplete(2 * HOUR)
    stored = reference.serialize_reference()
    assert IntervalComplete.deserialize_reference(stored) == reference
    assert IntervalComplete(3 * HOUR) != reference


def test_every_loop_with_a_schedule_has_one_alert() -> None:
    spec = load_spec(PROJECT / "include" / "models" / "churn")
    alerts = {loop: of_late(spec, loop) for loop in ("ingest", "train", "monitor", "rollback")}
    assert {loop: alert and alert.interval for loop, alert in alerts.items()} == {
        "ingest": 3 * HOUR,
        "train": 12 * HOUR,
        "monitor": 4 * HOUR,
        "rollback": None,
    }


def day(number: int) -> pendulum.DateTime:
    return pendulum.datetime(2026, 1, number)


def starts(timetable: IntervalsUntil, last_run: int | None, now: pendulum.DateTime) -> list[int]:
    """The days of the runs that the scheduler makes until now, one after the other."""
    before = None if last_run is None else DataInterval(day(last_run), day(last_run + 1))
    restriction, made = TimeRestriction(earliest=day(1), latest=None, catchup=False), []
    while (
        info := timetable.next_dagrun_info(last_automated_data_interval=before, restriction=restriction)
    ) is not None:
        if info.run_after > now:
            break
        before = info.data_interval
        made.append(before.start.day)
    return made


@pytest.mark.parametrize(
    ("catch_up", "last_run", "last_day", "expected"),
    [
        (True, 5, None, [6, 7, 8, 9]),  # what went by since the last run, oldest first
        (False, 5, None, [9]),
        (True, None, None, [9]),  # history is a backfill
        (True, 5, 7, [6, 7]),
        (True, 9, None, []),
    ],
)
def test_what_went_by_since_the_last_run_is_caught_up_unless_the_key_says_no(
    monkeypatch: pytest.MonkeyPatch, catch_up: bool, last_run: int | None, last_day: int | None, expected: list[int]
) -> None:
    now = day(10).add(hours=7)
    monkeypatch.setattr("airflow.timetables.interval.utcnow", lambda: now)
    until = None if last_day is None else date(2026, 1, last_day)
    timetable = IntervalsUntil("0 0 * * *", until, catch_up=catch_up)
    assert starts(timetable, last_run, now) == expected
    assert starts(IntervalsUntil.deserialize(timetable.serialize()), last_run, now) == expected


def test_a_schedule_that_the_release_before_stored_is_read() -> None:
    timetable = IntervalsUntil.deserialize({"cron": "0 0 * * *", "last_day": "2026-01-07"})
    assert isinstance(timetable, CronDataIntervalTimetable) and timetable.serialize()["catch_up"] is False
