"""The loops of a dataset whose intervals are no days in UTC, as Airflow stores and schedules them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, get_args

import pendulum
import pytest

from evergreen.calendar import Calendar, Length
from evergreen.errors import RunError
from evergreen.interval import Interval
from evergreen.loops.wiring import LOOPS
from evergreen.settings import PROJECT
from evergreen.spec.load import load_spec
from evergreen.spec.schema import ModelSpec

if TYPE_CHECKING:
    from airflow.sdk import DAG

METERS = load_spec(PROJECT / "tests" / "specs" / "valid" / "meters")
BERLIN = METERS.calendar
NIGHT = BERLIN.between(BERLIN.first_of(date(2026, 10, 25)), BERLIN.last_of(date(2026, 10, 25)))


@pytest.fixture(scope="module")
def stored() -> dict[str, Any]:
    """The DAGs of the model of hours, as the scheduler reads them back."""
    from airflow.serialization.serialized_objects import DagSerialization

    from evergreen.orchestration.airflow import loop

    def built(name: Any) -> DAG:
        return loop(METERS.own_data() if LOOPS[name].of == "dataset" else METERS, LOOPS[name])

    return {name: DagSerialization.from_dict(DagSerialization.to_dict(built(name))) for name in LOOPS}


@pytest.mark.parametrize("loop", ["ingest", "monitor"])
def test_each_hour_of_the_night_in_which_the_clock_is_put_back_has_a_run(stored: dict[str, Any], loop: str) -> None:
    from airflow.utils.types import DagRunType

    dag = stored[loop]
    first, last = (pendulum.instance(each.start) for each in (NIGHT[0], NIGHT[-1]))
    planned = list(dag.iter_dagrun_infos_between(first, last))  # as a backfill does
    assert [Interval(each.data_interval.start, each.data_interval.end) for each in planned] == NIGHT
    ids = [
        dag.timetable.generate_run_id(
            run_type=DagRunType.SCHEDULED, run_after=each.run_after, data_interval=each.data_interval
        )
        for each in planned
    ]
    assert len(set(ids)) == 25 and ids == sorted(ids) and ids[0] == "scheduled__2026-10-24T2200Z"
    assert dag.timetable.summary == "every hour (Europe/Berlin)"


@pytest.mark.parametrize("loop", list(LOOPS))
def test_the_first_day_is_kept_by_the_timetable_alone(stored: dict[str, Any], loop: str) -> None:
    """Airflow makes no task for a run by hand before the start date of the DAG: it was green, and nobody was told."""
    dag = stored[loop]
    assert (dag.start_date, *(task.start_date for task in dag.tasks)) == (None,) * (1 + len(dag.tasks))
    assert dag.timetable.first_interval == METERS.first_interval


def test_nothing_is_scheduled_before_the_first_day() -> None:
    from airflow.timetables.base import TimeRestriction

    from evergreen.orchestration.timetable import IntervalsUntil

    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    for made in (IntervalsUntil(None, None, first_day=tomorrow), IntervalsUntil("0 0 * * 1", None, first_day=tomorrow)):
        timetable = IntervalsUntil.deserialize(made.serialize())
        restriction = TimeRestriction(earliest=None, latest=None, catchup=False)
        info = timetable.next_dagrun_info(last_automated_data_interval=None, restriction=restriction)
        assert info.data_interval.start >= timetable.first_interval.start


@pytest.mark.parametrize("loop", list(LOOPS))
def test_the_form_refuses_a_date_that_has_not_come(stored: dict[str, Any], loop: str) -> None:
    """Airflow would start no task of the run until then, and none of the runs after it meanwhile."""
    now = pendulum.now("UTC")
    with pytest.raises(ValueError, match="has not come yet"):
        stored[loop].timetable.infer_manual_data_interval(run_after=now.add(hours=1))
    stored[loop].timetable.infer_manual_data_interval(run_after=now.add(minutes=2))  # a browser whose clock is ahead


def test_a_run_whose_date_has_not_come_ends_with_the_reason_where_no_form_was_asked(stored: dict[str, Any]) -> None:
    from airflow.models.dagrun import DagRun
    from airflow.utils.state import DagRunState
    from airflow.utils.types import DagRunType

    from evergreen.orchestration import note

    for loop in LOOPS:
        then = pendulum.now("UTC").add(days=7)
        # As Airflow's command makes it: its data interval is of now.
        run = DagRun(
            dag_id=f"meters__{loop}",
            run_id="r1",
            run_type=DagRunType.MANUAL,
            logical_date=then,
            data_interval=(NIGHT[0].start, NIGHT[0].end),
            run_after=pendulum.now("UTC"),
            state=DagRunState.RUNNING,
        )
        run.dag = stored[loop]
        note.on_dag_run_running(run, "started")
        assert run.state == DagRunState.FAILED and run.end_date is not None
        assert run.note is not None and run.note.startswith("Refused: logical date") and "has not come yet" in run.note


@pytest.mark.parametrize(
    ("interval", "as_of"),
    [
        pytest.param((datetime(2026, 1, 5), datetime(2026, 1, 12)), datetime(2026, 1, 12), id="REST"),
        pytest.param((datetime(2026, 2, 2), datetime(2026, 2, 9)), datetime(2026, 1, 12), id="Airflow's command"),
    ],
)
def test_a_training_by_hand_with_the_date_of_a_week_means_that_week_however_it_was_made(
    interval: tuple[datetime, datetime], as_of: datetime
) -> None:
    """Airflow's command infers the data interval from the moment when it is given."""
    from evergreen.orchestration import note
    from evergreen.orchestration.identity import run_of

    start, end = (each.replace(tzinfo=UTC) for each in interval)
    run = _run("manual", datetime(2026, 1, 5, tzinfo=UTC), end, _weekly("0 0 * * 1"), datetime(2026, 2, 12, tzinfo=UTC))
    run.data_interval_start = start
    identified = run_of(_weekly_spec("0 0 * * 1"), "train", {"dag_run": run, "params": {}})
    assert identified.as_of == as_of.replace(tzinfo=UTC)
    assert note.of(run) == f"as of {as_of:%Y-%m-%dT%H:%MZ}"


def test_a_training_that_nobody_schedules_works_on_the_interval_that_its_date_begins() -> None:
    """Airflow gives a run of a DAG without a schedule a data interval that ends where it begins."""
    from evergreen.orchestration import note
    from evergreen.orchestration.identity import run_of

    spec, day = _weekly_spec(None), datetime(2026, 1, 7, tzinfo=UTC)
    run = _run("manual", day, day, _weekly(None), datetime(2026, 2, 12, tzinfo=UTC))
    assert run_of(spec, "train", {"dag_run": run, "params": {}}).interval.partition == "2026-01-07"
    assert note.of(run) == "as of 2026-01-08T00:00Z"
    between = _run("manual", day.replace(hour=7), day.replace(hour=7), _weekly(None), run.run_after)
    with pytest.raises(RunError, match="begins no interval"):
        run_of(spec, "train", {"dag_run": between, "params": {}})


@pytest.mark.parametrize("kind", ["scheduled", "backfill", "manual"])
def test_a_logical_date_means_the_hour_that_it_begins(stored: dict[str, Any], kind: str) -> None:
    from evergreen.orchestration import note
    from evergreen.orchestration.identity import run_of

    for hour in NIGHT[1:5]:
        start = pendulum.instance(hour.start)
        begun = stored["ingest"].timetable.infer_manual_data_interval(run_after=start)
        assert (begun.start, begun.end) == (hour.start, hour.end)
        run = _run(kind, hour.start, hour.end, stored["ingest"])
        identified = run_of(METERS.own_data(), "ingest", {"dag_run": run, "params": {}})
        assert (identified.interval, identified.interval.partition) == (hour, hour.partition)
        assert note.of(run) == f"{hour.partition} ({hour})"
    wrong = _run(kind, NIGHT[2].start + timedelta(minutes=30), NIGHT[2].end, stored["ingest"])
    with pytest.raises(RunError, match="begins no interval") as caught:
        run_of(METERS.own_data(), "ingest", {"dag_run": wrong, "params": {}})
    assert NIGHT[2].partition in caught.value.expected and NIGHT[3].partition in caught.value.expected


def test_a_run_by_hand_names_an_hour_or_takes_the_newest_complete_one(stored: dict[str, Any]) -> None:
    from evergreen.orchestration.identity import run_of

    now = NIGHT[3].start + timedelta(minutes=7)
    by_hand = _run("manual", None, None, stored["ingest"], now)
    identified = run_of(METERS.own_data(), "ingest", {"dag_run": by_hand, "params": {}})
    assert identified.interval == NIGHT[2]
    named = {"dag_run": by_hand, "params": {"partition": NIGHT[1].partition}}
    assert run_of(METERS.own_data(), "ingest", named).interval == NIGHT[1]
    for wrong in ("2026-10-25", "2026-10-25T0030Z"):
        with pytest.raises(RunError, match="an hour"):
            run_of(METERS.own_data(), "ingest", {"dag_run": by_hand, "params": {"partition": wrong}})
    field = stored["ingest"].params.get_param("partition")
    assert "format" not in field.schema and "2026-01-31T1400Z" in field.description


def test_a_training_is_scheduled_by_the_clock_of_the_zone_and_knows_the_hours_before(stored: dict[str, Any]) -> None:
    from evergreen.orchestration import note

    first = pendulum.datetime(2026, 10, 23)
    planned = [each.data_interval for each in stored["train"].iter_dagrun_infos_between(first, first.add(days=4))]
    ends = [each.end.in_timezone("Europe/Berlin").strftime("%d %H:%M") for each in planned]
    assert ends[:4] == ["24 06:00", "25 06:00", "26 06:00", "27 06:00"]
    long = planned[1]
    assert (long.end - long.start).total_seconds() == 25 * 3600
    run = _run("scheduled", long.start, long.end, stored["train"])
    assert note.of(run) == "as of 2026-10-25T05:00Z"


def test_a_run_of_an_hour_is_late_until_the_next_one_is_over() -> None:
    from evergreen.orchestration.deadlines import IntervalComplete

    reference = IntervalComplete.deserialize_reference(
        IntervalComplete(timedelta(minutes=5), BERLIN).serialize_reference()
    )
    hour = NIGHT[2]
    at = hour.end + timedelta(seconds=20)
    assert reference.begins("scheduled", hour.start, hour.end, at) == hour.end + timedelta(minutes=5)
    assert reference.begins("scheduled", hour.start, hour.end, hour.end + timedelta(hours=1)) is None
    spring = Calendar("day", "Europe/Berlin").at("2026-03-28")  # the day after it has 23 hours
    days = IntervalComplete(calendar=Calendar("day", "Europe/Berlin"))
    assert days.begins("scheduled", spring.start, spring.end, spring.end + timedelta(hours=23)) is None


@pytest.mark.parametrize("every", get_args(Length))
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Sao_Paulo"])
def test_what_is_caught_up_is_the_calendar_without_a_gap(every: Length, zone: str) -> None:
    """Through a year's changes of the clock, also once Airflow has stored the timetable."""
    from airflow.timetables.base import DataInterval, TimeRestriction

    from evergreen.orchestration.timetable import IntervalsUntil

    calendar = Calendar(every, zone)
    made = IntervalsUntil(None, date(2018, 11, 30), calendar=calendar, catch_up=True)
    timetable = IntervalsUntil.deserialize(made.serialize())
    assert timetable.serialize() == made.serialize()
    before = calendar.first_of(date(2018, 9, 20))
    last = DataInterval(pendulum.instance(before.start), pendulum.instance(before.end))
    restriction = TimeRestriction(earliest=pendulum.datetime(2018, 1, 1), latest=None, catchup=False)
    made_up = []
    while info := timetable.next_dagrun_info(last_automated_data_interval=last, restriction=restriction):
        last = info.data_interval
        made_up.append(Interval(last.start, last.end))
        assert info.run_after == last.end and info.logical_date == last.start
    assert made_up == calendar.between(calendar.after(before), calendar.last_of(date(2018, 11, 30)))


def _weekly_spec(cron: str | None) -> ModelSpec:
    """A model of days in UTC, whose trainings are scheduled so."""
    spec = load_spec(PROJECT / "tests" / "specs" / "valid" / "parcels")
    return spec.model_copy(update={"schedule": spec.schedule.model_copy(update={"train": cron})})


def _weekly(cron: str | None) -> Any:
    from airflow.serialization.serialized_objects import DagSerialization

    from evergreen.orchestration.airflow import loop

    return DagSerialization.from_dict(DagSerialization.to_dict(loop(_weekly_spec(cron), LOOPS["train"])))


def _run(kind: str, start: datetime | None, end: datetime | None, dag: Any, after: datetime | None = None) -> Any:
    return SimpleNamespace(
        run_id="r1",
        run_type=kind,
        dag=dag,
        dag_id=dag.dag_id,
        conf=None,
        data_interval_start=start,
        data_interval_end=end,
        logical_date=start,
        run_after=after or NIGHT[-1].end + timedelta(hours=9),
        triggering_user_name=None,
    )
