"""Which version may be promoted, and which one rollback returns to. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True)
class Version:
    """One registered version of a model."""

    number: int
    run_id: str  # of the MLflow run that made it
    key: str  # of its training set
    as_of: datetime  # what its training knew about
    rolled_back: bool = False  # it served, and was taken out of service for a reason
    tags: Mapping[str, str] = field(default_factory=dict, compare=False)


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
