"""When the loops of a model run by themselves."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction
from airflow.timetables.interval import CronDataIntervalTimetable
from airflow.utils.types import DagRunType
from pendulum import DateTime, instance


class IntervalsUntil(CronDataIntervalTimetable):
    """The intervals of a cron expression in UTC, none of which starts after the last day, where there is one;
    registered by plugins/timetables.py.

    The first scheduled run is of the newest interval: history is a backfill. From then on none is left out where
    `catch_up` says so. The DAG's own `catchup` would begin at its start date, and an unpaused DAG with years of it.

    The last day stands here in place of the DAG's `end_date`: the UI's form gives a run by hand the logical date of
    now, and Airflow makes no task for a run after the end date, which then is green at once.
    """

    def __init__(self, cron: str, last_day: date | None, *, catch_up: bool = False) -> None:
        super().__init__(cron, timezone="UTC")
        self.last_day = last_day
        self._catch_up = catch_up

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        """The next scheduled run; None after the last day."""
        if self.last_day is not None:
            last = instance(datetime.combine(self.last_day, datetime.max.time(), UTC))
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
            "cron": self._expression,
            "last_day": self.last_day and self.last_day.isoformat(),
            "catch_up": self._catch_up,
        }

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> IntervalsUntil:
        """From what `serialize` returned; of the release before, without `catch_up`."""
        last_day = data["last_day"] and date.fromisoformat(data["last_day"])
        return cls(data["cron"], last_day, catch_up=data.get("catch_up", False))
