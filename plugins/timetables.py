"""Tells Airflow of the package's own timetables."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from evergreen.orchestration.timetable import ByHand, IntervalsUntil


class EvergreenTimetables(AirflowPlugin):
    """What a stored DAG's schedule is read back with."""

    name = "evergreen_timetables"
    timetables = [IntervalsUntil, ByHand]  # noqa: RUF012 - Airflow's own way
