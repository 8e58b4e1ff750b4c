"""An Airflow DAG whose task waits inside a library at its first try, where no signal reaches it."""

from __future__ import annotations

import ctypes
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG

from evergreen.handovers.handover import Handover
from evergreen.loops.wire import Wire
from evergreen.orchestration import stuck
from evergreen.orchestration.airflow import INGEST_POOL
from evergreen.orchestration.operator import StageOperator
from evergreen.run import Run
from evergreen.settings import settings
from evergreen.spec.load import load_spec

stuck.GRACE = timedelta(seconds=1)  # a test does not wait for a minute


class Got(Handover):
    """What came in the end."""

    text: str
    """It."""


def extract(run: Run) -> Got:
    """Waits for itself, with the interpreter's lock; the second try does not."""
    tried = settings().home / "stuck.tried"
    if not tried.exists():
        tried.touch()
        libc, mutex = ctypes.PyDLL(None), ctypes.create_string_buffer(64)
        libc.pthread_mutex_lock(mutex)
        libc.pthread_mutex_lock(mutex)
    return Got(text="came")


with DAG("stuck", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
    step = Wire().stage(extract)
    StageOperator(
        spec=load_spec(settings().models / "churn"),
        loop="ingest",
        step=step,
        task_id=step.name,
        pool=INGEST_POOL,
        execution_timeout=timedelta(seconds=2),
        retries=1,
        retry_delay=timedelta(seconds=1),
    )
