"""Back to the last known good version: what `evergreen rollback` and the DAG `<model>__rollback` do."""

from __future__ import annotations

from typing import Any

from evergreen.errors import NothingToRollBackTo
from evergreen.registry import audit, rules, store
from evergreen.serve import client
from evergreen.settings import settings


def rollback(model: str, *, reason: str, actor: str, version: int | None = None) -> dict[str, Any]:
    """Let the server take the last known good version, then mark the champion and move the alias. Again after a kill is harmless.

    Args:
        version: the one to roll back from; None: the champion, whichever it is. A task names it, since it may be cleared long after
            another version has taken the champion's place.

    Returns:
        `{"from", "to", "message"}`

    Raises:
        NothingToRollBackTo: there is no other good version, or the one to roll back from is not the champion.
        DeployRefused: the server cannot serve it; the champion serves on.
    """
    with store.locked(model):
        champion, good = store.champion(model), store.last_known_good(model)
        if version is not None and (champion is None or champion.number != version):
            return _before(model, version, champion)
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


def _before(model: str, version: int, champion: rules.Version | None) -> dict[str, Any]:
    """What an earlier attempt has done already; an error when none has."""
    if champion is None or not store.version(model, version).rolled_back:
        raise NothingToRollBackTo(
            f"rolling back {model} from version {version}",
            found=f"champion: {_named(champion)}",
            expected=f"version {version} as the champion",
            next_step=f"see what serves ({settings().server_url}/models/{model}), and name that version",
        )
    message = f"{model}: version {version} was rolled back from before; version {champion.number} serves"
    return {"from": version, "to": champion.number, "message": message}


def _named(version: rules.Version | None) -> str:
    return "none" if version is None else f"version {version.number}"
