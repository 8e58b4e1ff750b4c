"""To let the running server take a version, with the intent in the ledger
before; and to end what somebody left halfway.

Call everything under `store.locked(model)`.
"""

from __future__ import annotations

import logging

from evergreen.errors import PermanentError
from evergreen.history import ledger
from evergreen.history.events import Deploying
from evergreen.registry import promotion
from evergreen.serve import client

log = logging.getLogger(__name__)


def carry_out(intent: Deploying) -> bool:
    """Let the server take the version of an intent, then record what follows; whether MLflow shows it too.

    Raises:
        DeployRefused: the server did not take it, which ends the intent; what served serves on.
        ServiceUnavailable: nobody knows whether it did: the intent stands until somebody does.
    """
    try:
        client.deploy(intent.model, intent.version)
    except PermanentError as refused:
        promotion.give_up(intent, f"refused: {refused.found}")
        raise
    return promotion.complete(intent)


def end_pending(model: str, *, retried: int | None = None) -> Deploying | None:
    """Finish what a killed process had begun, by its recorded intent; the intent that was finished, if one was.

    The version that was to be promoted is the champion if the server answers with it. If not, nobody saw it answer: the
    intent ends there, and who wants the version deploys it again. A rollback is carried out: a person wanted the other
    version gone.

    Args:
        retried: a version that the caller is about to promote itself: its intent stands.
    """
    intent = ledger.standing(model).pending
    if intent is None:
        return None
    number = client.serving(model)
    if number == intent.version:
        promotion.complete(intent)
    elif intent.purpose == "rollback":
        carry_out(intent)
    elif intent.version == retried:
        return None
    else:
        promotion.give_up(intent, f"begun by {intent.actor} and not finished; the server answers with {_named(number)}")
        return None
    log.warning(
        "%s: finished what %s had begun: version %d, for a %s", model, intent.actor, intent.version, intent.purpose
    )
    return intent


def _named(number: int | None) -> str:
    return "no version" if number is None else f"version {number}"
