"""What a run works on, as a note in the UI: the ids that Airflow makes name another moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from airflow.listeners import hookimpl

from evergreen.correct import rules
from evergreen.errors import RunError
from evergreen.handovers.correct import Planned
from evergreen.loops.wire import LoopName
from evergreen.orchestration.identity import interval_of
from evergreen.orchestration.timetable import IntervalsUntil

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun


_PLAN, _OURS = "plan", "What correcting {} changes:"
_LONGEST = 1000  # characters that Airflow stores


@hookimpl  # type: ignore[untyped-decorator]  # pluggy's marker has no types
def on_dag_run_running(dag_run: DagRun, msg: str) -> None:
    """Note the interval of a run that starts, unless it has a note; the scheduler stores it with the run."""
    if dag_run.note is None and (text := of(dag_run)) is not None:
        dag_run.note = text


@hookimpl  # type: ignore[untyped-decorator]  # pluggy's marker has no types
def on_dag_run_success(dag_run: DagRun, msg: str) -> None:
    """Note what a correction changed, or would have."""
    _note_plan(dag_run)


@hookimpl  # type: ignore[untyped-decorator]  # pluggy's marker has no types
def on_dag_run_failed(dag_run: DagRun, msg: str) -> None:
    """Note what a correction was about to change."""
    _note_plan(dag_run)


def _note_plan(dag_run: DagRun) -> None:
    """The list that the task `plan` logged; a person's own note stays."""
    dataset, _, loop = dag_run.dag_id.rpartition("__")
    if loop != "correct" or not (dag_run.note or _OURS.format(dataset)).startswith(_OURS.format(dataset)):
        return
    from sqlalchemy.orm import object_session

    # The scheduler's own session: another one would commit what it is in the middle of.
    task = dag_run.get_task_instance(_PLAN, session=(session := object_session(dag_run)))
    value = task and task.xcom_pull(_PLAN, session=session)
    if value:
        planned = Planned.from_json(value, task=_PLAN, subject=dag_run.dag_id)
        text = "\n".join((_OURS.format(dataset), *rules.lines(dataset, planned)))
        dag_run.note = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 30]}… (all: the log of `plan`)"


def of(dag_run: DagRun) -> str | None:
    """What a run works on; None where it is of no loop, or its first task will refuse it."""
    timetable = getattr(dag_run.dag, "timetable", None)
    if not isinstance(timetable, IntervalsUntil):
        return None
    name, _, loop = dag_run.dag_id.rpartition("__")
    try:
        interval = interval_of(name, cast(LoopName, loop), dag_run, dag_run.conf or {}, timetable)
    except RunError:
        return None
    return f"as of {interval.as_of:%Y-%m-%dT%H:%MZ}" if loop == "train" else f"{interval.partition} ({interval})"
