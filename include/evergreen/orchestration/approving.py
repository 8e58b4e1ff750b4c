"""The task in which a training waits for a person, by Airflow's human-in-the-loop operator: they answer in the UI
(Required Actions) or by REST, and Airflow records by whose login.

While it waits it takes no worker and no slot. What they answer is handed to the stage as `run.approval`; what it means
is the stage's to say.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import Param
from airflow.sdk.definitions.param import ParamsDict

from evergreen.errors import ApprovalWanted
from evergreen.govern import rules
from evergreen.handovers.handover import Handover
from evergreen.loops.wire import Result
from evergreen.orchestration import logins, notify
from evergreen.orchestration.operator import StageOperator
from evergreen.run import AnyRun, Approval, Run
from evergreen.spec.durations import duration_text
from evergreen.spec.schema import ModelSpec

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

APPROVE, REJECT = "Approve", "Reject"
REASON = "reason"  # the form's field


class ApprovingOperator(StageOperator, HITLOperator):
    """Runs a stage that wants a person's word: asks for it, waits, and runs the stage with it."""

    # What is asked is known when the stage has run, and never rendered: a name in the data is no template.
    template_fields: Sequence[str] = StageOperator.template_fields

    def __init__(self, *, spec: ModelSpec, **kwargs: Any) -> None:
        assert spec.risk is not None
        super().__init__(
            spec=spec,
            subject="",
            options=[APPROVE, REJECT],
            defaults=REJECT,
            assigned_users=[{"id": name, "name": name} for name in spec.risk.approvers],
            response_timeout=spec.risk.within,
            notifiers=notify.of_approvals(spec),
            **kwargs,
        )
        self.risk = spec.risk
        self.approval: Approval | None = None

    def execute(self, context: Context) -> Any:
        try:
            return super().execute(context)
        except ApprovalWanted as wanted:
            logins.check(self.spec, self.loop)
            log.info("%s", wanted.subject)
            for line in wanted.body.splitlines():
                log.info("%s", line)
            log.info("One of %s answers within %s", ", ".join(self.risk.approvers), duration_text(self.risk.within))
            self.subject, self.body = wanted.subject, wanted.body
        return self._ask(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """What the task does once there is an answer, or the time is over; Airflow calls it."""
        approval = answer(event, self.risk.within)
        if (problem := rules.refused(self.risk, approval)) is not None:
            log.warning("That is no answer: %s. They are asked again", problem)
            return self._ask(context)
        self.approval = approval
        return super().execute(context)

    def _ask(self, context: Context) -> Any:
        # Not in the constructor: Airflow wants a value for each field of a task's form before the task runs.
        self.params = ParamsDict(
            {
                REASON: Param(
                    None, type="string", minLength=1, title="Reason", description="Why; it is kept in the ledger."
                )
            }
        )
        return HITLOperator.execute(self, context)

    def _run(self, run: AnyRun, given: Mapping[str, Result]) -> Handover:
        assert isinstance(run, Run)
        return super()._run(replace(run, approval=self.approval), given)


def answer(event: Mapping[str, Any], within: timedelta) -> Approval:
    """What Airflow says that was answered."""
    if event.get("timedout") or "error" in event:
        reason = f"nobody allowed it within {duration_text(within)}"
        return Approval(approved=False, by=None, reason=reason, how="airflow")
    user: Mapping[str, Any] = event.get("responded_by_user") or {}
    return Approval(
        approved=list(event["chosen_options"]) == [APPROVE],
        by=str(user.get("id") or "somebody unknown"),
        reason=str((event.get("params_input") or {}).get(REASON) or ""),
        how="airflow",
    )
