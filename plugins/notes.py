"""Each run says what it works on, in its note."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from evergreen.orchestration import note


class EvergreenNotes(AirflowPlugin):
    """Tells the scheduler's listeners of the package's own."""

    name = "evergreen_notes"
    listeners = [note]  # noqa: RUF012 - Airflow's own way
