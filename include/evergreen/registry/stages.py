"""The stage between the gates and serving: a candidate that passed becomes a version."""

from __future__ import annotations

import logging

from evergreen.errors import StageSkipped
from evergreen.handovers.train import Judged, Registered
from evergreen.registry import rules
from evergreen.registry.tags import Tag
from evergreen.run import Run

log = logging.getLogger(__name__)


def register(run: Run, judged: Judged) -> Registered:
    """Register the candidate as a version, once. It does not serve yet.

    Raises:
        StageSkipped: it did not pass its gates, is older than the champion, or was rolled back from.
        ArtifactUntrusted: a file of the candidate is no longer what training recorded, or the champion was not adopted.
        EvidenceMissing: MLflow has a champion that the ledger does not know of.
    """
    from evergreen.history import events, ledger
    from evergreen.registry import records, store

    model = run.spec.model
    if not judged.passed:
        raise StageSkipped(f"not promoted: {judged.reason}")
    with store.locked(model):
        champion = store.champion(model)
        existing = rules.version_of_rerun(records.find_by_key(model, judged.key), judged.run.id, champion)
        refusal = rules.registration_refusal(run.as_of, existing, champion)
        if refusal:
            raise StageSkipped(f"not promoted: {refusal}")
        version = store.register(
            model,
            run_id=judged.run.id,
            key=judged.key,
            as_of=run.as_of,
            tags={Tag.FAMILY: judged.family, Tag.REASON: run.reason},
        )
        registered = events.Registered(
            id=f"registered/{model}/{version.number}",
            model=model,
            as_of=version.as_of,
            actor=run.actor,
            reason=run.reason,
            version=version.number,
            run_id=version.run_id,
            key=version.key,
            family=version.family,
        )
        ledger.append(registered)
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
        run=judged.run,
        key=version.key,
        as_of=version.as_of,
        family=version.family,
        metric=judged.metric,
        score=judged.score,
        compared_with=judged.compared_with,
    )
