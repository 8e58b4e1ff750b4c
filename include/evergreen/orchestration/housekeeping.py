"""`evergreen__housekeeping` as Airflow runs it: a task per job, mapped over the names of datasets and models."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, BaseOperator
from airflow.timetables.trigger import CronTriggerTimetable

from evergreen.disk import raising_disk_full
from evergreen.housekeeping import jobs
from evergreen.orchestration.airflow import INGEST_POOL, Scheduled
from evergreen.orchestration.failures import RETRYING
from evergreen.orchestration.identity import check_params
from evergreen.orchestration.notify import OwnerNotifier, of_failures, page
from evergreen.settings import settings
from evergreen.spec.dataset import DatasetSpec
from evergreen.spec.load import load
from evergreen.spec.schema import ModelSpec

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

DAG_ID = "evergreen__housekeeping"
_SIDE_BY_SIDE = 2  # of each job: it is never urgent
_TRIAGE = (
    "While this is red, what should go by retention stays a week longer, of the names whose tasks are red alone; all "
    "loops go on. Clearing is safe: each task looks at what is there now. `evergreen housekeeping --dry-run` says what "
    "it would do."
)


class HousekeepingOperator(BaseOperator):
    """Runs one job for one name.

    Args:
        job: which.
        name_of: the dataset or model; both, where one folder declares both.
    """

    def __init__(self, *, job: str, name_of: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.job = job
        self.name_of = name_of

    def execute(self, context: Context) -> None:
        # A conf that asks for less, such as a dry run, must not be ignored: what goes is gone.
        check_params(self.name_of, context["dag_run"], context["params"], self.dag.params)
        houses = jobs.houses(load(settings().models, settings().data))
        if self.name_of not in houses:
            log.info("%s is no longer declared, or has mistakes: nothing is done", self.name_of)
            return
        with raising_disk_full(f"running {self.job} of {self.name_of}"):
            jobs.run(houses[self.name_of], self.job)


def housekeeping(declared: Scheduled, story: str) -> DAG:
    """The DAG.

    Args:
        story: the docstring of the DAG file, whose prose after the first paragraph the DAG's page shows.
    """
    specs: dict[str, DatasetSpec | ModelSpec] = {each.name: each for each in declared.datasets}
    specs |= {each.name: each for each in declared.models}
    owners = OwnerNotifier({name: of_failures(spec) for name, spec in specs.items()})
    with DAG(
        dag_id=DAG_ID,
        description="weekly: what is older than its declared retention goes, and tables are kept small",
        schedule=CronTriggerTimetable("0 4 * * 0", timezone="UTC"),
        catchup=False,
        max_active_runs=1,
        dagrun_timeout=timedelta(hours=12),
        tags=["evergreen", "housekeeping"],
        doc_md=page("Housekeeping", story, _TRIAGE),
        default_args={
            "owner": "evergreen",
            "pool": INGEST_POOL,
            **RETRYING,
            "execution_timeout": timedelta(hours=4),
            "on_failure_callback": [owners],
        },
    ) as dag:
        for job in jobs.JOBS:
            HousekeepingOperator.partial(
                task_id=job,
                job=job,
                map_index_template="{{ task.name_of }}",
                max_active_tis_per_dagrun=_SIDE_BY_SIDE,
            ).expand(name_of=sorted(specs))
    return dag
