"""When the loops of datasets and models run by themselves, and when a run is late."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from evergreen.spec.durations import Delay
from evergreen.spec.partial import Declared

# Of the loops that have a run for every interval. A release before asked for a cron, which could be this one alone.
WhenOver = Annotated[
    str | None,
    Field(description="null: when an interval of the calendar is over; of days in UTC `0 0 * * *` says the same"),
]


class IngestLate(Declared):
    """How long a scheduled run of a dataset may take until its owner hears that it is late: counted from when the last
    batch of its interval is complete, or from when the run was made, if that is later."""

    ingest: Delay = Field(default=timedelta(hours=3), json_schema_extra={"default": "3h"}, description="of ingest")


class IngestSchedule(Declared):
    """When a dataset's loop runs by itself: when an interval of its calendar is over.

    A scheduled run begins when its interval is over, and then waits for its batches. A backfill, and a run by hand,
    waits for nothing.
    """

    ingest: WhenOver = None
    wait: Delay = Field(
        default=timedelta(hours=6),
        json_schema_extra={"default": "6h"},
        description="how long a scheduled run waits, from its start or when its batches are complete; then it fails",
    )
    late: IngestLate = IngestLate()
    catch_up: bool = Field(
        default=True,
        description=(
            "it also runs for the intervals since its last run that went by while Airflow was down or the DAG paused, "
            "oldest first"
        ),
    )


class ModelLate(Declared):
    """How long a scheduled run of a model may take until its owner hears that it is late: counted as for ingest."""

    train: Delay = Field(default=timedelta(hours=12), json_schema_extra={"default": "12h"}, description="of train")
    monitor: Delay = Field(default=timedelta(hours=4), json_schema_extra={"default": "4h"}, description="of monitor")


class Late(IngestLate, ModelLate):
    """How long a scheduled run may take until its owner hears that it is late: counted from when the last batch of its
    interval is complete, or from when the run was made, if that is later."""


class Schedule(Declared):
    """When each loop runs by itself: train by a five-field cron in the calendar's zone, the others for every interval.

    A scheduled run begins when its interval is over, and then waits for what comes later: ingest for its batches, train
    and monitor for their last interval to be ingested. A backfill, and a run by hand, waits for nothing.
    """

    ingest: WhenOver = None
    train: str | None = Field(
        description="routine retraining; the monitor triggers more. null: none, only those and by hand"
    )
    monitor: WhenOver = None
    wait: Delay = Field(
        default=timedelta(hours=6),
        json_schema_extra={"default": "6h"},
        description=(
            "how long a scheduled run waits for late data, from its start or from complete_after; then ingest fails, "
            "and train and monitor go on without the interval"
        ),
    )
    late: Late = Late()
    catch_up: bool = Field(
        default=True,
        description=(
            "ingest and monitor also run for the intervals since their last run that went by while Airflow was down "
            "or the DAG paused, oldest first; train knows their data anyhow"
        ),
    )


class ModelSchedule(Declared):
    """When the loops of a model of datasets run by themselves: train by a five-field cron in the calendar's zone, the
    monitor for every interval.

    A scheduled run begins when its interval is over, and then waits until every dataset has ingested it. A run by hand
    waits for nothing.
    """

    train: str | None = Field(
        description="routine retraining; the monitor triggers more. null: none, only those and by hand"
    )
    monitor: WhenOver = None
    wait: Delay = Field(
        default=timedelta(hours=6),
        json_schema_extra={"default": "6h"},
        description="how long a scheduled run waits for the interval's data; then it goes on without it",
    )
    late: ModelLate = ModelLate()
    catch_up: bool = Field(
        default=True,
        description=(
            "monitor also runs for the intervals since its last run that went by while Airflow was down or the DAG "
            "paused, oldest first; train knows their data anyhow"
        ),
    )
