"""Whether a candidate may become a version: by what is registered, and by the person who had to allow it."""

from __future__ import annotations

from evergreen.errors import EvidenceMissing
from evergreen.handovers.gate import failures
from evergreen.history import ledger, story
from evergreen.history.events import Refitted
from evergreen.registry import records, rules, store
from evergreen.registry.rules import Version, refit_key
from evergreen.run import Run
from evergreen.spec.rollout import DirectRollout


def refusal(run: Run, existing: Version | None, champion: Version | None) -> str | None:
    """Why a training registers nothing, whatever its candidate is worth; None when it may.

    Args:
        existing: the version that a rerun of it finds.
    """
    refused = rules.registration_refusal(run.as_of, existing, champion)
    now = ledger.standing(run.spec.model)
    if not isinstance(run.spec.rollout, DirectRollout):
        refused = refused or rules.rollout_refusal(None if existing is None else existing.number, now)
    return refused or (None if run.by_hand else rules.early_refusal(run.as_of, now.until))


def in_vain(run: Run, key: str, run_id: str) -> str | None:
    """Why nobody need be asked about a candidate: nothing would come of it; None: something may.

    Args:
        key, run_id: of the fit that the gates judged; its refit is looked for too.
    """
    champion = store.champion(run.spec.model)
    for each in (refit_key(key), key):
        found = records.find_by_key(run.spec.model, each)
        # A refit's run is another one; where its version stands, the training was registered.
        made_by = run_id if found is None or each == key else found.run_id
        existing = rules.version_of_rerun(found, made_by, champion)
        if existing is not None:
            return refusal(run, existing, champion)
    return refusal(run, None, champion)


def check(run: Run, registered: str, gated: str, *, asked: bool) -> None:
    """Hold a registration against the spec and the ledger: a hand-over alone makes no gate pass, and no approval.

    Args:
        registered: the MLflow run of the fit that is to be registered.
        gated: that of the fit that the gates judged.
        asked: whether a person was asked about it.

    Raises:
        EvidenceMissing: that fit did not pass its gates, as they were decided last; or nobody allowed it by them; or
            what is to be registered is neither that fit nor its refit.
    """
    entries, risk = ledger.entries(run.spec.model, "validated", "judged", "approval", "refitted"), run.spec.risk
    refits = [entry.event for entry in entries if isinstance(entry.event, Refitted)]
    if registered != gated and not any((each.run_id, each.gated) == (registered, gated) for each in refits):
        raise EvidenceMissing(
            f"registering a version of {run.subject}",
            found=f"the MLflow run {registered}, of which the ledger has no refit of {gated}",
            expected="the fit that the gates judged, or its refit",
            next_step="clear `refit`, and what comes after it",
        )
    gates = story.checked(entries, gated)
    failed = failures(gates)
    if failed or not gates:
        raise EvidenceMissing(
            f"registering a version of {run.subject}",
            found=f"in the ledger: {failed}" if gates else "no gates of it in the ledger",
            expected=f"gates of the MLflow run {gated} that all pass, as they were decided last",
            next_step="clear `gates`, and what comes after it",
        )
    if not asked and (risk is None or not risk.why_asked(story.warnings(entries, gated))):
        return
    approval = story.approval(entries, gated)
    if approval is None or not approval.approved:
        raise EvidenceMissing(
            f"registering a version of {run.subject}",
            found="no approval in the ledger" if approval is None else f"it was rejected: {approval.reason}",
            expected=f"one of the MLflow run {gated}, by the gates that it has now (risk in model.yaml)",
            next_step="clear `approve`, and what comes after it: a person is asked again",
        )
