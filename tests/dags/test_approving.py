"""The task that waits for a person: where it stands, what it asks, and what it makes of an answer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from evergreen.errors import RunError
from evergreen.loops.wiring import LOOPS
from evergreen.settings import PROJECT
from evergreen.spec.load import load_spec
from evergreen.spec.risk import Risk
from evergreen.spec.schema import ModelSpec

CHURN = load_spec(PROJECT / "include" / "models" / "churn")


def of_tier(tier: str) -> ModelSpec:
    content = {"tier": tier, "impact": "Somebody is called in vain.", "approvers": ("anna", "ben"), "within": "2d"}
    return CHURN.model_copy(update={"risk": Risk.model_validate(content)})


@pytest.mark.parametrize("tier", ["medium", "high"])
def test_the_task_waits_for_those_who_may_and_rejects_without_an_answer(tier: str) -> None:
    from evergreen.orchestration import airflow
    from evergreen.orchestration.approving import ApprovingOperator

    dag = airflow.loop(of_tier(tier), LOOPS["train"], "")
    task = dag.get_task("approve")
    assert isinstance(task, ApprovingOperator)
    assert task.assigned_users == [{"id": "anna", "name": "anna"}, {"id": "ben", "name": "ben"}]
    assert (task.options, task.defaults, task.multiple) == (["Approve", "Reject"], ["Reject"], False)
    assert task.response_timeout == timedelta(days=2)
    assert not task.params, "Airflow would want a value before the task runs"
    assert task.upstream_task_ids == {"gates"} and task.downstream_task_ids == {"refit"}
    usual = airflow.loop(of_tier("low"), LOOPS["train"], "")
    assert dag.dagrun_timeout is not None and usual.dagrun_timeout is not None
    assert dag.dagrun_timeout - usual.dagrun_timeout == timedelta(days=2), "waiting is no part of a run's time"
    assert not isinstance(usual.get_task("approve"), ApprovingOperator), "of a low tier nobody is asked"


def test_it_is_stored_as_airflow_stores_dags() -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    from evergreen.orchestration import airflow

    dag = airflow.loop(of_tier("high"), LOOPS["train"], "")
    first, second = (DagSerialization.to_dict(dag) for _ in range(2))
    assert first == second and "approve" in str(first)


def answered(**changes: Any) -> dict[str, Any]:
    """An event as Airflow resumes the task with."""
    return {
        "chosen_options": ["Approve"],
        "params_input": {"reason": "looked at it"},
        "responded_at": datetime(2026, 1, 1, tzinfo=UTC),
        "responded_by_user": {"id": "anna", "name": "Anna"},
        "timedout": False,
    } | changes


def test_what_airflow_says_is_read_to_the_safe_side() -> None:
    from evergreen.orchestration.approving import answer

    day = timedelta(days=1)
    said = answer(answered(), day)
    assert (said.approved, said.by, said.reason, said.how) == (True, "anna", "looked at it", "airflow")
    assert not answer(answered(chosen_options=["Reject"]), day).approved
    assert not answer(answered(chosen_options=["Approve", "Reject"]), day).approved
    assert not answer(answered(chosen_options=[]), day).approved
    assert answer(answered(params_input={}), day).reason == ""
    assert answer(answered(responded_by_user=None), day).by == "somebody unknown", "who is nobody's approver"
    late = answer(answered(timedout=True, chosen_options=["Reject"], responded_by_user=None), day)
    assert (late.approved, late.by, late.reason) == (False, None, "nobody allowed it within 1d")
    assert not answer({"error": "late", "error_type": "timeout"}, day).approved


def test_an_airflow_in_which_everybody_is_an_administrator_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from evergreen.orchestration import logins

    logins.check(of_tier("high"), "train")
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS", "True")
    with pytest.raises(RunError, match="whoever opens Airflow is an administrator"):
        logins.check(of_tier("medium"), "train")
    logins.check(of_tier("low"), "train")
    logins.check(of_tier("high"), "monitor")
    logins.check(CHURN, "train")
