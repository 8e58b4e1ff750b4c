"""From a registered version to the one that serves: a fresh process must answer it
first, then all replicas load it, and then it is recorded, which is what they serve by."""

from __future__ import annotations

import logging

from evergreen.errors import EvidenceMissing, StageSkipped, showing
from evergreen.handovers.rollback import RolledBack
from evergreen.handovers.train import Deployed, Probed, Registered
from evergreen.links import Link
from evergreen.registry import rules
from evergreen.run import Run
from evergreen.settings import settings

log = logging.getLogger(__name__)


def probe(run: Run, registered: Registered) -> Probed:
    """Let a fresh server process load the version; it must answer as training did.

    Raises:
        ModelUnloadable: the process does not come up with the version, or answers differently.
        ServiceUnavailable: what it loads from does not answer, or the machine is too busy to start it.
    """
    from evergreen.serve import probing

    rows, difference = probing.probe(run.spec.model, registered.version, registered.run.id)
    log.info(
        "A fresh server answers version %d: %d rows, at most %.1e from training", registered.version, rows, difference
    )
    return Probed(**{**dict(registered), "probed": rows})


def deploy(run: Run, probed: Probed) -> Deployed:
    """Record the intent, by which each replica loads the version beside the one that serves. Once all live ones have
    confirmed, it is recorded as the champion, and they serve it. Running this again is harmless.

    Raises:
        StageSkipped: the version is older than the champion, was rolled back from, or would undo a fall back before
            labels say so.
        EvidenceMissing: its gates compared it with another champion than the one of now.
        DeployRefused: a replica could not load it, or did not in time; the champion serves on.
        ServiceUnavailable: no replica lives, or what they load from does not answer.
    """
    from evergreen.history import ledger
    from evergreen.registry import promotion, records, store
    from evergreen.serve import deployment

    model, server = run.spec.model, f"{settings().server_url}/docs"
    with showing({Link.MODEL_SERVER: server}), store.locked(model):
        deployment.end_pending(model, retried=probed.version)
        version, champion = records.version(model, probed.version), store.champion(model)
        refusal = rules.promotion_refusal(version, champion)
        if not run.by_hand and (champion is None or champion.number != version.number):
            refusal = refusal or rules.early_refusal(version.as_of, ledger.standing(model).until)
        if refusal:
            raise StageSkipped(f"not deployed: {refusal}")
        if stale := rules.comparison_refusal(version, probed.compared_with, champion):
            raise EvidenceMissing(
                f"deploying {run.subject}",
                found=stale,
                expected="gates that compared it with the champion of now",
                next_step="clear `evaluate` of this run, with what comes after it",
            )
        if champion is not None and champion.number == version.number:
            deployment.serve_again(model, version.number)
            store.show(model)
        else:
            intent = promotion.intend(
                version,
                "promotion",
                champion,
                model=model,
                actor=run.actor,
                reason=run.reason,
                decision_id=run.decision_id,
            )
            deployment.carry_out(intent)
        good = store.last_known_good(model)
        replaced = None if good is None else good.number
    log.info("Version %d of %s serves; before it: %s", version.number, model, replaced or "none")
    return Deployed(
        version=version.number,
        replaced=replaced,
        run=probed.run,
        metric=probed.metric,
        score=probed.score,
        server=server,
    )


def roll_back(run: Run) -> RolledBack:
    """Let the last known good version serve again, in place of the one that the form names.

    Cleared later, it does nothing more: it names the version that it rolls back from.

    Raises:
        NothingToRollBackTo: there is no other good version, or the one to roll back from is not the champion.
        DeployRefused: no replica can serve it; what served serves on.
    """
    from evergreen.serve.rollback import rollback

    rolled_back = rollback(run.spec.model, reason=run.reason, actor=run.actor, version=run.version)
    log.info("%s", rolled_back.message)
    return rolled_back
