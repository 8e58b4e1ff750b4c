"""The loops of a dataset whose intervals are no days in UTC, as Airflow stores and schedules them."""

from __future__ import annotations

from datetime import date, datetime, timedelta
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
    assert dag.timetable.summary == "every hour (Europe/Berlin)" and dag.start_date == NIGHT[0].start


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
