"""Tells Airflow of the package's own reference for deadlines."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from evergreen.orchestration.deadlines import IntervalComplete


class EvergreenDeadlines(AirflowPlugin):
    """What the deadline of a run is read back with."""

    name = "evergreen_deadlines"
    deadline_references = [IntervalComplete]  # noqa: RUF012 - Airflow's own way
