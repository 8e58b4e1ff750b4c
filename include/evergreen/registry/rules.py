"""Which version may be promoted, and which one rollback returns to. Pure."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from evergreen.history.story import Standing

if TYPE_CHECKING:
    from evergreen.history.events import Signed
    from evergreen.registry.signing_keys import PublicKey


@dataclass(frozen=True)
class Version:
    """One registered version of a model."""

    number: int
    run_id: str  # of the MLflow run that made it
    key: str  # of its training set
    as_of: datetime  # what its training knew about
    rolled_back: bool = False  # it served, and was taken out of service for a reason
    family: str = ""
    retired: bool = False  # a person took it out of the line


@dataclass(frozen=True)
class Ended:
    """A run of a training in MLflow that nobody works on any more, whatever became of it."""

    run_id: str
    family: str
    as_of: datetime  # what its training knew about


@dataclass(frozen=True)
class Registered:
    """What MLflow has of a model."""

    aliases: Mapping[str, int]
    versions: Collection[int]


REFIT = "-refit"  # ends the training key of a refit
_SIGNED_AS = b"evergreen: a registered version, 1\n"  # what these keys sign of versions is never anything else


def refit_key(key: str) -> str:
    """The training key of the refit that follows a training: its rows are others."""
    return f"{key}{REFIT}"


def is_refit(key: str) -> bool:
    """Whether a training key is a refit's."""
    return key.endswith(REFIT)


def to_sign(model: str, number: int, run_id: str, key: str, files: Mapping[str, str], entry: str) -> bytes:
    """What a version's signature is of: the same bytes for the same version, few enough for every service that signs.

    Args:
        run_id: of MLflow.
        key: the training's.
        files: name → sha256.
        entry: number and hash of the ledger's entry that registered it.
    """
    said = {"model": model, "version": number, "run_id": run_id, "key": key, "files": dict(files), "entry": entry}
    digest = hashlib.sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    return _SIGNED_AS + digest.encode()


def unsound(
    said: Signed,
    model: str,
    number: int,
    run_id: str,
    key: str,
    *,
    files: Mapping[str, str],
    entries: Collection[str],
    keys: Mapping[str, PublicKey],
) -> str:
    """Why a signature of a version does not hold; empty: it does.

    Args:
        model, number, run_id, key: what is recorded of the version now.
        files: name → sha256 that is recorded of each that is signed.
        entries: of the ledger, as number and hash, those that may have registered it.
        keys: id → key, of those that count.
    """
    if (said.run_id, said.key) != (run_id, key):
        return "another MLflow run, or training, is recorded of it than was signed"
    differing = sorted(name for name in {*files, *said.sha256} if files.get(name) != said.sha256.get(name))
    if differing:
        return f"the recorded digests of {', '.join(differing)} are not those that were signed"
    if said.entry not in entries:
        return (
            f"entry {said.entry.partition(':')[0]} of the ledger, which registered it, is not the one that was signed"
        )
    if said.signed_by not in keys:
        return f"it is signed by the key {said.signed_by}, which does not count"
    message = to_sign(model, number, run_id, key, files, said.entry)
    if not keys[said.signed_by].verifies(base64.b64decode(said.signature), message):
        return f"its signature is not one of the key {said.signed_by}"
    return ""


def in_words(number: int | None) -> str:
    """A version, or that there is none, as messages name it."""
    return "none" if number is None else f"version {number}"


def disagreements(
    model: str, standing: Standing, registered: Registered | None, recorded: Collection[int]
) -> list[str]:
    """What MLflow says of a model otherwise than the ledger, and what to do about it. MLflow's word counts for nothing.

    Args:
        registered: what MLflow has; None when it has no such registered model.
        recorded: the versions that Evergreen registered or adopted.
    """
    if registered is None:
        lost = lost_champion(model, standing, registered)
        return [] if lost is None else [lost]
    return [
        *_aliases_elsewhere(model, standing, registered),
        *_unknown_versions(model, registered, recorded),
    ]


def lost_champion(model: str, standing: Standing, registered: Registered | None) -> str | None:
    """What is gone in MLflow of the champion, and the way to get it back; None: nothing is, or there is no champion."""
    number = standing.champion
    restore = f"`evergreen registry restore {model}` gives it back"
    if number is None:
        return None
    if registered is None:
        return f"MLflow has no registered model {model}, whose champion is version {number}: was it renamed? {restore}"
    if number not in registered.versions:
        return f"version {number}, the champion, was deleted in MLflow: {restore}"
    if "champion" not in registered.aliases:
        return f"the alias champion names none, and version {number} is the champion: {restore}"
    return None


def _aliases_elsewhere(model: str, standing: Standing, registered: Registered) -> Iterator[str]:
    lost = lost_champion(model, standing, registered)
    if lost is not None:
        yield lost
    for alias, number in (("champion", standing.champion), ("last_known_good", standing.last_known_good)):
        named = registered.aliases.get(alias)
        if named == number or (alias == "champion" and lost is not None):
            continue
        if number is None:
            what = "was retired" if named in standing.retired else "was never promoted"
            way_out = "restore" if named in standing.retired else "adopt"
            yield (
                f"the alias {alias} names version {named}, which {what}: `evergreen registry {way_out} {model}`, "
                "or remove it"
            )
        elif number not in registered.versions:
            yield (
                f"version {number}, the {alias}, was deleted in MLflow: `evergreen registry restore {model}` gives "
                "it back"
            )
        else:
            yield (
                f"the alias {alias} names {in_words(named)}: give it back to version {number} "
                f"(`evergreen registry restore {model}`)"
            )


def _unknown_versions(model: str, registered: Registered, recorded: Collection[int]) -> Iterator[str]:
    if unknown := sorted(set(registered.versions) - set(recorded)):
        whose = f"version{'s' if len(unknown) > 1 else ''} {', '.join(map(str, unknown))}"
        yield (
            f"{whose}: no training of this release registered it. `evergreen registry adopt {model}`, or delete "
            "it in MLflow"
        )


def registration_refusal(as_of: datetime, existing: Version | None, champion: Version | None) -> str | None:
    """Why a candidate trained as of `as_of` must not be registered; None when it may be.

    Args:
        existing: the version that a rerun of its training finds (`version_of_rerun`).
    """
    if existing is not None:
        return promotion_refusal(existing, champion)
    if champion is not None and as_of < champion.as_of:
        return _older(f"a candidate as of {as_of:%Y-%m-%d %H:%M}", champion)
    return None


def version_of_rerun(existing: Version | None, run_id: str, champion: Version | None) -> Version | None:
    """The version that a rerun finds; None: it makes one.

    A candidate whose files were gone was made anew, by another MLflow run: it is a version of its own, but not of a
    training whose version serves, or was rolled back from, since that is what it would be again.

    Args:
        existing: the version of the same training key.
        run_id: the candidate's.
    """
    if existing is None or existing.run_id == run_id or existing.rolled_back:
        return existing
    return existing if champion is not None and champion.number == existing.number else None


def promotion_refusal(candidate: Version, champion: Version | None) -> str | None:
    """Why a version must not become the champion; None when it may. The champion itself may: nothing changes then."""
    if candidate.rolled_back:
        return f"version {candidate.number} was rolled back from, and is not promoted again"
    if candidate.retired:
        return f"version {candidate.number} was retired, and is not promoted again"
    if champion is not None and newer(champion, candidate):
        return _older(f"version {candidate.number}, as of {candidate.as_of:%Y-%m-%d %H:%M}", champion)
    return None


def early_refusal(as_of: datetime, until: datetime | None) -> str | None:
    """Why a training must not undo a fall back of the monitor's; None when it may, or there was none.

    Args:
        as_of: what the training knows about.
        until: when the labels are known that judge it.
    """
    if until is None or as_of >= until:
        return None
    return (
        f"the monitor fell back to an earlier version, and the labels that judge that are known from "
        f"{until:%Y-%m-%d %H:%M} on; a training that a person starts need not wait"
    )


def rollout_refusal(number: int | None, now: Standing) -> str | None:
    """Why a training makes no version now: the one whose rollout is open would keep it waiting; None when none would.

    Args:
        number: the version that a rerun of the training finds.
    """
    if now.rollout is None or now.rollout.version == number:
        return None
    return (
        f"the rollout of version {now.rollout.version} is open; clear `register` with what comes after it once that has"
        " ended, or roll it back first"
    )


def rejection_refusal(number: int, now: Standing) -> str | None:
    """Why a version that was rejected must not serve; None when it was not."""
    if number not in now.rejected:
        return None
    return f"version {number} was rejected in a rollout, and is not rolled out again"


def comparison_refusal(candidate: Version, compared: int | None, champion: Version | None) -> str | None:
    """Why what its gates said of a version is no evidence any more; None when it is.

    Args:
        compared: the champion that they compared it with: a backfill may run trainings
            side by side, whatever their DAG allows.
    """
    if champion is None or champion.number in (compared, candidate.number):
        return None
    return (
        f"version {candidate.number} was compared with {'no champion' if compared is None else f'version {compared}'},"
        f" and version {champion.number} serves since"
    )


def newer(one: Version, other: Version) -> bool:
    """Whether one version takes the other's place; of two as of the same moment the
    later one won its gates against the other."""
    return (one.as_of, one.number) > (other.as_of, other.number)


def _older(what: str, champion: Version) -> str:
    return (
        f"{what}, never replaces the newer champion: version {champion.number}, as of {champion.as_of:%Y-%m-%d %H:%M}"
    )


def last_known_good_after(
    candidate: Version, champion: Version | None, last_known_good: Version | None
) -> Version | None:
    """What rollback returns to once `candidate` is the champion."""
    if champion is None or champion.number == candidate.number or champion.rolled_back:
        return last_known_good
    return champion


def rollback_target(champion: Version | None, last_known_good: Version | None) -> Version | None:
    """The version to roll back to; None when there is no other good one."""
    if champion is None or last_known_good is None or last_known_good.rolled_back:
        return None
    return last_known_good if last_known_good.number != champion.number else None
