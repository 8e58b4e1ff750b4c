"""When the loops of datasets and models run by themselves."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction
from airflow.timetables.interval import CronDataIntervalTimetable
from airflow.timetables.simple import NullTimetable
from airflow.utils.types import DagRunType
from pendulum import DateTime, instance

from evergreen.calendar import UTC_DAYS, Calendar
from evergreen.interval import FIRST_DAY, in_utc
from evergreen.loops.wire import BY_HAND, LoopName
from evergreen.spec.dataset import DatasetSpec, Dated
from evergreen.spec.rollout import DirectRollout
from evergreen.spec.schema import ModelSpec

_AHEAD = timedelta(minutes=5)  # a browser's clock, at most: its form fills in a logical date
_LOOKING = "*/15 * * * *"  # at rollouts; a run ends at its first task while none is open
_NOT_ASKED = "0 0 * * *"  # Airflow's class wants a cron, also where the calendar answers in its place


class IntervalsUntil(CronDataIntervalTimetable, Dated):
    """The intervals of a calendar, or of a cron expression in its zone, none of which starts after the last day, where
    there is one; registered by plugins/timetables.py.

    The first scheduled run is of the newest interval: history is a backfill. From then on none is left out where
    `catch_up` says so. The DAG's own `catchup` would begin at its start date, and an unpaused DAG with years of it.

    The first and the last day stand here in place of the DAG's `start_date` and `end_date`: Airflow makes no task for a
    run by hand whose logical date lies before the one or after the other, and such a run is green at once.
    """

    def __init__(
        self,
        cron: str | None,
        last_day: date | None,
        *,
        first_day: date = FIRST_DAY,
        calendar: Calendar = UTC_DAYS,
        catch_up: bool = False,
    ) -> None:
        super().__init__(cron or _NOT_ASKED, timezone=calendar.zone)
        self.calendar = calendar
        self.first_day = first_day
        self.last_day = last_day
        self._cron = cron
        self._catch_up = catch_up
        if cron is None:
            self.description = f"Every {calendar.every} ({calendar.zone})"

    @property
    def summary(self) -> str:
        """What the UI shows as the schedule."""
        return f"{self._cron or 'every ' + self.calendar.every} ({self.calendar.zone})"

    def _get_next(self, current: DateTime) -> DateTime:
        if self._cron is not None:
            by_cron: DateTime = super()._get_next(current)
            return by_cron
        return instance(self.calendar.interval_of(current).end)

    def _get_prev(self, current: DateTime) -> DateTime:
        if self._cron is not None:
            by_cron: DateTime = super()._get_prev(current)
            return by_cron
        return instance(self.calendar.interval_of(current - datetime.resolution).start)

    def _align_to_next(self, current: DateTime) -> DateTime:
        if self._cron is not None:
            by_cron: DateTime = super()._align_to_next(current)
            return by_cron
        interval = self.calendar.interval_of(current)
        return instance(interval.start if interval.start == current else interval.end)

    def _align_to_prev(self, current: DateTime) -> DateTime:
        if self._cron is not None:
            by_cron: DateTime = super()._align_to_prev(current)
            return by_cron
        return instance(self.calendar.interval_of(current).start)

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        """The next scheduled run, none before the first day; None after the last day."""
        if restriction.earliest is None:  # of a backfill it is its own; the first task refuses what is before all data
            restriction = restriction._replace(earliest=instance(self.first_interval.start))
        if self.last_interval is not None:
            last = instance(self.last_interval.end - datetime.resolution)
            latest = last if restriction.latest is None else min(last, restriction.latest)
            restriction = restriction._replace(latest=latest)
        if self._catch_up and last_automated_data_interval is not None:
            restriction = restriction._replace(catchup=True)
        return super().next_dagrun_info(
            last_automated_data_interval=last_automated_data_interval, restriction=restriction
        )

    def infer_manual_data_interval(self, *, run_after: DateTime) -> DataInterval:
        """Of a run by hand with this logical date: the interval that begins with it, as a
        scheduled run's and a backfill's does; else the last complete one.

        Raises:
            ValueError: the date has not come yet; the form shows why.
        """
        check_come(run_after)
        end = self.end_of_stretch(run_after)
        return super().infer_manual_data_interval(run_after=run_after) if end is None else DataInterval(run_after, end)

    def end_of_stretch(self, start: datetime) -> DateTime | None:
        """When what the schedule begins at a moment is over, such as a week; None: it begins nothing then."""
        moment = instance(start)
        return self._get_next(moment) if self._align_to_next(moment) == moment else None

    def generate_run_id(
        self, *, run_type: DagRunType, run_after: DateTime, data_interval: DataInterval | None, **extra: Any
    ) -> str:
        """The id of a scheduled run names its interval. One by hand may name another in its params,
        and a backfill's id Airflow makes without asking: theirs have the moment after which they run."""
        if run_type == DagRunType.SCHEDULED and data_interval is not None:
            run_id: str = run_type.generate_run_id(suffix=f"{data_interval.start:%Y-%m-%dT%H%MZ}")
        else:
            run_id = super().generate_run_id(
                run_type=run_type, run_after=run_after, data_interval=data_interval, **extra
            )
        return run_id

    def serialize(self) -> dict[str, Any]:
        """Its arguments, as Airflow stores them with the DAG."""
        return {
            "cron": self._cron,
            "catch_up": self._catch_up,
            **_dates(self),
        }

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> IntervalsUntil:
        """From what `serialize` returned; of a release before, without a first day, calendar or `catch_up`."""
        first_day, last_day, calendar = _dated(data)
        catch_up = data.get("catch_up", False)
        return cls(data["cron"], last_day, first_day=first_day, calendar=calendar, catch_up=catch_up)


class ByHand(NullTimetable, Dated):
    """Nothing is scheduled; what has data says which interval a run by hand works on. Registered as the other one."""

    def __init__(self, last_day: date | None, *, first_day: date = FIRST_DAY, calendar: Calendar = UTC_DAYS) -> None:
        self.calendar = calendar
        self.first_day = first_day
        self.last_day = last_day

    def infer_manual_data_interval(self, *, run_after: DateTime) -> DataInterval:
        """A run by hand has no interval but its logical date.

        Raises:
            ValueError: the date has not come yet; the form shows why.
        """
        check_come(run_after)
        return super().infer_manual_data_interval(run_after=run_after)

    def serialize(self) -> dict[str, Any]:
        """Its arguments, as Airflow stores them with the DAG."""
        return _dates(self)

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> ByHand:
        """From what `serialize` returned."""
        first_day, last_day, calendar = _dated(data)
        return cls(last_day, first_day=first_day, calendar=calendar)


def of(spec: DatasetSpec | ModelSpec, loop: LoopName) -> IntervalsUntil | ByHand:
    """When a loop runs by itself, and which intervals its runs by hand are of."""
    dates: dict[str, Any] = {"first_day": spec.first_day, "last_day": spec.last_day, "calendar": spec.calendar}
    if loop == "train" and isinstance(spec, ModelSpec):
        # It knows the data of all intervals before it: of those that were missed, the newest is enough.
        cron = spec.schedule.train
        return ByHand(**dates) if cron is None else IntervalsUntil(cron, **dates)
    if loop == "rollout" and isinstance(spec, ModelSpec):
        # Of the looks that were missed, the newest knows all that they would have.
        return ByHand(**dates) if isinstance(spec.rollout, DirectRollout) else IntervalsUntil(_LOOKING, **dates)
    return ByHand(**dates) if loop in BY_HAND else IntervalsUntil(None, **dates, catch_up=spec.schedule.catch_up)


def check_come(logical_date: datetime) -> None:
    """Raises `ValueError` when a logical date has not come: Airflow starts no task of such a run until then, and for as
    long it keeps those after it from running."""
    if logical_date > datetime.now(UTC) + _AHEAD:
        raise ValueError(
            f"logical date {in_utc(logical_date):%Y-%m-%dT%H:%M:%SZ} has not come yet, and runs work on what is over: "
            "leave it empty, for the newest complete interval, or name the start of one that is over"
        )


def _dates(dated: Dated) -> dict[str, Any]:
    return {
        "first_day": dated.first_day.isoformat(),
        "last_day": dated.last_day and dated.last_day.isoformat(),
        "every": dated.calendar.every,
        "zone": dated.calendar.zone,
    }


def _dated(data: dict[str, Any]) -> tuple[date, date | None, Calendar]:
    last_day = data["last_day"] and date.fromisoformat(data["last_day"])
    calendar = Calendar(data["every"], data["zone"]) if "every" in data else UTC_DAYS
    return date.fromisoformat(data.get("first_day", FIRST_DAY.isoformat())), last_day, calendar
