"""When the loops of datasets and models run by themselves."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction
from airflow.timetables.interval import CronDataIntervalTimetable
from airflow.utils.types import DagRunType
from pendulum import DateTime, instance

from evergreen.calendar import UTC_DAYS, Calendar
from evergreen.spec.dataset import Dated

_NOT_ASKED = "0 0 * * *"  # Airflow's class wants a cron, also where the calendar answers in its place


class IntervalsUntil(CronDataIntervalTimetable, Dated):
    """The intervals of a calendar, or of a cron expression in its zone, none of which starts after the last day, where
    there is one; registered by plugins/timetables.py.

    The first scheduled run is of the newest interval: history is a backfill. From then on none is left out where
    `catch_up` says so. The DAG's own `catchup` would begin at its start date, and an unpaused DAG with years of it.

    The last day stands here in place of the DAG's `end_date`: the UI's form gives a run by hand the logical date of
    now, and Airflow makes no task for a run after the end date, which then is green at once.
    """

    def __init__(
        self, cron: str | None, last_day: date | None, *, calendar: Calendar = UTC_DAYS, catch_up: bool = False
    ) -> None:
        super().__init__(cron or _NOT_ASKED, timezone=calendar.zone)
        self.calendar = calendar
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
        """The next scheduled run; None after the last day."""
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
        scheduled run's and a backfill's does; else the last complete one."""
        if self._align_to_next(run_after) == run_after:
            return DataInterval(start=run_after, end=self._get_next(run_after))
        return super().infer_manual_data_interval(run_after=run_after)

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
            "last_day": self.last_day and self.last_day.isoformat(),
            "catch_up": self._catch_up,
            "every": self.calendar.every,
            "zone": self.calendar.zone,
        }

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> IntervalsUntil:
        """From what `serialize` returned; of a release before, without calendar or `catch_up`."""
        last_day = data["last_day"] and date.fromisoformat(data["last_day"])
        calendar = Calendar(data["every"], data["zone"]) if "every" in data else UTC_DAYS
        return cls(data["cron"], last_day, calendar=calendar, catch_up=data.get("catch_up", False))
