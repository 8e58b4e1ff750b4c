"""A version that passed its gates, beside the champion: loaded by all replicas, then its rollout is opened.

Call everything under `store.locked(model)`.
"""

from __future__ import annotations

import logging

from evergreen.errors import StageSkipped
from evergreen.history import ledger
from evergreen.history.events import Deploying, Purpose
from evergreen.registry import promotion
from evergreen.registry.rules import Version
from evergreen.rollout import controller
from evergreen.run import Run
from evergreen.serve import deployment
from evergreen.spec.rollout import DirectRollout

log = logging.getLogger(__name__)


def intent(run: Run, purpose: Purpose, version: Version, champion: Version | None) -> Deploying:
    """Record that a run is about to deploy a version; what an earlier attempt of it recorded goes on."""
    return promotion.intend(
        version,
        purpose,
        champion,
        model=run.spec.model,
        actor=run.actor,
        reason=run.reason,
        decision_id=run.decision_id,
    )


def opened(run: Run, version: Version, champion: Version | None, compared: int | None) -> str:
    """Let all live replicas load a version, open its rollout, and wait until they follow its first step; the rollout's
    id. Again is harmless: what is open stays at its step.

    Args:
        compared: the champion that the version's gates compared it with.

    Raises:
        StageSkipped: no rollout of it may be opened, such as while another one is open.
        DeployRefused: a replica could not load it, or did not in time: nothing is opened.
        ServiceUnavailable: no replica lives, or what they load from does not answer; the next try goes on.
    """
    model, number = run.spec.model, version.number
    now = ledger.standing(model).rollout
    if now is None or now.version != number:
        refusal = controller.refusal(model, number, compared)
        if refusal is None:
            deployment.loaded(intent(run, "rollout", version, champion))
            assert not isinstance(run.spec.rollout, DirectRollout)
            refusal = controller.open_rollout(
                run.spec.rollout,
                model,
                number,
                compared=compared,
                as_of=run.as_of,
                actor=run.actor,
                reason=run.reason,
                decision_id=run.decision_id,
            )
        if refusal is not None:
            raise StageSkipped(f"not rolled out: {refusal}")
        now = ledger.standing(model).rollout
    deployment.settled(model)
    assert now is not None
    log.info("The rollout %s of version %d of %s is open", now.id, number, model)
    return now.id
