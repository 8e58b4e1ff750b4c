"""Who hears of it when a task fails or warns: the owner of the model or dataset.

The channels are those that EVERGREEN_ALERTS names."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from itertools import groupby
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, BaseNotifier

from evergreen.errors import SpecError
from evergreen.orchestration.identity import dag_id
from evergreen.settings import settings
from evergreen.spec.dataset import DatasetSpec
from evergreen.spec.durations import duration_text
from evergreen.spec.impact import missed
from evergreen.spec.load import load
from evergreen.spec.schema import ModelSpec

if TYPE_CHECKING:
    from airflow.sdk import Context

RUNBOOK = "docs/runbooks/on-call.md"
# Airflow hands the exception to callbacks; what it says first and what to do next is all that a message needs.
_FAILED = "Evergreen: {{ dag.dag_id }} {{ ti.task_id }} failed ({{ run_id }})"
_WHY = "{{ exception | e }}"
_WARNED = "Evergreen: {{ dag.dag_id }} {{ ti.task_id }} warns ({{ run_id }})"
_OF_WHAT = "{{ warnings | join('\n') | e }}"
_LATE = "Evergreen: {{ dag.dag_id }} is late ({{ run_id }})"
_MISSING = "Evergreen: {{ missing }} missing"
_WANTED = "Evergreen: {{ dag.dag_id }} waits for an approval ({{ run_id }})"
_ASKED = "{{ task.subject | e }}\n\n{{ approvers | e }}, in Airflow, under Required Actions, within {{ within }}"
_WRONG = "Evergreen: something is wrong with what serves of {{ model }}"
_POINTERS = "\n\nTask: {{ ti.log_url }}\nRunbook: " + RUNBOOK


class LogNotifier(BaseNotifier):
    """Writes the message as the last lines of the failed task's log."""

    def __init__(self, owner: str, email: str) -> None:
        super().__init__()
        self.owner = owner
        self.email = email

    def notify(self, context: Context) -> None:
        exception: Any = context.get("exception")
        next_step = getattr(exception, "next_step", None) or f"read the traceback above, then {RUNBOOK}"
        log = logging.getLogger("evergreen.alerts")
        log.error(
            "%s <%s> is told: %s",
            self.owner,
            self.email,
            (str(exception).splitlines() or [type(exception).__name__])[0] if exception else "task failed",
        )
        log.error("Runbook: %s", RUNBOOK)
        log.error("Next step: %s", next_step)


class MissedNotifier(BaseNotifier):
    """Tells the owner of models what they miss of a dataset whose task failed; the failed task's log says so too."""

    def __init__(self, owner: str, email: str, missing: str, channels: list[BaseNotifier]) -> None:
        super().__init__()
        self.owner = owner
        self.email = email
        self.missing = missing
        self.channels = channels

    def notify(self, context: Context) -> None:
        for line in self.missing.splitlines():
            logging.getLogger("evergreen.alerts").error("%s <%s> is told: %s", self.owner, self.email, line)
        for channel in self.channels:
            channel(context)


class WarningNotifier(BaseNotifier):
    """Tells of a task that ended well with `warnings` in its result; its log has them already.

    What has an id of the ledger, `told_as`, is told once, however often its task is cleared.
    """

    def __init__(self, name: str, channels: list[BaseNotifier]) -> None:
        super().__init__()
        self.name = name
        self.channels = channels

    def notify(self, context: Context) -> None:
        from evergreen.status import alarms

        ti: Any = context["ti"]
        result = ti.xcom_pull(task_ids=ti.task_id) or {}
        warnings, told_as = result.get("warnings"), result.get("told_as")
        if not warnings or (told_as is not None and not alarms.untold(self.name, alarms.WINDOW, [told_as])):
            return
        for channel in self.channels:
            channel({**context, "warnings": warnings})
        if told_as is not None:
            alarms.record(self.name, alarms.WINDOW, [told_as])


class TimeoutNotifier(BaseNotifier):
    """Tells of a run that its time limit ended.

    Airflow then skips its unfinished tasks, and calls no callback of theirs.
    """

    def __init__(self, channels: list[BaseNotifier]) -> None:
        super().__init__()
        self.channels = channels

    def notify(self, context: Context) -> None:
        if context.get("reason") == "timed_out":  # else a task failed, and told
            dag: Any = context["dag"]
            why = f"The run came to its time limit ({dag.dagrun_timeout}); what was unfinished is skipped, not done"
            for channel in self.channels:
                channel({**context, "exception": why})


class ApprovalNotifier(BaseNotifier):
    """Tells that a training waits for a person."""

    def __init__(self, approvers: str, within: str, channels: list[BaseNotifier]) -> None:
        super().__init__()
        self.approvers = approvers
        self.within = within
        self.channels = channels

    def notify(self, context: Context) -> None:
        for channel in self.channels:
            channel({**context, "approvers": self.approvers, "within": self.within})


def page(heading: str, docstring: str, triage: str) -> str:
    """The page of a DAG of all datasets and models, as Markdown.

    Args:
        docstring: of the DAG file; the page shows the prose after its first paragraph.
        triage: what to know while the DAG is red.
    """
    _, _, prose = docstring.partition("\n\n")
    return f"### {heading}\n\n{prose.strip()}\n\n**Triage** {triage}\n\n**Runbook** `{RUNBOOK}`\n"


class OwnerNotifier(BaseNotifier):
    """Tells the owner of the name that a failed task was for."""

    def __init__(self, owners: Mapping[str, list[BaseNotifier]]) -> None:
        super().__init__()
        self.owners = owners

    def notify(self, context: Context) -> None:
        for notifier in self.owners.get(getattr(context["task"], "name_of", ""), []):
            notifier(context)


def of_failures(spec: DatasetSpec | ModelSpec, users: Sequence[ModelSpec] = ()) -> list[BaseNotifier]:
    """They tell of a failed task; the log one stands last, so that a failed log ends with what to do.

    Args:
        users: of a dataset, the models that use it: their owners hear what they miss.
    """
    notifiers = _channels(spec.owner.email, _FAILED, _WHY)
    for (name, email), models in groupby(sorted(users, key=_owner), _owner):
        missing = "\n".join(missed(model, spec.name) for model in models)
        if email == spec.owner.email:
            notifiers.append(MissedNotifier(name, email, missing, []))
        else:
            text = f"{missing}, as long as this is not mended:\n\n{_WHY}"
            notifiers.append(MissedNotifier(name, email, missing, _channels(email, _FAILED, text)))
    return [*notifiers, LogNotifier(spec.owner.name, spec.owner.email)]


def _owner(model: ModelSpec) -> tuple[str, str]:
    return model.owner.name, model.owner.email


def of_warnings(spec: DatasetSpec | ModelSpec) -> list[BaseNotifier]:
    """They tell of a task whose result holds `warnings`."""
    channels = _channels(spec.owner.email, _WARNED, _OF_WHAT)
    return [WarningNotifier(spec.name, channels)] if channels else []


def of_approvals(spec: ModelSpec) -> list[BaseNotifier]:
    """They tell the owner that a training waits for a person."""
    channels = _channels(spec.owner.email, _WANTED, _ASKED)
    if spec.risk is None or not channels:
        return []
    return [ApprovalNotifier(" or ".join(spec.risk.approvers), duration_text(spec.risk.within), channels)]


def of_timeouts(spec: DatasetSpec | ModelSpec) -> list[BaseNotifier]:
    """They tell of a run that its time limit ended; for the DAG, not for its tasks."""
    channels = _channels(spec.owner.email, _FAILED, _WHY)
    return [TimeoutNotifier(channels)] if channels else []


def without_run(spec: DatasetSpec | ModelSpec, loop: str, what: str, command: str, context: Mapping[str, Any]) -> None:
    """Tell the owner of intervals that no run of a loop worked on; the run that noticed it goes on."""
    of_dag = dag_id(spec.name, loop)
    log = logging.getLogger("evergreen.alerts")
    log.warning("%s <%s> is told: %s has no run of %s", spec.owner.name, spec.owner.email, of_dag, what)
    log.warning("Next step: %s", command)
    why = f"No run of {of_dag} worked on {what}, or none to its end: Airflow was down, the DAG paused, or a run failed."
    message = {**context, "missing": f"{of_dag} {what}", "exception": f"{why}\nNext step: {command}"}
    for channel in _channels(spec.owner.email, _MISSING, _WHY):
        channel(message)


def wrong(spec: ModelSpec, problems: Sequence[str], context: Mapping[str, Any]) -> None:
    """Tell the owner what is wrong with what serves of a model; the run that noticed it goes on."""
    log = logging.getLogger("evergreen.alerts")
    for problem in problems:
        log.warning("%s <%s> is told: %s: %s", spec.owner.name, spec.owner.email, spec.name, problem)
    message = {**context, "model": spec.name, "exception": "\n".join(problems)}
    for channel in _channels(spec.owner.email, _WRONG, _WHY):
        channel(message)


async def late(name: str, of: str, context: dict[str, Any]) -> None:
    """Tell the owner of a scheduled run that has not ended by its deadline. Of one that failed its task told already.

    Airflow's triggerer calls it, with a context that is JSON: the run and its deadline.
    """
    await asyncio.to_thread(_late, name, of, context)  # notifiers block


def _late(name: str, of: str, context: Mapping[str, Any]) -> None:
    run = context["dag_run"]
    if run["state"] in ("success", "failed"):
        return
    declared = load(settings().models, settings().data)
    spec = (declared.datasets if of == "dataset" else declared.models)[name]
    if isinstance(spec, SpecError):
        raise spec
    why = (
        f"The run of the interval from {run['data_interval_start']} was to be done by "
        f"{context['deadline']['deadline_time']} (schedule.late); it is {run['state']}"
    )
    next_step = (
        "look at the run in Airflow: which task waits for what, a batch, a slot of its pool, a DAG that is paused; "
        "`evergreen status` lists the intervals that are late or missing"
    )
    address = f"{settings().airflow_url}/dags/{run['dag_id']}/runs/{run['dag_run_id']}"
    log = logging.getLogger("evergreen.alerts")
    log.error("%s <%s> is told: %s is late. %s", spec.owner.name, spec.owner.email, run["dag_id"], why)
    log.error("Next step: %s", next_step)
    message = {
        "dag": DAG(run["dag_id"]),  # its templates are rendered with its filters
        "run_id": run["dag_run_id"],
        "exception": f"{why}\nNext step: {next_step}",
        "ti": SimpleNamespace(log_url=address),
    }
    for channel in _channels(spec.owner.email, _LATE, _WHY):
        channel(message)


def _channels(email: str, subject: str, text: str) -> list[BaseNotifier]:
    notifiers: list[BaseNotifier] = []
    channels = settings().alerts
    if "smtp" in channels:
        from airflow.providers.smtp.notifications.smtp import SmtpNotifier

        notifiers.append(SmtpNotifier(to=email, subject=subject, html_content=f"<pre>{text}{_POINTERS}</pre>"))
    if "slack" in channels:
        from airflow.providers.slack.notifications.slack_webhook import SlackWebhookNotifier

        notifiers.append(SlackWebhookNotifier(text=f"{subject}\n{text}{_POINTERS}"))
    return notifiers
