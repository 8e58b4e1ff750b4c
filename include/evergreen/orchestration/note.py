"""What a run works on, as a note in the UI: the ids that Airflow makes name another day."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from airflow.listeners import hookimpl

from evergreen.errors import RunError
from evergreen.loops.wire import LoopName
from evergreen.orchestration.identity import interval_of
from evergreen.orchestration.timetable import IntervalsUntil

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun


@hookimpl  # type: ignore[untyped-decorator]
def on_dag_run_running(dag_run: DagRun, msg: str) -> None:
    """Note the interval of a run that starts, unless it has a note; the scheduler stores it with the run."""
    if dag_run.note is None and (text := of(dag_run)) is not None:
        dag_run.note = text


def of(dag_run: DagRun) -> str | None:
    """What a run works on; None where it is of no loop, or its first task will refuse it."""
    timetable = getattr(dag_run.dag, "timetable", None)
    if not isinstance(timetable, IntervalsUntil):
        return None
    name, _, loop = dag_run.dag_id.rpartition("__")
    try:
        interval = interval_of(name, cast(LoopName, loop), dag_run, dag_run.conf or {}, timetable.last_day)
    except RunError:
        return None
    return f"as of {interval.as_of:%Y-%m-%dT%H:%MZ}" if loop == "train" else f"{interval.partition} ({interval})"
