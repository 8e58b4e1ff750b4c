"""`evergreen__serving`: the owner of a model hears within the hour that something is wrong with what serves of it.

A task looks, because it has what it takes: the server has no channel to anybody, and gets none (docs/security.md).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, BaseOperator
from airflow.sdk.exceptions import AirflowSkipException
from airflow.timetables.trigger import CronTriggerTimetable

from evergreen.errors import TransientError
from evergreen.orchestration import notify
from evergreen.orchestration.airflow import INGEST_POOL
from evergreen.orchestration.failures import RETRYING
from evergreen.settings import settings
from evergreen.spec.load import load
from evergreen.spec.schema import ModelSpec

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

DAG_ID = "evergreen__serving"
_AHEAD = 100  # of a backfill's tasks, which may keep its pool full for hours
_SIDE_BY_SIDE = 2
_TRIAGE = (
    "While this is red, owners hear of what is wrong with what serves from their model's monitor alone; serving and "
    "all loops go on. `/models` of the model server says it too. Clearing is safe: what was told is not told again."
)


class ServingOperator(BaseOperator):
    """Looks what is wrong with what serves of a model, and tells its owner what nobody has told yet.

    Args:
        name_of: the model.
    """

    def __init__(self, *, name_of: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.name_of = name_of

    def execute(self, context: Context) -> None:
        model = load(settings().models, settings().data).models.get(self.name_of)
        if not isinstance(model, ModelSpec):
            log.info("%s is no longer declared, or has mistakes: nothing is done", self.name_of)
            return
        try:
            look(model, context)
        except TransientError as error:  # the next run looks again, and whoever needs what is away tells of it
            raise AirflowSkipException(f"not looked at: {error.found}") from None


def look(model: ModelSpec, context: Mapping[str, Any]) -> None:
    """Tell the owner what is wrong with what serves, once for as long as it lasts.

    Raises:
        EvergreenError: nobody can say what is wrong, as `problems.now` does.
    """
    from evergreen.serve import problems
    from evergreen.status import alarms

    known = problems.now(model.name)
    if untold := alarms.untold(model.name, alarms.SERVING, known.problems, complete=known.complete):
        try:
            notify.wrong(model, untold, context)
        except Exception:  # a channel that is away: the next run tells again
            log.exception("telling the owner of %s", model.name)
        else:
            alarms.record(model.name, alarms.SERVING, untold)


def serving(models: Sequence[ModelSpec], story: str) -> DAG:
    """The DAG.

    Args:
        models: whose owners are told.
        story: the docstring of the DAG file, whose prose after the first paragraph the DAG's page shows.
    """
    owners = notify.OwnerNotifier({model.name: notify.of_failures(model) for model in models})
    with DAG(
        dag_id=DAG_ID,
        description="hourly: whether something is wrong with what serves of each model, for its owner",
        schedule=CronTriggerTimetable("17 * * * *", timezone="UTC"),
        catchup=False,
        max_active_runs=1,
        dagrun_timeout=timedelta(minutes=50),
        # Ready, as a rollback is: whoever forgets it would hear of nothing.
        is_paused_upon_creation=False,
        tags=["evergreen", "serving"],
        doc_md=notify.page("What serves", story, _TRIAGE),
        default_args={
            "owner": "evergreen",
            "pool": INGEST_POOL,
            "priority_weight": _AHEAD,
            **RETRYING,
            "execution_timeout": timedelta(minutes=10),
            "on_failure_callback": [owners],
        },
    ) as dag:
        ServingOperator.partial(
            task_id="look",
            map_index_template="{{ task.name_of }}",
            max_active_tis_per_dagrun=_SIDE_BY_SIDE,
        ).expand(name_of=sorted(model.name for model in models))
    return dag
