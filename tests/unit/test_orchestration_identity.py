"""One function tells the interval of scheduled, backfilled, manual and triggered runs."""

from __future__ import annotations

import pickle
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen.errors import RunError
from evergreen.interval import Interval
from evergreen.loops.wire import LoopName
from evergreen.orchestration import identity
from evergreen.orchestration.connections import connection_uri
from evergreen.run import Run
from evergreen.spec.dataset import DatasetSpec
from evergreen.spec.schedule import Schedule
from evergreen.spec.schema import ModelSpec

FIRST = date(2026, 1, 1)
DAILY = Schedule(train="0 0 * * *")
SPEC = ModelSpec.model_construct(model="probe", first_day=FIRST, last_day=date(2026, 3, 31), schedule=DAILY)
DAY = timedelta(days=1)


def run_of(spec: ModelSpec, context: dict[str, Any]) -> Run:
    """The run of the loop whose form has these params."""
    params = context["params"]
    loop: LoopName = "rollback" if "version" in params else "train" if "as_of" in params else "ingest"
    return identity.run_of(spec, loop, context)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def context(
    start: datetime | None = None,
    end: datetime | None = None,
    run_after: str = "2026-02-10T03:00",
    kind: str = "manual",
    logical_date: datetime | None = None,
    user: str | None = None,
    **params: Any,
) -> dict[str, Any]:
    run = SimpleNamespace(
        run_id="r1",
        run_type=kind,
        data_interval_start=start,
        data_interval_end=end,
        run_after=at(run_after),
        logical_date=logical_date or start,  # as Airflow makes it: no run has an interval and no date
        triggering_user_name=user,
    )
    return {"dag_run": run, "params": params}


@pytest.mark.parametrize(("user", "actor"), [(None, "run r1"), ("", "run r1"), ("ada", "ada, run r1")])
def test_who_did_it_is_whom_airflow_names_and_the_run(user: str | None, actor: str) -> None:
    assert run_of(SPEC, context(at("2026-01-05"), at("2026-01-06"), user=user)).actor == actor


KINDS = ["scheduled", "backfill", "manual"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_logical_date_means_the_interval_that_it_begins_for_every_kind_of_run(kind: str) -> None:
    run = run_of(SPEC, context(at("2026-01-05"), at("2026-01-06"), kind=kind, partition=None))
    assert (run.interval, run.interval.partition, run.as_of) == (
        Interval.of_day(date(2026, 1, 5)),
        "2026-01-05",
        at("2026-01-06"),
    )
    assert (run.reason, run.run_id) == (kind, "r1")


def test_a_manual_run_that_a_release_before_gave_the_data_interval_before_its_date() -> None:
    run = run_of(SPEC, context(at("2026-01-09"), at("2026-01-10"), logical_date=at("2026-01-10"), partition=None))
    assert run.interval.partition == "2026-01-10"


@pytest.mark.parametrize("loop", ["ingest", "train"])
@given(st.sampled_from(KINDS), st.datetimes(datetime(2026, 1, 1), datetime(2026, 2, 8)))
def test_a_logical_date_that_begins_no_interval_is_refused_with_the_two_nearest(
    loop: LoopName, kind: str, moment: datetime
) -> None:
    moment = moment.replace(tzinfo=UTC)
    day = Interval.of_day(moment.date())
    params = {"as_of": None} if loop == "train" else {"partition": None}
    given = context(kind=kind, logical_date=moment, **params)
    if moment == day.start:
        assert run_of(SPEC, given).interval == day
        return
    with pytest.raises(RunError, match="begins no interval") as raised:
        run_of(SPEC, given)
    assert day.partition in raised.value.expected
    assert (day.start + DAY).date().isoformat() in raised.value.expected


@pytest.mark.parametrize("loop", ["ingest", "train"])
@pytest.mark.parametrize(
    ("logical_date", "run_after", "partition"),
    [
        (None, "2026-02-10T03:00", "2026-02-09"),
        (None, "2026-02-10T00:00", "2026-02-09"),
        ("2026-02-10T03:00", "2026-02-10T03:00:02", "2026-02-09"),  # the form's own date
        ("2026-02-10T00:00", "2026-02-10T00:00:09", "2026-02-09"),  # at midnight
        ("2026-02-09T23:59", "2026-02-10T00:01", "2026-02-09"),  # a form that was open over midnight
        ("2026-02-10T03:04", "2026-02-10T03:00", "2026-02-09"),  # a browser whose clock is ahead
        ("2026-05-10T03:00", "2026-05-10T03:00", "2026-03-31"),  # the newest that the model has
    ],
)
def test_a_run_by_hand_without_a_date_works_on_the_newest_complete_interval_whatever_now_is(
    loop: LoopName, logical_date: str | None, run_after: str, partition: str
) -> None:
    moment = logical_date and at(logical_date)
    week = {"start": at("2026-02-02"), "end": at("2026-02-09")} if moment else {}  # what the timetable infers
    params = {"as_of": None} if loop == "train" else {"partition": None}
    run = run_of(SPEC, context(**week, run_after=run_after, logical_date=moment or None, **params))  # type: ignore[arg-type]
    assert run.interval.partition == partition


@pytest.mark.parametrize(("key", "value"), [("partition", "2026-01-05"), ("as_of", "2026-01-05T00:00:00Z")])
def test_a_backfill_that_names_an_interval_is_refused_with_the_reason(key: str, value: str) -> None:
    with pytest.raises(RunError, match="each of its runs to the same interval") as raised:
        run_of(SPEC, context(at("2026-01-07"), at("2026-01-08"), kind="backfill", **{key: value}))
    assert f"{key}='{value}'" in raised.value.found and f"without `{key}`" in raised.value.next_step
    assert "--reprocess-behavior failed --dag-run-conf '{}'" in raised.value.next_step, "else the runs keep it"


def test_a_run_that_an_asset_triggered_has_no_dates_of_its_own() -> None:
    run = run_of(SPEC, context(kind="asset_triggered", as_of=None))
    assert (run.interval, run.reason) == (Interval.of_day(date(2026, 2, 9)), "asset_triggered")


def test_a_run_asks_airflow_for_connections_and_stays_plain_data() -> None:
    run = run_of(SPEC, context())
    assert run.connections is connection_uri
    assert replace(pickle.loads(pickle.dumps(replace(run, spec=None))), spec=SPEC) == run  # type: ignore[arg-type]
    assert "connection" not in repr(run)


def test_the_partition_that_a_run_names_wins() -> None:
    run = run_of(SPEC, context(at("2026-01-05"), at("2026-01-06"), partition="2026-03-01"))
    assert run.interval == Interval.of_day(date(2026, 3, 1))


def test_a_triggered_training_carries_its_decision() -> None:
    params = {
        "as_of": "2026-02-20T00:00:00+00:00",
        "reason": "loss",
        "decision_id": "d1",
        "changed_at": "2026-02-03T00:00:00Z",
    }
    run = run_of(SPEC, context(**params))
    assert (run.as_of, run.reason, run.decision_id, run.changed_at) == (
        at("2026-02-20"),
        "loss",
        "d1",
        at("2026-02-03"),
    )


def test_a_weekly_training_knows_as_much_as_its_last_day_does() -> None:
    run = run_of(SPEC, context(at("2026-02-02T06:00"), at("2026-02-09T06:00"), kind="scheduled", as_of=None))
    assert run.as_of == at("2026-02-09T06:00")
    assert run.interval.end - run.interval.start == DAY


def test_a_training_by_hand_knows_all_complete_days_and_not_only_the_last_week_of_the_schedule() -> None:
    week = at("2026-02-02"), at("2026-02-09")  # what the timetable infers for a run by hand on the Thursday after
    run = run_of(SPEC, context(*week, run_after="2026-02-12T15:31", logical_date=at("2026-02-12T15:30"), as_of=None))
    assert run.as_of == at("2026-02-12")


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_of_a_week_means_the_week_for_every_kind_of_run(kind: str) -> None:
    run = run_of(SPEC, context(at("2026-01-05"), at("2026-01-12"), kind=kind, as_of=None))
    assert run.as_of == at("2026-01-12")


def test_a_training_after_the_last_day_of_data_knows_all_of_it() -> None:
    assert run_of(SPEC, context(run_after="2027-01-01T00:00", as_of=None)).as_of == at("2026-04-01")


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"partition": "2026-04-01"}, "2026-04-01"),
        ({"partition": "2025-12-31"}, "2025-12-31"),
        ({"partition": "yesterday"}, "partition='yesterday'"),
        ({"as_of": "noon"}, "as_of='noon'"),
        ({"as_of": None, "changed_at": "once"}, "changed_at='once'"),
    ],
)
def test_what_cannot_be_identified_says_what_was_found(params: dict[str, Any], reason: str) -> None:
    with pytest.raises(RunError, match=reason) as raised:
        run_of(SPEC, context(**params))
    assert "trigger the run again" in raised.value.next_step


@pytest.mark.parametrize("name", ["partition", "as_of"])
def test_a_day_that_has_not_ended_is_refused(name: str) -> None:
    unbounded = ModelSpec.model_construct(model="probe", first_day=date(2026, 1, 1), last_day=None, schedule=DAILY)
    today = datetime.now(UTC).date()
    last = today - DAY if name == "partition" else today
    assert run_of(unbounded, context(**{name: last.isoformat()})).interval == Interval.of_day(today - DAY)
    with pytest.raises(RunError, match="has ended"):
        run_of(unbounded, context(**{name: (last + 2 * DAY).isoformat()}))


def test_nothing_is_newer_than_the_last_day_of_data() -> None:
    now = at("2026-02-10T00:00")
    for last_day, newest in ((None, 9), (date(2026, 2, 10), 9), (date(2026, 2, 9), 9), (date(2026, 2, 7), 7)):
        spec = ModelSpec.model_construct(first_day=FIRST, last_day=last_day)
        assert spec.newest_complete(now) == Interval.of_day(date(2026, 2, newest))


@given(st.dates(date(2026, 1, 2), date(2026, 3, 31)), st.integers(-12, 12))
def test_the_partition_is_the_utc_date_of_the_start_in_any_zone(day: date, hours: int) -> None:
    from datetime import timezone

    start = datetime(day.year, day.month, day.day, tzinfo=UTC).astimezone(timezone(timedelta(hours=hours)))
    run = run_of(SPEC, context(start, start + DAY))
    assert run.interval.partition == day.isoformat()


@pytest.mark.parametrize("name", ["partition", "as_of"])
@pytest.mark.parametrize(
    "text", ["0001-01-01", "1899-12-31", "2200-01-02", "9999-12-31", "10000-01-01", "2026-02-30", "\x1b[2J", 20260131]
)
def test_a_day_beyond_the_calendar_is_refused_in_words(name: str, text: Any) -> None:
    with pytest.raises(RunError) as caught:
        run_of(SPEC, context(**{name: text}))
    assert caught.value.found.startswith(f"{name}=") and "\x1b" not in str(caught.value)
    assert "from 1900-01-01 to 2199-12-31" in caught.value.expected or "a moment as" in caught.value.expected


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"])
def test_a_moment_that_utc_does_not_have_is_refused_in_words(moment: str) -> None:
    for name in ("as_of", "changed_at"):
        with pytest.raises(RunError, match="a moment as 2026-01-31T00:00:00Z"):
            run_of(SPEC, context(**{name: moment}))


def test_a_run_whose_own_date_has_no_day_before_it_is_refused() -> None:
    for after in ("0001-01-01T00:00", "9999-12-31T23:00"):
        with pytest.raises(RunError):
            run_of(SPEC, context(run_after=after))


def test_a_correction_is_of_the_day_that_its_form_names_and_says_why_unless_it_is_dry() -> None:
    spec = DatasetSpec.model_construct(dataset="probe", first_day=date(2026, 1, 1), last_day=date(2026, 3, 31))
    form = {"partition": "2026-01-05", "reason": None, "dry_run": True}
    dry = identity.run_of(spec, "correct", context(user="ada", **form))
    assert (dry.interval.partition, dry.dry_run) == ("2026-01-05", True)
    with pytest.raises(RunError, match="a correction without a reason"):
        identity.run_of(spec, "correct", context(**form | {"dry_run": False, "reason": " "}))
    wet = identity.run_of(spec, "correct", context(**form | {"dry_run": False, "reason": "sent again"}))
    assert (wet.dry_run, wet.reason) == (False, "sent again")
    with pytest.raises(RunError, match="from 2026-01-01 to 2026-03-31"):
        identity.run_of(spec, "correct", context(**form | {"partition": "2026-04-01"}))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"partiton": "2026-01-05"}, "write partition"),
        ({"partition": None, "Reason": "x", "day": "2026-01-05"}, "leave Reason out"),
    ],
)
def test_a_key_that_no_form_has_is_refused(given: dict[str, Any], told: str) -> None:
    run = context(**given)["dag_run"]
    with pytest.raises(RunError, match=told) as refused:
        identity.check_params("churn", run, given, ("partition", "dry_run"))
    assert next(iter(set(given) - {"partition"})) in refused.value.found
    identity.check_params("churn", run, ("partition",), ("partition", "dry_run"))
