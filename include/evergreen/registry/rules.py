"""Which version may be promoted, and which one rollback returns to. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Version:
    """One registered version of a model."""

    number: int
    run_id: str  # of the MLflow run that made it
    key: str  # of its training set
    as_of: datetime  # what its training knew about
    rolled_back: bool = False  # it served, and was taken out of service for a reason
    family: str = ""


@dataclass(frozen=True)
class Standing:
    """The numbers of a model's champion and last known good version, as the audit trail has them."""

    champion: int | None = None
    last_known_good: int | None = None


@dataclass(frozen=True)
class Registered:
    """What MLflow has of a model."""

    aliases: Mapping[str, int]
    versions: Collection[int]


def standing(events: Iterable[Mapping[str, Any]]) -> Standing:
    """Where the promotions and rollbacks of a model, oldest first, have led to."""
    found = Standing()
    for event in events:
        if event["event"] == "promotion":
            replaced = event["evidence"].get("replaced")
            found = Standing(event["version"], found.last_known_good if replaced is None else replaced)
        elif event["event"] == "rollback":
            found = Standing(event["version"], event["version"])
    return found


def disagreements(
    model: str, standing: Standing, registered: Registered | None, recorded: Collection[int]
) -> list[str]:
    """What MLflow says of a model otherwise than the audit trail, and what to do about it. MLflow's word counts for nothing.

    Args:
        registered: what MLflow has; None when it has no such registered model.
        recorded: the versions that Evergreen registered or adopted.
    """
    if registered is None:
        gone = f"MLflow has no registered model {model}, whose champion is version {standing.champion}"
        return [] if standing.champion is None else [f"{gone}: was it renamed? Give it its name back"]
    found = []
    for alias, number in (("champion", standing.champion), ("last_known_good", standing.last_known_good)):
        named = registered.aliases.get(alias)
        if number is not None and number not in registered.versions:
            found.append(
                f"version {number}, the {alias}, was deleted in MLflow: `evergreen rollback {model}`, or train a better one"
            )
        elif named != number and number is not None:
            instead = "none" if named is None else f"version {named}"
            found.append(f"the alias {alias} names {instead}: give it back to version {number}")
        elif named != number:
            found.append(
                f"the alias {alias} names version {named}, which was never promoted: `evergreen registry adopt {model}`, or remove it"
            )
    if unknown := sorted(set(registered.versions) - set(recorded)):
        whose = f"version{'s' if len(unknown) > 1 else ''} {', '.join(map(str, unknown))}"
        found.append(
            f"{whose}: no training of this release registered it. `evergreen registry adopt {model}`, or delete it in MLflow"
        )
    return found


def registration_refusal(as_of: datetime, existing: Version | None, champion: Version | None) -> str | None:
    """Why a candidate trained as of `as_of` must not be registered; None when it may be.

    Args:
        existing: the version of the same training key, which a rerun finds.
    """
    if existing is not None:
        return promotion_refusal(existing, champion)
    if champion is not None and as_of < champion.as_of:
        return _older(f"a candidate as of {as_of:%Y-%m-%d %H:%M}", champion)
    return None


def promotion_refusal(candidate: Version, champion: Version | None) -> str | None:
    """Why a version must not become the champion; None when it may. The champion itself may: nothing changes then."""
    if candidate.rolled_back:
        return f"version {candidate.number} was rolled back from, and is not promoted again"
    if champion is not None and newer(champion, candidate):
        return _older(f"version {candidate.number}, as of {candidate.as_of:%Y-%m-%d %H:%M}", champion)
    return None


def comparison_refusal(candidate: Version, compared: int | None, champion: Version | None) -> str | None:
    """Why what its gates said of a version is no evidence any more; None when it is.

    Args:
        compared: the champion that they compared it with: a backfill may run trainings side by side, whatever their DAG allows.
    """
    if champion is None or champion.number in (compared, candidate.number):
        return None
    return (
        f"version {candidate.number} was compared with {'no champion' if compared is None else f'version {compared}'},"
        f" and version {champion.number} serves since"
    )


def newer(one: Version, other: Version) -> bool:
    """Whether one version takes the other's place; of two as of the same moment the later one won its gates against the other."""
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
