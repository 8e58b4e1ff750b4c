"""What a scheduled run waits for, and no other: the operator with the contexts that Airflow gives it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowRescheduleException

from evergreen.errors import BatchMissing
from evergreen.handovers.handover import Handover
from evergreen.interval import Interval
from evergreen.loops.wire import Step
from evergreen.orchestration.operator import StageOperator
from evergreen.orchestration.waiting import LOOKS
from evergreen.run import DatasetRun
from evergreen.settings import PROJECT
from evergreen.spec.dataset import DatasetSpec
from evergreen.spec.load import load_spec


class Done(Handover):
    """What a stage leaves."""

    rows: int


DAY = Interval.of_day(datetime.now(UTC).date() - timedelta(days=2))


@pytest.fixture
def spec() -> DatasetSpec:
    """Churn, whose usage may still come for an hour after its day, and which waits for six."""
    spec = load_spec(PROJECT / "include" / "models" / "churn").datasets["churn"]
    usage = spec.sources["usage"].model_copy(update={"complete_after": timedelta(hours=1)})
    return spec.model_copy(
        update={"last_day": None, "first_day": date(2026, 1, 1), "sources": spec.sources | {"usage": usage}}
    )


def execute(
    spec: DatasetSpec,
    stage: Callable[[DatasetRun], Done],
    *,
    kind: str = "scheduled",
    started: datetime | None = None,
    **options: Any,
) -> Done:
    """Run a stage as a task of a run that was started then (now, by default)."""
    dag_run = SimpleNamespace(
        run_type=kind,
        run_id=f"{kind}__1",
        start_date=started or datetime.now(UTC),
        logical_date=DAY.start,
        run_after=DAY.end,
        data_interval_start=DAY.start,
        data_interval_end=DAY.end,
        triggering_user_name=None,
    )
    step = Step("extract", stage)
    task = StageOperator(spec=spec, loop="ingest", step=step, task_id="extract", **options)
    left = task.execute({"dag_run": dag_run, "params": {}, "ti": None})
    return Done.from_json(left, task="extract", subject="the day")


def done(run: DatasetRun) -> Done:
    return Done(rows=3)


def late(run: DatasetRun) -> Done:
    raise BatchMissing(
        f"reading {run.subject}", found="no such file", expected="usage.csv", next_step="ask the upstream system"
    )


def test_a_scheduled_run_looks_again_for_a_batch_that_is_missing(
    spec: DatasetSpec, caplog: pytest.LogCaptureFixture
) -> None:
    before = datetime.now(UTC)
    with caplog.at_level(logging.INFO), pytest.raises(AirflowRescheduleException) as again:
        execute(spec, late)
    assert before + LOOKS <= again.value.reschedule_date <= datetime.now(UTC) + LOOKS
    assert "Waiting for usage.csv: no such file; until" in caplog.text


def test_after_its_time_the_batch_is_missing(spec: DatasetSpec) -> None:
    """Counted from the run's start, or from when the batch is complete."""
    with pytest.raises(AirflowRescheduleException):
        execute(spec, late, started=datetime.now(UTC) - timedelta(hours=5))
    seven_hours_ago = datetime.now(UTC) - timedelta(hours=7)
    with pytest.raises(BatchMissing):
        execute(spec, late, started=seven_hours_ago)
    usage = spec.sources["usage"].model_copy(update={"complete_after": timedelta(weeks=1)})
    slow = spec.model_copy(update={"sources": spec.sources | {"usage": usage}})
    with pytest.raises(AirflowRescheduleException):
        execute(slow, late, started=seven_hours_ago)


@pytest.mark.parametrize("kind", ["manual", "backfill", "asset_triggered"])
def test_a_run_that_somebody_asked_for_waits_for_nothing(spec: DatasetSpec, kind: str) -> None:
    with pytest.raises(BatchMissing):
        execute(spec, late, kind=kind)
    assert execute(spec, done, kind=kind, awaits=lambda run, now: ["usage"]) == Done(rows=3)


def test_what_is_awaited_comes_first_and_is_done_without_when_it_does_not_come(
    spec: DatasetSpec, caplog: pytest.LogCaptureFixture
) -> None:
    moments: list[datetime] = []

    def awaits(run: DatasetRun, now: datetime) -> list[str]:
        moments.append(now)
        return ["usage of the day", "spend of the day"]

    with pytest.raises(AirflowRescheduleException):
        execute(spec, done, awaits=awaits)
    assert execute(spec, done, awaits=lambda run, now: []) == Done(rows=3)
    impatient = spec.model_copy(update={"schedule": spec.schedule.model_copy(update={"wait": timedelta(0)})})
    with caplog.at_level(logging.WARNING):
        assert execute(impatient, done, awaits=awaits) == Done(rows=3)
    assert "Going on without usage of the day, spend of the day" in caplog.text
    assert len(moments) == 2 and all(now.tzinfo is not None for now in moments)
