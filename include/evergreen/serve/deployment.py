"""To let the replicas load a version, with the intent in the ledger before, and the promotion or rollback after; and to
end what somebody left halfway.

Call everything under `store.locked(model)`.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from datetime import datetime

from evergreen.errors import DeployRefused, PermanentError, ServiceUnavailable
from evergreen.history import ledger
from evergreen.history.events import Deploying, Purpose
from evergreen.registry import promotion
from evergreen.rollout import controller
from evergreen.serve import replicas
from evergreen.serve.replicas import Said
from evergreen.settings import settings

log = logging.getLogger(__name__)

PATIENCE = 120.0  # seconds in which live replicas must have loaded a version
ROLLBACK_PATIENCE = 20.0  # the same of a rollback, which goes on without those that have not
APPEARING = 10.0  # seconds until a first replica is alive, or MLflow answers one
SWAPPING = 10.0  # seconds until what is recorded serves
_EVERY = 0.05


@dataclass(frozen=True)
class Carried:
    """What came of an intent."""

    shown: bool  # MLflow shows it
    lacking: tuple[str, ...]  # what is said of each replica that does not serve the version, or may not


def carry_out(intent: Deploying) -> Carried:
    """Wait until all live replicas have loaded the version of an intent, then record what follows, and wait until they
    serve it.

    Raises:
        DeployRefused: a replica could not load it, or did not in time, which ends the intent; what served serves on.
        ServiceUnavailable: no replica lives, or what they load from does not answer: the intent stands until somebody
            goes on with it.
    """
    loaded(intent)
    shown = promotion.complete(intent)
    return Carried(shown, others(intent.model, intent.version))


def loaded(intent: Deploying) -> None:
    """Wait until all live replicas have loaded the version of an intent; raises as `carry_out` does."""
    try:
        confirmed(intent)
    except PermanentError as refused:
        promotion.give_up(intent, f"refused: {refused.found}")
        raise


def end_pending(model: str, *, retried: tuple[Purpose, int] | None = None) -> Deploying | None:
    """End what a killed process had begun, by its recorded intent; the intent that was finished, if one was.

    A version that was to be promoted, or rolled out, never served: the intent ends there, and who wants the version
    deploys it again. A rollback is carried out: a person wanted the other version gone.

    Args:
        retried: what the caller is about to do itself with a version: the intent for that stands.
    """
    intent = ledger.standing(model).pending
    if intent is None or (intent.purpose, intent.version) == retried:
        return None
    if intent.purpose != "rollback":
        promotion.give_up(intent, f"begun by {intent.actor} and not finished; it never served")
        return None
    carry_out(intent)
    log.warning("%s: finished what %s had begun: a rollback to version %d", model, intent.actor, intent.version)
    return intent


def serve_again(model: str, version: int) -> None:
    """Let the replicas that do not serve the champion try once more, and wait until all live ones serve it.

    Raises:
        DeployRefused: one of them cannot.
        ServiceUnavailable: none lives.
    """
    replicas.ask_again(model)
    asked = time.monotonic()
    while True:
        said = replicas.said(model, version)
        if said.live and not said.behind:
            return
        waited = time.monotonic() - asked
        if not said.live and waited > APPEARING:
            raise _nobody(model, version)
        failed = replicas.reasons(said.behind, "failed")
        # What failed before it was asked again says so for a moment more.
        if waited > PATIENCE or (failed and waited > APPEARING):
            raise _refused(model, version, {name: failed.get(name) for name in said.behind})
        time.sleep(_EVERY)


def confirmed(intent: Deploying) -> None:
    """Wait until the live replicas have loaded the version; a promotion needs all of them, unless the settings want it
    finished; a rollback one, since the other version is to go."""
    finish = intent.purpose == "rollback" or settings().when_unconfirmed == "finish"
    asked = time.monotonic()
    until = asked + (ROLLBACK_PATIENCE if intent.purpose == "rollback" else PATIENCE)
    while True:
        said = replicas.said(intent.model, intent.version)
        # What was said of an earlier intent counts for nothing, but for a version that serves by now.
        own = {
            name: each if each is not None and (each.intent == intent.id or each.state == "serves") else None
            for name, each in said.live.items()
        }
        loaded = {name for name, each in own.items() if each is not None and each.state in ("loaded", "serves")}
        failed, waiting = replicas.reasons(own, "failed"), replicas.reasons(own, "waits")
        late = time.monotonic()
        silent = own.keys() - loaded - failed.keys()
        if own and not silent and (not failed or (finish and loaded)):
            break
        if failed and not finish:
            raise _refused(intent.model, intent.version, failed)
        if own and failed.keys() == own.keys():
            raise _refused(intent.model, intent.version, failed)
        if not own and late > asked + APPEARING:
            raise _nobody(intent.model, intent.version)
        if waiting and silent == waiting.keys() and not (finish and loaded) and late > asked + APPEARING:
            raise _registry_away(intent, waiting)
        if late > until:
            if finish and loaded:
                break
            raise _refused(intent.model, intent.version, failed | {name: waiting.get(name) for name in silent})
        time.sleep(_EVERY)
    for name in sorted(own.keys() - loaded):
        why = failed.get(name) or waiting.get(name) or "it did not confirm in time"
        log.warning("%s: replica %s has not loaded version %d: %s", intent.model, name, intent.version, why)
    log.info("%s: %s loaded version %d", intent.model, _count(len(loaded)), intent.version)


def others(model: str, version: int) -> tuple[str, ...]:
    """Wait until the live replicas serve what was recorded; what is said of each that does not, and of each that shows
    no sign of life."""
    until = time.monotonic() + SWAPPING
    while True:
        said = replicas.said(model, version)
        if said.behind.keys() == replicas.reasons(said.behind, "failed").keys() or time.monotonic() > until:
            break
        time.sleep(_EVERY)
    lines = _lacking(said, version)
    for line in lines:
        log.warning("%s: %s", model, line)
    return tuple(lines)


def settled(model: str) -> tuple[str, ...]:
    """Wait until the live replicas serve what the ledger wants: the champion, and the version beside it in its role and
    with its share; what is said of each that does not, and of each that shows no sign of life."""
    until = time.monotonic() + SWAPPING
    while True:
        now = replicas.following(model)
        behind = now.behind(controller.served(model))
        if (now.live and not behind) or time.monotonic() > until:
            break
        time.sleep(_EVERY)
    lines = [f"replica {name} {why}" for name, why in behind.items()]
    lines += [] if now.live else ["no live replica has the model's folder"]
    lines += [_missed(name, seen) for name, seen in now.missed.items()]
    for line in lines:
        log.warning("%s: %s", model, line)
    return tuple(lines)


def _lacking(said: Said, version: int) -> list[str]:
    """Each replica that does not serve a version, or may not, in words."""
    lines = []
    for name, each in said.behind.items():
        why = "" if each is None or each.reason is None else f": {each.reason}"
        lines.append(f"replica {name} does not serve version {version}{why}")
    return lines + [_missed(name, seen) for name, seen in said.missed.items()]


def _missed(name: str, seen: datetime) -> str:
    return (
        f"replica {name} has shown no sign of life since {seen.isoformat(timespec='seconds')}: it ended, or it is cut"
        " off from Postgres and may answer with what it had"
    )


def _refused(model: str, version: int, why: dict[str, str | None]) -> DeployRefused:
    return DeployRefused(
        f"deploying version {version} of {model}",
        found="; ".join(f"replica {name}: {reason or 'no confirmation in time'}" for name, reason in why.items()),
        expected=f"version {version} loaded by all live replicas",
        next_step=(
            f"what served before still serves; look at {settings().server_url}/models/{model}, the replica's log and"
            " the version in MLflow, then clear this task"
        ),
    )


def _registry_away(intent: Deploying, waiting: dict[str, str | None]) -> ServiceUnavailable:
    return ServiceUnavailable(
        f"deploying version {intent.version} of {intent.model}",
        found="; ".join(f"replica {name}: {reason}" for name, reason in waiting.items()),
        expected="what the version is loaded from answers",
        next_step="look at MLflow; a task is retried by itself, and goes on with what is loaded by then",
    )


def _nobody(model: str, version: int) -> ServiceUnavailable:
    return ServiceUnavailable(
        f"deploying version {version} of {model}",
        found=f"no live replica of the model server that has the folder of {model}",
        expected="one at least",
        next_step="start the model server (`make up`), or look at its log (server.log); a task is retried by itself",
    )


def _count(number: int) -> str:
    return "1 replica" if number == 1 else f"{number} replicas"
