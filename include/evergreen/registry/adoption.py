"""Versions that an earlier release registered, or a person: looked at by the rules of this
one, then written down, with who did it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
from mlflow.entities.model_registry import ModelVersion

from evergreen.errors import ArtifactUntrusted, EvidenceMissing, ModelUnloadable, PermanentError
from evergreen.families import names as family_names
from evergreen.history import ledger
from evergreen.history.events import Adopted, Promoted
from evergreen.model.rows import inputs, predict
from evergreen.quoting import shown
from evergreen.registry import artifacts, contents, loading, pipelines, records, signatures, signing_keys, store
from evergreen.registry.contents import Evaluation, Recipe, Reference, Sample, SpecCopy
from evergreen.registry.mlflow_server import answering, client
from evergreen.registry.records import Candidate, Digest
from evergreen.registry.tags import OF_VERSION, Tag

log = logging.getLogger(__name__)

_LOOKED = "digests recorded after a look by today's rules"
_TOLERANCE = 1e-6  # between the stored answers and those of now: the order of additions may differ


@dataclass(frozen=True)
class Adoption:
    """What came of it."""

    adopted: list[int]  # versions, the oldest first
    refused: dict[int, PermanentError]  # and why, by version


def adopt(model: str, *, actor: str, number: int | None = None, reason: str = _LOOKED) -> Adoption:
    """Record the digests of versions that have none, the newest first, and sign those that nobody has signed, where a
    key is set; one that cannot be adopted stops no other. Again is harmless.

    It says what it saw, and vouches for no more: that the files are of the kinds that Evergreen writes, and that the
    pipeline answers as the file beside it says. Whether they are the files that training wrote is for the person to
    know who adopts them.

    Args:
        number: the one version; None: all but those that have a signature which does not hold.
        reason: why they are adopted.

    Raises:
        EvidenceMissing: MLflow has no such version.
        ServiceUnavailable: MLflow or Postgres does not answer; what was adopted until then stays adopted.
    """
    with store.locked(model):
        known = records.numbers().get(model, set())
        with answering(f"looking up the versions of {model}"):
            registered = {
                int(version.version): version
                for version in client().search_model_versions(f"name = '{model}'")
                if Tag.STANDS_FOR not in version.tags
            }
        doing = f"adopting versions of {model}"
        if not registered or (number is not None and number not in registered):
            what = "no registered model of that name" if not registered else f"no version {number}"
            raise EvidenceMissing(
                doing, found=f"{what} in MLflow", expected="a version to adopt", next_step="look at the model in MLflow"
            )
        wanted = sorted(registered.keys() - known if number is None else {number} - known, reverse=True)
        unsigned = _unsigned(model, known, number)
        refused: dict[int, PermanentError] = {}
        for one in [*wanted, *unsigned]:
            try:
                looked = one in wanted and _adopt(model, registered[one], actor, reason)
                _sign(model, one, actor, reason, looked=looked)
            except PermanentError as error:
                refused[one] = error
        _adopt_champion(model, actor)
    return Adoption(sorted({*wanted, *unsigned} - refused.keys()), refused)


def _unsigned(model: str, known: set[int], number: int | None) -> list[int]:
    """The recorded versions whose signature is wanted and does not hold, the newest first; only those that have none
    where no number is named."""
    without = []
    for one in sorted(known if number is None else known & {number}, reverse=True):
        version = records.version(model, one)
        try:
            signatures.check(model, version, records.candidate(version.run_id))
        except ArtifactUntrusted:
            if number is not None or not signatures.of_version(model, one):
                without.append(one)
    return without


def _sign(model: str, number: int, actor: str, reason: str, *, looked: bool) -> None:
    """Sign a version after a look at its files, where keys are set.

    Args:
        looked: the digests that are signed were just taken of files that were looked at.
    """
    doing = f"adopting version {number} of {model}"
    if not signing_keys.public_keys():
        return
    if signing_keys.signing_key() is None:
        raise EvidenceMissing(
            doing,
            found="keys that verify, and none that signs",
            expected="EVERGREEN_SIGNING_KEY, as tasks have it",
            next_step="give the command where tasks run (docs/deployment.md)",
        )
    version = records.version(model, number)
    candidate = records.candidate(version.run_id)
    if not looked:
        kept = (*contents.needed(candidate.files), *({Recipe.NAME} & {*candidate.files}))
        _look(doing, candidate.family, {name: artifacts.read(candidate, name) for name in kept})
    signed = signatures.sign(model, version, actor=actor, reason=reason, by="adoption")
    if signed is not None:
        store.show_signature(model, number, signed.signed_by, signed.signature)


def _adopt(model: str, registered: ModelVersion, actor: str, reason: str) -> bool:
    """Record a version; whether its files were looked at, or their digests were recorded before."""
    number, doing = int(registered.version), f"adopting version {registered.version} of {model}"
    if missing := [tag for tag in OF_VERSION if tag not in registered.tags]:
        raise EvidenceMissing(
            doing,
            found=f"a version without the tags {', '.join(missing)}: a person registered it",
            expected="a version that a release of Evergreen registered",
            next_step="delete it in MLflow",
        )
    with answering(doing):
        trained: Mapping[str, str] = client().get_run(registered.run_id).data.tags
    as_of = _agreed(doing, registered.tags, trained)
    family, key = registered.tags[Tag.FAMILY], registered.tags[Tag.KEY]
    if family not in family_names():
        raise EvidenceMissing(
            doing,
            found=f"the family {shown(family)}",
            expected=f"one of {', '.join(family_names())}",
            next_step="train again",
        )
    if (other := records.find_by_key(model, key)) is not None:
        raise _unlike(doing, f"the key {key} of version {other.number}", "a training of its own")
    candidate = records.find_candidate(registered.run_id)
    if candidate is None:
        model_id = trained[Tag.MODEL_URI].removeprefix("models:/")
        names = [*contents.NEEDED, Evaluation.NAME]
        files = {name: artifacts.download(registered.run_id, model_id, name) for name in names}
        if loading.parse_spec(files[SpecCopy.NAME], doing).selection is not None:
            files[Recipe.NAME] = artifacts.download(registered.run_id, model_id, Recipe.NAME)
        _look(doing, family, files)
        digests = {name: Digest.of(content) for name, content in files.items()}
        records.add_candidate(Candidate(registered.run_id, model, family, model_id, digests))
    elif (candidate.model, candidate.family) != (model, family):
        raise _unlike(
            doing, f"a run of {candidate.model}, family {candidate.family}", f"one of {model}, family {family}"
        )
    else:
        digests = dict(candidate.files)
    for name, digest in digests.items():
        log.info("%s, version %d: %s has sha256 %s", model, number, name, digest.sha256)
    records.add_version(model, number, run_id=registered.run_id, key=key, as_of=as_of)
    adopted = Adopted(
        id=f"adoption/{model}/{number}",
        model=model,
        as_of=as_of,
        actor=actor,
        reason=reason,
        version=number,
        run_id=registered.run_id,
        sha256={name: digest.sha256 for name, digest in digests.items()},
    )
    ledger.append(adopted)
    return candidate is None


def _agreed(doing: str, registered: Mapping[str, str], trained: Mapping[str, str]) -> datetime:
    """What the version's tags and those of the run that training wrote have in common: the moment of its training.

    Raises:
        EvidenceMissing: they have not, or it is none.
    """
    if missing := [tag for tag in (*OF_VERSION, Tag.MODEL_URI) if tag not in trained]:
        raise _unlike(doing, f"a run without the tags {', '.join(missing)}", "a run of Evergreen's training")
    if differing := [tag for tag in OF_VERSION if trained[tag] != registered[tag]]:
        differences = "; ".join(f"{tag} {registered[tag]!r}, and {trained[tag]!r} of its run" for tag in differing)
        raise _unlike(doing, differences, "the tags of the run that training wrote")
    try:
        as_of = datetime.fromisoformat(trained[Tag.AS_OF])
        if as_of.tzinfo is None:
            raise ValueError("no time zone")
    except ValueError as error:
        raise _unlike(
            doing, f"{Tag.AS_OF} {trained['evergreen.as_of']!r}: {error}", "a moment with its time zone"
        ) from error
    return as_of


def _unlike(doing: str, observed: str, expected: str) -> EvidenceMissing:
    return EvidenceMissing(
        doing,
        found=observed,
        expected=expected,
        next_step="find out who registered it; delete it in MLflow, or train again",
    )


def _look(doing: str, family: str, files: dict[str, bytes]) -> None:
    """The spec is one, the pipeline is one of its family's types and answers as training wrote down, and the monitor
    can read the reference."""
    spec = loading.parse_spec(files[SpecCopy.NAME], doing)
    if Recipe.NAME in files:
        spec = Recipe.of_bytes(files[Recipe.NAME]).taking(spec)
    pipeline = pipelines.parse_pipeline(files[contents.PIPELINE], family, doing)
    try:
        rows = Sample.of_bytes(files[Sample.NAME]).rows
        features = inputs(
            spec.feature_types, pd.DataFrame([row.features for row in rows], columns=list(spec.feature_types))
        )
        stored = spec.problem.predictions([row.prediction for row in rows])
        difference = float(np.abs(predict(pipeline, features) - stored).max())
        unlike = "" if difference <= _TOLERANCE else f"predictions up to {difference:.3g} from those of training"
        if not unlike:
            names = Reference.of_bytes(files[Reference.NAME]).rows.columns
            lacking = [name for name in (*spec.feature_types, *spec.problem.outputs) if name not in names]
            unlike = f"{Reference.NAME} without the columns {', '.join(lacking)}" if lacking else ""
    except Exception as error:  # noqa: BLE001  whatever a foreign file makes a library raise
        unlike = f"{type(error).__name__}: {error}"
    if unlike:
        raise ModelUnloadable(
            doing,
            found=unlike,
            expected=f"the answers of {Sample.NAME}, and the features in {Reference.NAME}",
            next_step="train again; do not adopt it",
        )


def _adopt_champion(model: str, actor: str) -> None:
    """A champion by MLflow's alias alone becomes one by the ledger."""
    registered, now = store.registered(model).get(model), ledger.standing(model)
    if now.champion is not None or now.retired_champion is not None or registered is None:
        return
    number = registered.aliases.get(store.CHAMPION)
    if number not in records.numbers().get(model, set()):
        return
    version, good = records.version(model, number), registered.aliases.get(store.LAST_KNOWN_GOOD)
    promoted = Promoted(
        id=f"promotion/{model}/{number}",
        model=model,
        as_of=version.as_of,
        actor=actor,
        reason="adopted: MLflow's alias named it",
        version=number,
        replaced=good if good in records.numbers()[model] and good != number else None,
        run_id=version.run_id,
        key=version.key,
    )
    ledger.append(promoted)
