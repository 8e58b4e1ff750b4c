"""What a person sets right: MLflow's registry by the ledger, and a champion that nothing can be done with."""

from __future__ import annotations

from collections.abc import Sequence

from evergreen.errors import EvidenceMissing, NothingToRetire
from evergreen.history import ledger, story
from evergreen.history.events import Restored, Retired
from evergreen.history.story import Entry
from evergreen.registry import mlflow_server, promotion, records, store
from evergreen.registry.rules import in_words


def restore(model: str, *, actor: str) -> tuple[str, ...]:
    """Let MLflow show again what the ledger says of a model: its name, its champion
    and last known good version, their aliases.

    Returns:
        What was changed; nothing when all was right.

    Raises:
        EvidenceMissing: the ledger knows of no champion, nor of one that was retired.
        ServiceUnavailable: MLflow or Postgres does not answer.
    """
    with store.locked(model):
        mlflow_server.check()
        now = ledger.standing(model)
        if now.champion is None and now.retired_champion is None:
            raise EvidenceMissing(
                f"restoring the registry of {model}",
                found="no promotion in the ledger",
                expected="a champion by the ledger",
                next_step=(
                    f"`evergreen registry adopt {model}` if MLflow has versions of an earlier release; else train a "
                    "first one"
                ),
            )
        changes = [*_renamed(model), *_given_back(model, (now.champion, now.last_known_good))]
        before = store.registered(model)[model].aliases if model in store.registered(model) else {}
        store.show(model)
        registered = store.registered(model).get(model)
        after = registered.aliases if registered else {}
        changes += [
            f"the alias {alias} names {in_words(after.get(alias))} again, and named {in_words(before.get(alias))}"
            for alias in (store.CHAMPION, store.LAST_KNOWN_GOOD)
            if before.get(alias) != after.get(alias)
        ]
        if changes:
            _record(model, actor, changes)
    return tuple(changes)


def _renamed(model: str) -> list[str]:
    if model in store.registered(model):
        return []
    name = store.rename_back(model)
    return [] if name is None else [f"the registered model {name} has its name {model} again"]


def _given_back(model: str, numbers: Sequence[int | None]) -> list[str]:
    registered = store.registered(model).get(model)
    versions = registered.versions if registered else ()
    changes = []
    for number in dict.fromkeys(numbers):
        if number is not None and number not in versions:
            made = store.restore(model, number)
            changes.append(f"version {number}, which was deleted, is version {made} of MLflow")
    return changes


def _record(model: str, actor: str, changes: Sequence[str]) -> None:
    def restored(entries: Sequence[Entry]) -> list[Restored]:
        return [
            Restored(
                id=story.next_id(f"restored/{model}", entries),
                model=model,
                as_of=None,
                actor=actor,
                reason="MLflow's registry was set right by the ledger",
                changes=tuple(changes),
            )
        ]

    ledger.extend(model, restored, "restored")


def retire(model: str, number: int, *, reason: str, actor: str) -> str:
    """Take a version out of the line for good: nothing is compared with it,
    rolled back to it, or promoted by its rerun.

    The way out when the only champion cannot be loaded any more. What serves
    serves on until a new version takes its place. An intent for the version that was left halfway ends with it: no
    retry of its deployment would go on.

    Returns:
        What came of it, for people.

    Raises:
        NothingToRetire: rollback is the way: there is a last known good version.
        EvidenceMissing: there is no such version.
    """
    with store.locked(model):
        version, now = records.version(model, number), ledger.standing(model)
        good = now.last_known_good
        if number == now.champion and good not in (None, number):
            raise NothingToRetire(
                f"retiring version {number} of {model}",
                found=f"it is the champion, and version {good} is the last known good one",
                expected="a champion without another good version, or a version that does not serve",
                next_step=(
                    f"`evergreen rollback {model}`; if version {good} cannot be loaded either, retire that one first"
                ),
            )
        if now.pending is not None and now.pending.version == number:
            promotion.give_up(now.pending, f"its version was retired: {reason}")
        ledger.append(
            Retired(
                id=f"retired/{model}/{number}",
                model=model,
                as_of=version.as_of,
                actor=actor,
                reason=reason,
                version=number,
            )
        )
        store.show(model)
    after = (
        "there is no champion now: the next training is compared with none"
        if number == now.champion
        else f"the champion is {in_words(now.champion)}"
    )
    return f"{model}: version {number} was retired ({reason}); {after}"
