"""Back to the last known good version: what `evergreen rollback` and the DAG `<model>__rollback` do."""

from __future__ import annotations

from evergreen.errors import NothingToRollBackTo, RequestRefused, ServiceUnavailable
from evergreen.handovers.rollback import RolledBack
from evergreen.history import events, ledger
from evergreen.registry import mlflow_server, promotion, records, rules, store
from evergreen.registry.promotion import FallBack
from evergreen.registry.rules import Version
from evergreen.serve.deployment import Carried, carry_out, end_pending


def rollback(
    model: str, *, reason: str, actor: str, version: int | None = None, fall_back: FallBack | None = None
) -> RolledBack:
    """Record the intent, by which each replica lets the last known good version serve; then record that it does, then
    show it in MLflow, which may be away. Again after a kill is harmless.

    What a killed deployment or rollback had begun is ended first, by its recorded intent.

    Args:
        version: the one to roll back from; None: the champion. A task names it, since it may be cleared long
            after another version has taken its place.
        fall_back: the monitor wants it, while labels are open; None: a person does.

    Raises:
        NothingToRollBackTo: there is no other good version, or the one to roll back from is not the champion.
        DeployRefused: no replica can serve it; what served serves on.
    """
    with store.locked(model):
        finished = end_pending(model)
        if finished is not None and finished.purpose == "rollback" and version in (None, finished.replaces):
            shown = Carried(store.show(model), ())
            return _done(finished, f"begun by {finished.actor}: {finished.reason}", shown)
        champion, good = store.champion(model), store.last_known_good(model)
        if version is None:
            version = _unshown(model, champion, good)
        target = rules.rollback_target(champion, good)
        if version is not None and (champion is None or champion.number != version):
            store.show(model)
            return _before(model, version, champion)
        if champion is None or target is None:
            raise NothingToRollBackTo(
                f"rolling back {model}",
                found=f"champion: {_named(champion)}; last known good: {_named(good)}",
                expected="a last known good version beside the champion",
                next_step=f"train a better version (`{model}__train`); if the champion cannot be loaded any more,"
                f" `evergreen retire {model} {champion.number if champion else '<version>'}` first",
            )
        # The intent is what replicas follow: whichever has the good version serves it from now on.
        intent = promotion.intend(
            target, "rollback", champion, model=model, actor=actor, reason=reason, fall_back=fall_back
        )
        return _done(intent, reason, carry_out(intent))


def _unshown(model: str, champion: Version | None, good: Version | None) -> int | None:
    """The version that was rolled back from last, while MLflow's aliases do not show it: what
    is left of that rollback is to be done."""
    moves = [
        entry.event for entry in ledger.entries(model) if isinstance(entry.event, events.Promoted | events.RolledBack)
    ]
    if champion is None or not moves or not isinstance(moves[-1], events.RolledBack):
        return None
    try:
        mlflow_server.check()
        registered = store.registered(model).get(model)
    except (ServiceUnavailable, RequestRefused):
        return None
    aliases = registered.aliases if registered else {}
    shown = (aliases.get(store.CHAMPION), aliases.get(store.LAST_KNOWN_GOOD))
    return None if shown == (champion.number, good and good.number) else moves[-1].left


def _done(intent: events.Deploying, why: str, carried: Carried) -> RolledBack:
    assert intent.replaces is not None
    later = "".join(f"; {line}" for line in carried.lacking)
    later += "" if carried.shown else "; MLflow does not show it yet: run this again once it answers"
    message = (
        f"{intent.model}: version {intent.version} serves again; version {intent.replaces} was rolled back from "
        f"({why}){later}"
    )
    return RolledBack(left=intent.replaces, version=intent.version, message=message)


def _before(model: str, version: int, champion: Version | None) -> RolledBack:
    """What an earlier attempt has done already; an error when none has."""
    if champion is None or not records.version(model, version).rolled_back:
        raise NothingToRollBackTo(
            f"rolling back {model} from version {version}",
            found=f"champion: {_named(champion)}",
            expected=f"version {version}, to roll back from it",
            next_step="name the champion" if champion else f"train a first version (`{model}__train`)",
        )
    message = f"{model}: version {version} was rolled back from before; the champion is version {champion.number}"
    return RolledBack(left=version, version=champion.number, message=message)


def _named(version: Version | None) -> str:
    return rules.in_words(None if version is None else version.number)
