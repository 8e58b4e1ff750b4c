"""When the loops of a model run by themselves."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction
from airflow.timetables.interval import CronDataIntervalTimetable
from pendulum import instance


class IntervalsUntil(CronDataIntervalTimetable):
    """The intervals of a cron expression in UTC, none of which starts after a day; registered by plugins/timetables.py.

    In place of the DAG's `end_date`: the UI's form gives a run by hand the logical date of now, and Airflow makes no
    task for a run after the end date, which then is green at once.
    """

    def __init__(self, cron: str, last_day: date) -> None:
        super().__init__(cron, timezone="UTC")
        self._last_day = last_day

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        """The next scheduled run; None after the last day."""
        last = instance(datetime.combine(self._last_day, datetime.max.time(), UTC))
        latest = last if restriction.latest is None else min(last, restriction.latest)
        return super().next_dagrun_info(
            last_automated_data_interval=last_automated_data_interval, restriction=restriction._replace(latest=latest)
        )

    def serialize(self) -> dict[str, Any]:
        """Its arguments, as Airflow stores them with the DAG."""
        return {"cron": self._expression, "last_day": self._last_day.isoformat()}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> IntervalsUntil:
        """From what `serialize` returned."""
        return cls(data["cron"], date.fromisoformat(data["last_day"]))
