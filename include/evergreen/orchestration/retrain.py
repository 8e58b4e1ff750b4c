"""The monitor's only lever: a decision to retrain triggers one run of `<model>__train`."""

from __future__ import annotations

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import XComArg, task
from airflow.sdk.exceptions import AirflowSkipException

from evergreen.orchestration.loops import dag_id
from evergreen.spec.schema import ModelSpec


def retrain(spec: ModelSpec, decision: XComArg) -> None:
    """Tasks `retrain_wanted` (skipped unless the decision says so) and `retrain` (the trigger).

    The run's id is the decision's, so a decision triggers at most one run, however often its task runs.
    """

    @task
    def retrain_wanted(decision: dict[str, object]) -> dict[str, object]:
        """Skips when the decision is not to retrain."""
        if decision["action"] != "retrain" or not decision["triggers"]:
            raise AirflowSkipException(f"decision {decision['decision_id']}: {decision['action']}; nothing to trigger")
        return decision

    wanted = retrain_wanted(decision)
    TriggerDagRunOperator(
        task_id="retrain",
        trigger_dag_id=dag_id(spec.model, "train"),
        trigger_run_id=f"{{{{ ti.xcom_pull(task_ids='{wanted.operator.task_id}')['run_id'] }}}}",
        conf=wanted["conf"],
        logical_date=None,  # the run's time is its conf's as_of; a date of now would clash and mean nothing
        skip_when_already_exists=True,
        fail_when_dag_is_paused=True,
        openlineage_inject_parent_info=False,  # conf holds the run's params and nothing else
    )
