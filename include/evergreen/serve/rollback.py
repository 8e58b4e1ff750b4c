"""One command back to the last known good version."""

from __future__ import annotations

from typing import Any

from evergreen.errors import NothingToRollBackTo
from evergreen.registry import audit, rules, store
from evergreen.serve import client


def rollback(model: str, *, reason: str, actor: str) -> dict[str, Any]:
    """Let the server take the last known good version, then mark the champion and move the alias. Again after a kill is harmless.

    Returns:
        `{"from", "to", "message"}`

    Raises:
        NothingToRollBackTo: there is no other good version.
        DeployRefused: the server cannot serve it; the champion serves on.
    """
    with store.locked(model):
        champion, good = store.champion(model), store.last_known_good(model)
        target = rules.rollback_target(champion, good)
        if champion is None or target is None:
            raise NothingToRollBackTo(
                f"rolling back {model}",
                found=f"champion: {_named(champion)}; last known good: {_named(good)}",
                expected="a last known good version beside the champion",
                next_step=f"train a better version (`{model}__train`), or read the audit trail",
            )
        client.deploy(model, target.number)
        store.mark_rolled_back(model, champion.number, reason)
        # Before the alias moves: a version is rolled back from once, so this row is the same after a kill and a rerun.
        audit.record(
            id=f"rollback/{model}/{champion.number}", as_of=champion.as_of, model=model, event="rollback", version=target.number,
            actor=actor, reason=reason, evidence={"from": champion.number, "to": target.number},
        )  # fmt: skip
        store.set_champion(model, target.number, last_known_good=target.number)
    message = (
        f"{model}: version {target.number} serves again; version {champion.number} was rolled back from ({reason})"
    )
    return {"from": champion.number, "to": target.number, "message": message}


def _named(version: rules.Version | None) -> str:
    return "none" if version is None else f"version {version.number}"
