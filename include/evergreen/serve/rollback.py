"""Back to the last known good version: what `evergreen rollback` and the DAG `<model>__rollback` do."""

from __future__ import annotations

from evergreen.errors import NothingToRollBackTo, RequestRefused, ServiceUnavailable
from evergreen.handovers.rollback import RolledBack
from evergreen.registry import audit, mlflow_server, records, rules, store
from evergreen.registry.promotion import promote
from evergreen.serve import client


def rollback(model: str, *, reason: str, actor: str, version: int | None = None) -> RolledBack:
    """Let the server take the last known good version, then record that, then show it in MLflow, which may be away. Again after a kill
    is harmless.

    A deployment that was killed halfway leaves a server that is ahead of the audit trail; that follows it first, so that it is the
    deployed version that is rolled back from.

    Args:
        version: the one to roll back from; None: the champion. A task names it, since it may be cleared long after another
            version has taken its place.

    Raises:
        NothingToRollBackTo: there is no other good version, or the one to roll back from is not the champion.
        DeployRefused: the server cannot serve it; what served serves on.
    """
    with store.locked(model):
        number = client.serving(model)
        champion, good = _caught_up(model, number, actor)
        if version is None:
            version = _unshown(model, champion)
        if version is not None and (champion is None or champion.number != version):
            store.show(model)
            return _before(model, version, champion, number)
        target = rules.rollback_target(champion, good)
        if champion is None or target is None:
            raise NothingToRollBackTo(
                f"rolling back {model}",
                found=f"champion: {_named(champion)}; last known good: {_named(good)}",
                expected="a last known good version beside the champion",
                next_step=f"train a better version (`{model}__train`), or read the audit trail",
            )
        client.deploy(model, target.number)
        audit.record(  # at once: until then the bad version is the champion, which the server takes at its next start
            id=f"rollback/{model}/{champion.number}", as_of=champion.as_of, model=model, event="rollback", version=target.number,
            actor=actor, reason=reason, evidence={"from": champion.number, "to": target.number},
        )  # fmt: skip
        later = "" if store.show(model) else "; MLflow does not show it yet: run this again once it answers"
    message = f"{model}: version {target.number} serves again; version {champion.number} was rolled back from ({reason}){later}"
    return RolledBack(retired=champion.number, version=target.number, message=message)


def _unshown(model: str, champion: rules.Version | None) -> int | None:
    """The version that was rolled back from last, while MLflow's aliases do not show it: what is left of that rollback is to be done."""
    last = next((event for event in reversed(audit.trail(model)) if event["event"] in ("promotion", "rollback")), None)
    if champion is None or last is None or last["event"] != "rollback":
        return None
    try:
        mlflow_server.check()
        found = store.registered(model).get(model)
    except (ServiceUnavailable, RequestRefused):
        return None
    aliases = found.aliases if found else {}
    shown = all(aliases.get(alias) == champion.number for alias in (store.CHAMPION, store.LAST_KNOWN_GOOD))
    return None if shown else int(last["evidence"]["from"])


def _caught_up(model: str, number: int | None, actor: str) -> tuple[rules.Version | None, rules.Version | None]:
    """Champion and last known good, once the audit trail has followed a server that is ahead of it."""
    champion, good = store.champion(model), store.last_known_good(model)
    if champion is None or number in (None, champion.number):
        return champion, good
    serving = records.version(model, number)
    if not rules.newer(serving, champion):  # the server fell back, since it cannot load the champion
        return champion, good
    promote(model, serving, champion, good, actor=actor, reason="serves already: its deployment was killed halfway")
    return serving, store.last_known_good(model)


def _before(model: str, version: int, champion: rules.Version | None, number: int | None) -> RolledBack:
    """What an earlier attempt has done already; an error when none has."""
    if champion is None or not records.version(model, version).rolled_back:
        instead = (
            f"; version {number} answers in its place" if champion and number not in (None, champion.number) else ""
        )
        raise NothingToRollBackTo(
            f"rolling back {model} from version {version}",
            found=f"champion: {_named(champion)}{instead}",
            expected=f"version {version}, to roll back from it",
            next_step="name the champion" if champion else f"train a first version (`{model}__train`)",
        )
    message = f"{model}: version {version} was rolled back from before; the champion is version {champion.number}"
    return RolledBack(retired=version, version=champion.number, message=message)


def _named(version: rules.Version | None) -> str:
    return "none" if version is None else f"version {version.number}"
