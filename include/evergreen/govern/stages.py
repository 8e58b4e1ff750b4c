"""The stages in which a person is asked, where the spec's risk asks for one, and in which a version gets its card."""

from __future__ import annotations

import logging

from evergreen.errors import ApprovalWanted, RunError
from evergreen.govern import rules
from evergreen.handovers.train import Approved, Judged, Registered
from evergreen.run import Run

log = logging.getLogger(__name__)


def approve(run: Run, judged: Judged) -> Approved:
    """Ask a person whether a candidate that passed its gates may be promoted, where its risk asks for one. What its
    gates said and what warns is read in the ledger, and not in what the task before hands over.

    Nobody is asked about a candidate that could not be promoted anyway, or that was allowed before by the same gates.

    Raises:
        ApprovalWanted: a person must say it first.
        RunError: who said it may not.
    """
    from evergreen.govern import approvals
    from evergreen.history import ledger, story, timeline
    from evergreen.registry import allowing

    risk, entries = run.spec.risk, ledger.entries(run.spec.model, "validated", "judged")
    recorded = {"gates": story.checked(entries, judged.run.id), "warnings": story.warnings(entries, judged.run.id)}
    judged = judged.model_copy(update=recorded)
    why = risk.why_asked(judged.warnings) if risk is not None and judged.passed else ""
    nobody = Approved(**dict(judged), asked="", approver=None)
    if risk is None or not why:
        log.info("Nobody is asked: %s", "nothing is promoted" if not judged.passed else "its risk does not ask for it")
        return nobody
    said_already = run.approval is not None  # which is kept, whatever came between
    if not said_already and (vain := allowing.in_vain(run, judged.key, judged.run.id)) is not None:
        log.info("Nobody is asked: %s", vain)
        return nobody.model_copy(update={"passed": False, "reason": vain})
    before = approvals.of(run.spec.model, judged.run.id)
    if before is not None and before.approved:
        log.info("Nobody is asked: %s allowed it before (%s)", before.by, before.reason)
        return nobody.model_copy(update={"asked": before.why, "approver": before.by})
    if run.approval is None:
        asked = rules.question(run, judged, why)
        raise ApprovalWanted(asked.subject, asked.body)
    if (problem := rules.refused(risk, run.approval)) is not None:
        raise RunError(
            f"asking who allows {judged.family} of {run.subject}",
            found=problem,
            expected=f"a reason, by one of {', '.join(risk.approvers)}",
            next_step="clear `approve`: they are asked again",
        )
    said = approvals.record(run, judged, risk, why)
    log.info("%s: %s", timeline.describe(said), "it goes on" if said.approved else "nothing is promoted")
    if said.approved:
        return nobody.model_copy(update={"asked": why, "approver": said.by})
    reason = f"rejected by {said.by}: {said.reason}" if said.by else said.reason
    return nobody.model_copy(update={"asked": why, "passed": False, "reason": reason})


def card(run: Run, registered: Registered) -> Registered:
    """Write the version's card: a page, and files of its MLflow run."""
    from evergreen.govern import carding

    page = carding.write(run, registered.version)
    log.info("The card of version %d: %s", registered.version, page)
    return registered.model_copy(update={"card": page})
