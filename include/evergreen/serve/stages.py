"""From a registered version to the one that serves: a fresh process must answer it
first, then all replicas load it, and then it is recorded, which is what they serve by: as the champion, or by the first
step of a rollout beside it."""

from __future__ import annotations

import logging

from evergreen.errors import EvidenceMissing, StageSkipped, showing
from evergreen.handovers.rollback import RolledBack
from evergreen.handovers.train import Deployed, Probed, Registered
from evergreen.links import Link
from evergreen.registry import rules
from evergreen.run import Run
from evergreen.settings import settings
from evergreen.spec.rollout import DirectRollout

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
    confirmed, it is recorded as the champion, and they serve it; where the spec's strategy has steps, its rollout
    beside the champion is opened instead. Running this again is harmless.

    Raises:
        StageSkipped: the version is older than the champion, was rolled back from or rejected, would undo a fall back
            before labels say so, or the rollout of another one is open.
        EvidenceMissing: its gates compared it with another champion than the one of now.
        DeployRefused: a replica could not load it, or did not in time; the champion serves on.
        ServiceUnavailable: no replica lives, or what they load from does not answer.
    """
    from evergreen.history import ledger
    from evergreen.registry import records, store
    from evergreen.serve import deployment, opening

    model, server = run.spec.model, f"{settings().server_url}/docs"
    with showing({Link.MODEL_SERVER: server}), store.locked(model):
        version, champion, now = records.version(model, probed.version), store.champion(model), ledger.standing(model)
        serving = champion is not None and champion.number == version.number
        opened = now.rollout is not None and now.rollout.version == version.number
        by_steps = opened or not (champion is None or serving or isinstance(run.spec.rollout, DirectRollout))
        deployment.end_pending(model, retried=("rollout" if by_steps else "promotion", version.number))
        refusal = rules.promotion_refusal(version, champion) or rules.rejection_refusal(version.number, now)
        if not run.by_hand and not serving:
            refusal = refusal or rules.early_refusal(version.as_of, now.until)
        if refusal:
            raise StageSkipped(f"not deployed: {refusal}")
        if stale := rules.comparison_refusal(version, probed.compared_with, champion):
            raise EvidenceMissing(
                f"deploying {run.subject}",
                found=stale,
                expected="gates that compared it with the champion of now",
                next_step="clear `evaluate` of this run, with what comes after it",
            )
        rollout = replaced = None
        if serving:
            deployment.serve_again(model, version.number)
            store.show(model)
        elif by_steps:
            rollout = opening.opened(run, version, champion, probed.compared_with)
        else:
            deployment.carry_out(opening.intent(run, "promotion", version, champion))
        if rollout is None:
            good = store.last_known_good(model)
            replaced = None if good is None else good.number
            log.info("Version %d of %s serves; before it: %s", version.number, model, replaced or "none")
    return Deployed(
        version=version.number,
        replaced=replaced,
        rollout=rollout,
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
