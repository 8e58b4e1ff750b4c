"""The registry: versions of each model, which of them serve, and what MLflow shows of it.

A model's versions are those that passed their gates; Postgres says which candidate each is (`records`), and which of
them is the champion (the ledger). MLflow has the same versions, with two aliases, `champion` and `last_known_good`, for
people and their tools: written here, never believed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime

from evergreen import database
from evergreen.errors import EvidenceMissing, RequestRefused, ServiceUnavailable
from evergreen.history import ledger
from evergreen.history.events import RolledBack
from evergreen.history.rollouts import RolloutEnded
from evergreen.history.story import Standing
from evergreen.registry import artifacts, mlflow_server, records, rules
from evergreen.registry.contents import needed
from evergreen.registry.mlflow_server import answering, client
from evergreen.registry.rules import Registered, Version
from evergreen.registry.tags import Tag

log = logging.getLogger(__name__)

CHAMPION = "champion"
LAST_KNOWN_GOOD = "last_known_good"
_PAGE = 1000  # registered models, or versions, of one answer


def champion(model: str) -> Version | None:
    """The version that serves; None when nothing was ever promoted, or the last champion was retired.

    Raises:
        ArtifactUntrusted: an earlier release promoted it, and nobody has adopted it.
        EvidenceMissing: the ledger knows of none, and MLflow has an alias that names one.
    """
    now = ledger.standing(model)
    if now.champion is not None:
        return records.version(model, now.champion)
    if now.retired_champion is not None:
        return None
    in_mlflow = registered(model).get(model)
    if in_mlflow is not None and CHAMPION in in_mlflow.aliases:
        raise EvidenceMissing(
            f"looking up the champion of {model}",
            found=(
                f"the ledger knows of no promotion, and in MLflow the alias {CHAMPION} names version "
                f"{in_mlflow.aliases[CHAMPION]}"
            ),
            expected="a champion by the ledger, or none in MLflow either",
            next_step=(
                f"`evergreen registry adopt {model}`; if that version was never meant to serve, remove the alias in "
                "MLflow"
            ),
        )
    return None


def last_known_good(model: str) -> Version | None:
    """The version that rollback returns to; raises as `champion` does."""
    number = ledger.standing(model).last_known_good
    return None if number is None else records.version(model, number)


def locked(model: str) -> AbstractContextManager[None]:
    """Only one process at a time decides about a model's versions and aliases."""
    return database.locked(f"registry/{model}")


def locked_at_once(model: str) -> AbstractContextManager[bool]:
    """As `locked`, without waiting: whether nobody else has the lock."""
    return database.locked_at_once(f"registry/{model}")


def register(model: str, *, run_id: str, key: str, as_of: datetime, tags: Mapping[str, str]) -> Version:
    """Make the candidate of an MLflow run a version, once. Call it under `locked(model)`.

    Raises:
        ArtifactUntrusted: a file of the candidate is no longer what training recorded.
    """
    existing = records.find_by_key(model, key)
    if existing is not None and existing.run_id == run_id:
        return existing
    candidate = records.candidate(run_id)
    for name in needed(candidate.files):
        artifacts.read(candidate, name)
    with answering(f"registering the run {run_id} as a version of {model}"):
        number = _number_of(model, candidate, {**tags, Tag.KEY: key, Tag.AS_OF: as_of.isoformat()})
    records.add_version(model, number, run_id=run_id, key=key, as_of=as_of)
    return records.version(model, number)


def _number_of(model: str, candidate: records.Candidate, tags: Mapping[str, str]) -> int:
    """The number of a new version in MLflow, or of the one that a killed attempt made."""
    known = records.numbers().get(model, set())
    for version in client().search_model_versions(f"name = '{model}' and run_id = '{candidate.run_id}'"):
        if int(version.version) not in known and version.tags == tags:
            return int(version.version)
    _make_registered_model(model)
    # A registered model that was deleted or renamed counts from 1 again: a number means one version for good.
    while (made := _make_version(model, candidate, tags)) in known:
        client().delete_model_version(model, str(made))
    return made


def _make_registered_model(model: str) -> None:
    """The registered model, unless it is there."""
    with mlflow_server.unless("RESOURCE_ALREADY_EXISTS"):
        client().create_registered_model(model)


def _make_version(
    model: str, candidate: records.Candidate, tags: Mapping[str, str], description: str | None = None
) -> int:
    """A new version of a candidate in MLflow; its number there."""
    made = client().create_model_version(
        model,
        f"models:/{candidate.model_id}",
        run_id=candidate.run_id,
        tags=dict(tags),
        model_id=candidate.model_id,
        description=description,
    )
    return int(made.version)


def show(model: str) -> bool:
    """Let MLflow show what the ledger says of a model; whether it does now. Call it under `locked(model)`.

    What is recorded holds without it: a registry that is silent, or refuses, is logged, told by `disagreements`, and
    shown the rest the next time.
    """
    now = ledger.standing(model)
    try:
        mlflow_server.check()
        for entry in ledger.entries(model, "rolled back", "rollout ended"):
            match entry.event:
                case RolledBack(left=left, reason=reason):
                    mark_rolled_back(model, left, reason)
                case RolloutEnded(outcome="rolled back", version=withdrawn, reason=reason):
                    mark_rolled_back(model, withdrawn, reason)
        if now.champion is not None:
            set_champion(model, now.champion, last_known_good=now.last_known_good)
        elif now.retired_champion is not None:
            remove_aliases(model)
    except (ServiceUnavailable, RequestRefused) as error:
        log.warning("%s: recorded, and not shown in MLflow yet. %s", model, error)
        return False
    return True


def set_champion(model: str, number: int, *, last_known_good: int | None) -> None:
    """Move the aliases, `champion` last."""
    with answering(f"making version {number} the champion of {model}"):
        shown = _numbers_in_mlflow(model)
        for alias, version in ((LAST_KNOWN_GOOD, last_known_good), (CHAMPION, number)):
            if version is not None:
                with _gone(model, version):
                    client().set_registered_model_alias(model, alias, str(shown.get(version, version)))


def remove_aliases(model: str) -> None:
    """Take away both aliases: there is no champion."""
    with answering(f"removing the aliases of {model}"):
        for alias in (CHAMPION, LAST_KNOWN_GOOD):
            with mlflow_server.unless("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                client().delete_registered_model_alias(model, alias)


def mark_rolled_back(model: str, number: int, reason: str) -> None:
    """Show in MLflow that a version was rolled back from."""
    with answering(f"marking version {number} of {model} as rolled back"), _gone(model, number):
        client().set_model_version_tag(
            model, str(_numbers_in_mlflow(model).get(number, number)), Tag.ROLLED_BACK, reason
        )


def show_signature(model: str, number: int, key_id: str, signature: str) -> None:
    """Show in MLflow by which key a version is signed."""
    with answering(f"showing the signature of version {number} of {model}"), _gone(model, number):
        client().set_model_version_tag(
            model, str(_numbers_in_mlflow(model).get(number, number)), Tag.SIGNATURE, f"{key_id}:{signature}"
        )


def _numbers_in_mlflow(model: str) -> dict[int, int]:
    """The number in MLflow of each version: its own, or that of what was made in its place."""
    numbers: dict[int, int] = {}
    for _, number, stands_for in _versions_in_mlflow(f"name = '{model}'"):
        numbers[stands_for] = max(number, numbers.get(stands_for, 0))
    return numbers


def _versions_in_mlflow(only: str) -> Iterator[tuple[str, int, int]]:
    """Of each version that a search finds the registered model, its number in MLflow, and which version MLflow means by
    it; its word is believed for what is shown alone."""
    for version in mlflow_server.search("model-versions", only, _PAGE):
        stands_for = {tag["key"]: tag.get("value", "") for tag in version.get("tags", ())}.get(Tag.STANDS_FOR, "")
        number = int(version["version"])
        yield version["name"], number, int(stands_for) if stands_for.isdecimal() else number


def restore(model: str, number: int) -> int:
    """Make a version in MLflow that stands for one that was deleted there, and return
    its number. Call it under `locked(model)`.

    MLflow never gives a number again. What the version is stands in Postgres, and so does
    its number, by which all others know it.
    """
    version = records.version(model, number)
    candidate = records.candidate(version.run_id)
    tags: dict[str, str] = {
        Tag.KEY: version.key,
        Tag.AS_OF: version.as_of.isoformat(),
        Tag.FAMILY: version.family,
        Tag.STANDS_FOR: str(number),
    }
    with answering(f"giving version {number} of {model} back to MLflow"):
        _make_registered_model(model)
        return _make_version(
            model, candidate, tags, f"In place of version {number}, which was deleted: the same candidate."
        )


def rename_back(model: str) -> str | None:
    """Give a registered model its name back; the name that somebody gave it, or None
    when no other has its champion's run."""
    standings = ledger.standings()
    number = standings.get(model, Standing()).champion
    if number is None:
        return None
    run_id = records.version(model, number).run_id
    with answering(f"looking for the registered model {model} by its champion's run"):
        for version in client().search_model_versions(f"run_id = '{run_id}'"):
            if version.name != model and version.name not in standings:
                client().rename_registered_model(version.name, model)
                name: str = version.name
                return name
    return None


def registered(model: str | None = None) -> dict[str, Registered]:
    """What MLflow has: of one model, or of every one."""
    only = "" if model is None else f"name = '{model}'"
    by_name: dict[str, tuple[dict[str, int], dict[int, int]]] = {}  # aliases; number in MLflow → version
    with answering("reading MLflow's registry"):
        for one in mlflow_server.search("registered-models", only, _PAGE):
            by_name[one["name"]] = ({each["alias"]: int(each["version"]) for each in one.get("aliases", ())}, {})
        for name, number, stands_for in _versions_in_mlflow(only):
            if name in by_name:
                by_name[name][1][number] = stands_for
    return {
        name: Registered(
            {alias: numbers.get(number, number) for alias, number in aliases.items()}, frozenset(numbers.values())
        )
        for name, (aliases, numbers) in by_name.items()
    }


def disagreements(model: str) -> list[str]:
    """What MLflow says of a model otherwise than the ledger. Called under `locked(model)`, no deployment is halfway."""
    recorded = records.numbers().get(model, ())
    return rules.disagreements(model, ledger.standing(model), registered(model).get(model), recorded)


def lost_champion(model: str) -> str | None:
    """What is gone in MLflow of the champion, and the way to get it back; None when nothing is."""
    return rules.lost_champion(model, ledger.standing(model), registered(model).get(model))


@contextmanager
def _gone(model: str, number: int) -> Iterator[None]:
    """What a person deleted or renamed in MLflow holds nothing up: it only shows what
    stands in Postgres, and the monitor tells."""
    try:
        yield
    except Exception as error:
        if mlflow_server.code_of(error) != "RESOURCE_DOES_NOT_EXIST":
            raise
        log.warning("%s: MLflow does not have version %d any more: %s", model, number, error)
