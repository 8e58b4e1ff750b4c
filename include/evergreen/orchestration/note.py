"""What a run works on, as a note in the UI: the ids that Airflow makes name another moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from airflow.listeners import hookimpl
from airflow.utils.state import DagRunState

from evergreen.correct import rules
from evergreen.errors import RunError
from evergreen.handovers.correct import Planned
from evergreen.loops.wire import LoopName
from evergreen.orchestration.identity import check_interval, interval_of
from evergreen.orchestration.timetable import check_come
from evergreen.spec.dataset import Dated

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun


_PLAN, _OURS = "plan", "What correcting {} changes:"
_LONGEST = 1000  # characters that Airflow stores


@hookimpl  # type: ignore[untyped-decorator]  # pluggy's marker has no types
def on_dag_run_running(dag_run: DagRun, msg: str) -> None:
    """Note the interval of a run that starts, unless it has a note; the scheduler stores it with the run.

    A run whose logical date has not come ends here: the form refuses it, Airflow's command does not.
    """
    if isinstance(getattr(dag_run.dag, "timetable", None), Dated) and dag_run.logical_date is not None:
        try:
            check_come(dag_run.logical_date)
        except ValueError as error:
            dag_run.set_state(DagRunState.FAILED)
            dag_run.note = f"Refused: {error}"
            return
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
    heading = _OURS.format(dataset)
    if loop != "correct" or not (dag_run.note in (None, of(dag_run)) or dag_run.note.startswith(heading)):
        return
    from sqlalchemy.orm import object_session

    # The scheduler's own session: another one would commit what it is in the middle of.
    task = dag_run.get_task_instance(_PLAN, session=(session := object_session(dag_run)))
    value = task and task.xcom_pull(_PLAN, session=session)
    if value:
        planned = Planned.from_json(value, task=_PLAN, subject=dag_run.dag_id)
        text = "\n".join((heading, *rules.lines(dataset, planned)))
        dag_run.note = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 30]}… (all: the log of `plan`)"


def of(dag_run: DagRun) -> str | None:
    """What a run works on; None where it is of no loop that has intervals, or its first task will refuse it."""
    timetable = getattr(dag_run.dag, "timetable", None)
    if not isinstance(timetable, Dated):
        return None
    name, _, loop = dag_run.dag_id.rpartition("__")
    if loop == "rollback":
        return None
    try:
        interval = interval_of(name, cast(LoopName, loop), dag_run, dag_run.conf or {}, timetable)
        check_interval(timetable, interval, f"noting what {dag_run.run_id} works on", "")
    except RunError:
        return None
    return (
        f"as of {interval.as_of:%Y-%m-%dT%H:%MZ}"
        if loop in ("train", "rollout")
        else f"{interval.partition} ({interval})"
    )
