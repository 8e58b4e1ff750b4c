"""An Airflow DAG with a schedule, whose batch comes late."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, CronDataIntervalTimetable

from evergreen.errors import BatchMissing
from evergreen.handovers.handover import Handover
from evergreen.loops.wire import Wire
from evergreen.orchestration import waiting
from evergreen.orchestration.airflow import INGEST_POOL
from evergreen.orchestration.operator import StageOperator
from evergreen.run import Run
from evergreen.settings import settings
from evergreen.spec.load import load_spec

waiting.LOOKS = timedelta(seconds=5)  # a test does not wait for minutes


class Read(Handover):
    """What the file says."""

    text: str
    """All of it."""


def extract(run: Run) -> Read:
    """Reads what the test writes in the end."""
    file = settings().home / "late.csv"
    if not file.exists():
        raise BatchMissing(
            f"reading the batch of {run.subject}",
            found="no such file",
            expected=str(file),
            next_step="wait",
        )
    return Read(text=file.read_text())


with DAG(
    "late",
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
):
    spec = load_spec(settings().models / "churn").model_copy(update={"last_day": None})
    step = Wire().stage(extract)
    StageOperator(spec=spec, loop="ingest", step=step, task_id=step.name, pool=INGEST_POOL, retries=0)
