"""The frame of every DAG: id, timetable, bounds in time, retries, owner, parameters and triage notes."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, get_args

from airflow.sdk import DAG, CronDataIntervalTimetable, Param

from evergreen.errors import SpecError
from evergreen.ingest.rules import delay
from evergreen.orchestration.failures import LONGEST_DELAY, RETRIES, RETRY_DELAY, RETRY_POLICY
from evergreen.orchestration.notify import RUNBOOK, of_failures, of_timeouts
from evergreen.orchestration.operator import Stages
from evergreen.orchestration.timetable import IntervalsUntil
from evergreen.quoting import lines
from evergreen.settings import settings
from evergreen.spec.load import load_all
from evergreen.spec.mistakes import Mistake, spec_error
from evergreen.spec.rules import FILE
from evergreen.spec.schema import ModelSpec

log = logging.getLogger(__name__)

Loop = Literal["ingest", "train", "monitor", "rollback"]

INGEST_POOL = "evergreen_ingest"
TRAINING_POOL = "evergreen_training"
ROLLBACK_POOL = "evergreen_rollback"

_PARTITION = Param(
    None, type=["null", "string"], format="date",
    title="Partition", description="The day to work on (UTC). Empty: the day that the run's data interval starts on.",
)  # fmt: skip
_PARAMS: dict[Loop, dict[str, Param]] = {
    "ingest": {"partition": _PARTITION},
    "monitor": {"partition": _PARTITION},
    "train": {
        "as_of": Param(
            None, type=["null", "string"], title="As of",
            description="The moment the training may know about, as 2026-01-31T00:00:00Z. Empty: the end of the last complete day.",
        ),
        "reason": Param(None, type=["null", "string"], title="Reason", description="Why; kept with the version and in the audit trail."),
        "decision_id": Param(None, type=["null", "string"], title="Decision", description="The monitor's decision; filled by the monitor."),
        "changed_at": Param(
            None, type=["null", "string"], title="Changed at",
            description="Learn only from rows after this moment. Filled by the monitor; empty: the whole training window.",
        ),
    },
    "rollback": {
        "version": Param(
            type="integer", minimum=1, title="Version", description="The champion that should serve no longer.",
        ),
        "reason": Param(type="string", minLength=1, title="Reason", description="Why; kept with the version and in the audit trail."),
    },
}  # fmt: skip

_TRIAGE: dict[Loop, str] = {
    "ingest": "No new features are published while this is red; the champion goes on serving. Read the failed task's last line. "
    "After a correction upstream, clear the failed task: every stage replaces its partition, so running it again is safe.",
    "train": "The champion goes on serving while this is red; nothing was promoted. A *skipped* `register` is a good run whose "
    "candidate was not better. Clearing the failed task resumes: finished trials and versions are found, not made again.",
    "monitor": "Drift is not watched while this is red; serving goes on. After mending a day, clear it and every "
    "later one, in order; only the newest window can trigger a training.",
    "rollback": "What served before serves on while this is red. The error in the failed task's log says which version is the champion. "
    "Clearing the task is safe: it rolls back from the version that it names, once.",
}
_ABOUT: dict[Loop, str] = {
    "ingest": "each day's data: validated, published, turned into features and labels",
    "train": "tune, gate, register and deploy a model",
    "monitor": "compare live predictions with the reference, decide, trigger retraining",
    "rollback": "by hand: let the last known good version serve again",
}
_LIMITS: dict[Loop, dict[str, Any]] = {
    # Days are independent of one another; four side by side fill two cores. (A backfill brings a limit of its own.)
    "ingest": {"max_active_runs": 4, "dagrun_timeout": timedelta(hours=2)},
    # One training and one decision at a time: each looks at what the one before it left.
    "train": {"max_active_runs": 1, "dagrun_timeout": timedelta(hours=12)},
    "monitor": {"max_active_runs": 1, "dagrun_timeout": timedelta(hours=2)},
    # Never by itself, so it may stand ready; in an emergency nobody should have to find out that it was paused.
    "rollback": {"max_active_runs": 1, "dagrun_timeout": timedelta(hours=1), "is_paused_upon_creation": False},
}
_TASK_TIMEOUT: dict[Loop, timedelta] = {
    "ingest": timedelta(minutes=30),
    "train": timedelta(hours=4),
    "monitor": timedelta(minutes=30),
    "rollback": timedelta(minutes=10),
}


def dag_id(model: str, loop: Loop) -> str:
    """The id of one model's loop."""
    return f"{model}__{loop}"


def specs() -> tuple[list[ModelSpec], list[SpecError]]:
    """The models whose folder is valid and whose loops Airflow takes, and the error of each other folder."""
    valid, errors = load_all(settings().models)
    taken = []
    for spec in valid:
        try:
            for name in get_args(Loop):
                _dag(spec, name)
        except Exception as error:  # a DAG file that raises has no DAGs, of any model
            log.exception("building the loops of %s", spec.model)
            told = Mistake(
                FILE,
                "",
                f"{type(error).__name__}: {error}",
                "a model that Airflow can schedule",
                "correct what it names",
            )
            errors.append(spec_error(f"building the loops of {spec.model}", spec.model, [told]))
        else:
            taken.append(spec)
    return taken, errors


def valid_specs() -> list[ModelSpec]:
    """The models that have loops; `dags/spec_errors.py` says in the UI what is wrong with the others."""
    return specs()[0]


@contextmanager
def loop(spec: ModelSpec, name: Loop) -> Iterator[Stages]:
    """One DAG of one model; tasks are made inside the block."""
    with _dag(spec, name):
        yield Stages(spec)


def _dag(spec: ModelSpec, name: Loop) -> DAG:
    return DAG(
        dag_id=dag_id(spec.model, name),
        description=f"{spec.model}: {_ABOUT[name]}",
        schedule=_timetable(spec, name),
        start_date=datetime.combine(spec.first_day, datetime.min.time(), UTC),
        catchup=False,
        params=_PARAMS[name],
        tags=["evergreen", spec.model, name],
        doc_md=_doc(spec, name),
        on_failure_callback=of_timeouts(spec) or None,
        default_args={
            "owner": spec.owner.name,
            "pool": {"train": TRAINING_POOL, "rollback": ROLLBACK_POOL}.get(name, INGEST_POOL),
            "retries": RETRIES,
            "retry_delay": RETRY_DELAY,
            "retry_exponential_backoff": True,
            "max_retry_delay": LONGEST_DELAY,
            "retry_policy": RETRY_POLICY,
            "execution_timeout": _TASK_TIMEOUT[name],
            "on_failure_callback": of_failures(spec),
        },
        **_limits(spec, name),
    )


def _timetable(spec: ModelSpec, name: Loop) -> CronDataIntervalTimetable | IntervalsUntil | None:
    if name == "rollback":
        return None  # by hand alone
    cron: str = getattr(spec.schedule, name)
    return (
        CronDataIntervalTimetable(cron, timezone="UTC")
        if spec.last_day is None
        else IntervalsUntil(cron, spec.last_day)
    )


def _limits(spec: ModelSpec, name: Loop) -> dict[str, Any]:
    """What a run may wait for is no part of the time that it may take."""
    waits = timedelta() if name == "rollback" else delay(spec) + spec.schedule.wait
    return _LIMITS[name] | {"dagrun_timeout": _LIMITS[name]["dagrun_timeout"] + waits}


def _doc(spec: ModelSpec, name: Loop) -> str:
    return (
        f"### {spec.model}: {_ABOUT[name]}\n\n{_as_markdown(spec.description)}\n\n"
        f"**Owner** {_as_markdown(spec.owner.name)} <{spec.owner.email}>\n\n"
        f"**Triage** {_TRIAGE[name]}\n\n**Runbook** `{RUNBOOK}`\n"
    )


def _as_markdown(text: str) -> str:
    """A text of the spec as Markdown that reads the same: what stands in it makes no link, no image and no element."""
    return re.sub(r"([\\<&\[\]!`*_#|~])", r"\\\1", lines(text))
