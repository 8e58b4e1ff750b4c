"""Back to the last known good version: what `evergreen rollback` and the DAG `<model>__rollback` do."""

from __future__ import annotations

from typing import Any

from evergreen.errors import NothingToRollBackTo
from evergreen.registry import audit, rules, store
from evergreen.serve import client
from evergreen.settings import settings


def rollback(model: str, *, reason: str, actor: str, version: int | None = None) -> dict[str, Any]:
    """Let the server take the last known good version, then mark the one that is left and move the alias. Again after a kill is
    harmless.

    A deployment that was killed halfway leaves a server that is ahead of the alias; then the champion is what rollback returns to.

    Args:
        version: the one to roll back from; None: the one that serves. A task names it, since it may be cleared long after another
            version has taken its place.

    Returns:
        `{"from", "to", "message"}`

    Raises:
        NothingToRollBackTo: there is no other good version, or the one to roll back from does not serve.
        DeployRefused: the server cannot serve it; what served serves on.
    """
    with store.locked(model):
        champion, good, serving = store.champion(model), store.last_known_good(model), client.serving(model)
        ahead = champion is not None and serving is not None and serving > champion.number
        left = store.version(model, serving) if ahead and serving is not None else champion
        if version is not None and (left is None or left.number != version):
            return _before(model, version, left)
        target = champion if ahead else rules.rollback_target(champion, good)
        if left is None or target is None:
            raise NothingToRollBackTo(
                f"rolling back {model}",
                found=f"champion: {_named(champion)}; last known good: {_named(good)}",
                expected="a last known good version beside the champion",
                next_step=f"train a better version (`{model}__train`), or read the audit trail",
            )
        if ahead:  # told first: once the server has gone back, nothing else says that this version ever served
            _tell(model, left, target, reason, actor)
            client.deploy(model, target.number)
        else:
            client.deploy(model, target.number)
            _tell(model, left, target, reason, actor)
            store.set_champion(model, target.number, last_known_good=target.number)
    message = f"{model}: version {target.number} serves again; version {left.number} was rolled back from ({reason})"
    return {"from": left.number, "to": target.number, "message": message}


def _tell(model: str, left: rules.Version, target: rules.Version, reason: str, actor: str) -> None:
    """Mark the version that is left, and add to the audit trail: once, since a version is rolled back from once."""
    store.mark_rolled_back(model, left.number, reason)
    audit.record(
        id=f"rollback/{model}/{left.number}", as_of=left.as_of, model=model, event="rollback", version=target.number,
        actor=actor, reason=reason, evidence={"from": left.number, "to": target.number},
    )  # fmt: skip


def _before(model: str, version: int, serving: rules.Version | None) -> dict[str, Any]:
    """What an earlier attempt has done already; an error when none has."""
    if serving is None or not store.version(model, version).rolled_back:
        raise NothingToRollBackTo(
            f"rolling back {model} from version {version}",
            found=f"serving: {_named(serving)}",
            expected=f"version {version}, to roll back from it",
            next_step=f"see what serves ({settings().server_url}/models/{model}), and name that version",
        )
    message = f"{model}: version {version} was rolled back from before; version {serving.number} serves"
    return {"from": version, "to": serving.number, "message": message}


def _named(version: rules.Version | None) -> str:
    return "none" if version is None else f"version {version.number}"
