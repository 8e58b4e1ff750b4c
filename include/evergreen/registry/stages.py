"""The stage between the gates and serving: a candidate that passed becomes a version."""

from __future__ import annotations

import logging

from evergreen.errors import StageSkipped
from evergreen.handovers.train import Refitted, Registered
from evergreen.registry import rules
from evergreen.registry.tags import Tag
from evergreen.run import Run

log = logging.getLogger(__name__)


def register(run: Run, fitted: Refitted) -> Registered:
    """Register the candidate, or its refit, as a version, once. It does not serve yet.

    Raises:
        StageSkipped: it did not pass its gates, is older than the champion, was rolled back from, or would undo a fall
            back before labels say so; or the rollout of another version is open, which would keep it waiting.
        ArtifactUntrusted: a file of the candidate is no longer what training recorded, the champion was not adopted, or
            its signature does not hold.
        EvidenceMissing: MLflow has a champion that the ledger does not know of, or gates that passed or a person's
            approval are not in the ledger.
    """
    from evergreen.registry import allowing, records, registering, signatures, store

    model = run.spec.model
    if not fitted.passed:
        raise StageSkipped(f"not promoted: {fitted.reason}")
    gated = fitted.gated.id if fitted.refit is not None and fitted.refit.chosen else None
    with store.locked(model):
        champion = store.champion(model)
        if champion is not None:
            signatures.check(model, champion, records.candidate(champion.run_id))
        existing = rules.version_of_rerun(records.find_by_key(model, fitted.key), fitted.run.id, champion)
        if refusal := allowing.refusal(run, existing, champion):
            raise StageSkipped(f"not promoted: {refusal}")
        allowing.check(run, fitted.run.id, fitted.gated.id, asked=bool(fitted.asked))
        version = store.register(
            model,
            run_id=fitted.run.id,
            key=fitted.key,
            as_of=run.as_of,
            tags={
                Tag.FAMILY: fitted.family,
                Tag.REASON: run.reason,
                **({} if gated is None else {Tag.GATED_RUN: gated}),
            },
        )
        registering.record(run, version, gated=gated)
    log.info(
        "Version %d of %s (%s, key %s): %s",
        version.number,
        model,
        version.family,
        version.key,
        "registered" if existing is None else "was registered before",
    )
    return Registered(
        version=version.number,
        run=fitted.run,
        key=version.key,
        as_of=version.as_of,
        family=version.family,
        metric=fitted.metric,
        score=fitted.score,
        compared_with=fitted.compared_with,
    )
