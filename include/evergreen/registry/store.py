"""The registry: versions of each model, which of them serve, and what MLflow shows of it.

A model's versions are those that passed their gates; Postgres says which candidate each is (`records`), and which of them is the champion
(`audit`). MLflow has the same versions, with two aliases, `champion` and `last_known_good`, for people and their tools: written here,
never believed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime

from mlflow.exceptions import RestException

from evergreen import database
from evergreen.errors import EvidenceMissing, RequestRefused, ServiceUnavailable
from evergreen.registry import artifacts, audit, mlflow_server, records, rules
from evergreen.registry.contents import NEEDED
from evergreen.registry.mlflow_server import answering, client
from evergreen.registry.rules import Registered, Version
from evergreen.registry.tags import Tag

log = logging.getLogger(__name__)

CHAMPION = "champion"
LAST_KNOWN_GOOD = "last_known_good"
_PAGE = 1000  # registered models, or versions, of one answer


def champion(model: str) -> Version | None:
    """The version that serves; None when nothing was ever promoted.

    Raises:
        ArtifactUntrusted: an earlier release promoted it, and nobody has adopted it.
        EvidenceMissing: the audit trail knows of none, and MLflow has an alias that names one.
    """
    number = audit.standing(model).champion
    if number is not None:
        return records.version(model, number)
    found = registered(model).get(model)
    if found is not None and CHAMPION in found.aliases:
        raise EvidenceMissing(
            f"looking up the champion of {model}",
            found=f"the audit trail knows of no promotion, and in MLflow the alias {CHAMPION} names version {found.aliases[CHAMPION]}",
            expected="a champion by the audit trail, or none in MLflow either",
            next_step=f"`evergreen registry adopt {model}`; if that version was never meant to serve, remove the alias in MLflow",
        )
    return None


def last_known_good(model: str) -> Version | None:
    """The version that rollback returns to; raises as `champion` does."""
    number = audit.standing(model).last_known_good
    return None if number is None else records.version(model, number)


def locked(model: str) -> AbstractContextManager[None]:
    """Only one process at a time decides about a model's versions and aliases."""
    return database.locked(f"registry/{model}")


def locked_at_once(model: str) -> AbstractContextManager[bool]:
    """As `locked`, without waiting: whether nobody else has the lock."""
    return database.locked_at_once(f"registry/{model}")


def register(model: str, *, run_id: str, key: str, as_of: datetime, tags: Mapping[str, str]) -> Version:
    """Make the candidate of an MLflow run a version, once per key. Call it under `locked(model)`.

    Raises:
        ArtifactUntrusted: a file of the candidate is no longer what training recorded.
    """
    existing = records.find_by_key(model, key)
    if existing is not None:
        return existing
    candidate = records.candidate(run_id)
    for name in NEEDED:
        artifacts.read(candidate, name)
    with answering(f"registering the run {run_id} as a version of {model}"):
        number = _number_of(model, candidate, {**tags, Tag.KEY: key, Tag.AS_OF: as_of.isoformat()})
    records.add_version(model, number, run_id=run_id, key=key, as_of=as_of)
    return records.version(model, number)


def _number_of(model: str, candidate: records.Candidate, tags: Mapping[str, str]) -> int:
    """The number of a new version in MLflow, or of the one that a killed attempt made."""
    known = records.numbers().get(model, set())
    for found in client().search_model_versions(f"name = '{model}' and run_id = '{candidate.run_id}'"):
        if int(found.version) not in known and found.tags == tags:
            return int(found.version)
    try:
        client().create_registered_model(model)
    except RestException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    while (
        True
    ):  # a registered model that was deleted or renamed counts from 1 again: a number means one version for good
        made = client().create_model_version(
            model,
            f"models:/{candidate.model_id}",
            run_id=candidate.run_id,
            tags=dict(tags),
            model_id=candidate.model_id,
        )
        if int(made.version) not in known:
            return int(made.version)
        client().delete_model_version(model, made.version)


def show(model: str) -> bool:
    """Let MLflow show what the audit trail says of a model; whether it does now. Call it under `locked(model)`.

    What is recorded holds without it: a registry that is silent, or refuses, is logged, told by `disagreements`, and shown the rest the next
    time.
    """
    trail = audit.trail(model)
    standing = rules.standing(trail)
    try:
        mlflow_server.check()
        for event in trail:
            if event["event"] == "rollback":
                mark_rolled_back(model, event["evidence"]["from"], event["reason"])
        if standing.champion is not None:
            set_champion(model, standing.champion, last_known_good=standing.last_known_good)
    except (ServiceUnavailable, RequestRefused) as error:
        log.warning("%s: recorded, and not shown in MLflow yet. %s", model, error)
        return False
    return True


def set_champion(model: str, number: int, *, last_known_good: int | None) -> None:
    """Move the aliases, `champion` last."""
    with answering(f"making version {number} the champion of {model}"):
        for alias, version in ((LAST_KNOWN_GOOD, last_known_good), (CHAMPION, number)):
            if version is not None:
                with _gone(model, version):
                    client().set_registered_model_alias(model, alias, str(version))


def mark_rolled_back(model: str, number: int, reason: str) -> None:
    """Show in MLflow that a version was rolled back from."""
    with answering(f"marking version {number} of {model} as rolled back"), _gone(model, number):
        client().set_model_version_tag(model, str(number), Tag.ROLLED_BACK, reason)


def registered(model: str | None = None) -> dict[str, Registered]:
    """What MLflow has: of one model, or of every one."""
    only = "" if model is None else f"name = '{model}'"
    found: dict[str, tuple[dict[str, int], set[int]]] = {}
    with answering("reading MLflow's registry"):
        token = None
        while token != "":
            models = client().search_registered_models(filter_string=only, max_results=_PAGE, page_token=token)
            for one in models:
                found[one.name] = ({alias: int(number) for alias, number in one.aliases.items()}, set())
            token = models.token or ""
        token = None
        while token != "":
            versions = client().search_model_versions(only, max_results=_PAGE, page_token=token)
            for version in versions:
                if version.name in found:
                    found[version.name][1].add(int(version.version))
            token = versions.token or ""
    return {name: Registered(aliases, versions) for name, (aliases, versions) in found.items()}


def disagreements(model: str) -> list[str]:
    """What MLflow says of a model otherwise than the audit trail. Called under `locked(model)`, no deployment is halfway."""
    recorded = records.numbers().get(model, ())
    return rules.disagreements(model, audit.standing(model), registered(model).get(model), recorded)


@contextmanager
def _gone(model: str, number: int) -> Iterator[None]:
    """What a person deleted or renamed in MLflow holds nothing up: it only shows what stands in Postgres, and the monitor tells."""
    try:
        yield
    except RestException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        log.warning("%s: MLflow does not have version %d any more: %s", model, number, error.message)
