"""A scheduled run begins when its day is over, and what it needs may come later:
its task waits, as long as the spec says.

The task frees its slot and is run again (`up_for_reschedule`), as a sensor does; a task
of its own would cost every day a second.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk.exceptions import AirflowRescheduleException

from evergreen.ingest.rules import delay
from evergreen.orchestration.identity import kind
from evergreen.run import AnyRun

log = logging.getLogger(__name__)

LOOKS = timedelta(minutes=1)  # between one look and the next


def wait(run: AnyRun, dag_run: Any, what: str) -> None:
    """Let the task look again later; return where the run waits for nothing, or has waited long enough."""
    now = datetime.now(UTC)
    # From its start, too: after a pause, or when the scheduler was down, all loops of a day begin late.
    until = (
        max(run.as_of + max(map(delay, run.spec.datasets.values())), dag_run.start_date or now) + run.spec.schedule.wait
    )
    if kind(dag_run) == "scheduled" and now < until:
        log.info("Waiting for %s; until %s at most", what, f"{until:%Y-%m-%d %H:%M} UTC")
        raise AirflowRescheduleException(min(now + LOOKS, until))
