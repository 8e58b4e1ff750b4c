"""Versions that an earlier release registered, or a person: looked at by the rules of this one, then written down, with who did it."""

from __future__ import annotations

import json
import logging
from datetime import datetime

import numpy as np
import pandas as pd
from mlflow.entities.model_registry import ModelVersion

from evergreen.errors import ArtifactUntrusted, EvergreenError, EvidenceMissing, ModelUnloadable
from evergreen.quoting import shown
from evergreen.registry import artifacts, audit, loading, records, store
from evergreen.registry.mlflow_server import answering, client
from evergreen.registry.records import Candidate, Digest
from evergreen.train.families import TRUSTED_TYPES
from evergreen.train.rows import inputs, predict

log = logging.getLogger(__name__)

_TAGS = ("evergreen.key", "evergreen.as_of", "evergreen.family")
_TOLERANCE = 1e-6  # between the stored answers and those of now: the order of additions may differ


def adopt(model: str, *, actor: str, number: int | None = None) -> list[int]:
    """Record the digests of versions that have none; returns their numbers. Again is harmless.

    It says what it saw, and vouches for no more: that the files are of the kinds that Evergreen writes, and that the pipeline answers as
    the file beside it says. Whether they are the files that training wrote is for the person to know who adopts them.

    Args:
        number: the one version; None: all.

    Raises:
        EvidenceMissing: MLflow has no such version, or it lacks what a version must have.
        ModelUnloadable: it does not load by the rules of today, or answers otherwise than in training.
    """
    with store.locked(model):
        known = records.numbers().get(model, set())
        with answering(f"looking up the versions of {model}"):
            found = {int(version.version): version for version in client().search_model_versions(f"name = '{model}'")}
        doing = f"adopting versions of {model}"
        if not found or (number is not None and number not in found):
            what = "no registered model of that name" if not found else f"no version {number}"
            raise EvidenceMissing(
                doing, found=f"{what} in MLflow", expected="a version to adopt", next_step="look at the model in MLflow"
            )
        wanted = sorted(found.keys() - known) if number is None else sorted({number} - known)
        adopted: list[int] = []
        failed: list[EvergreenError] = []
        for one in wanted:
            try:
                _adopt(model, found[one], actor)
                adopted.append(one)
            except (EvidenceMissing, ModelUnloadable, ArtifactUntrusted) as error:
                failed.append(error)
                log.error("%s", error)
        _champion(model, actor)
    if failed:
        raise failed[-1]
    return adopted


def _adopt(model: str, found: ModelVersion, actor: str) -> None:
    number, doing = int(found.version), f"adopting version {found.version} of {model}"
    if missing := [tag for tag in _TAGS if tag not in found.tags]:
        raise EvidenceMissing(
            doing, found=f"a version without the tags {', '.join(missing)}: a person registered it", expected="a version that a release of Evergreen registered",
            next_step="delete it in MLflow",
        )  # fmt: skip
    family, key = found.tags["evergreen.family"], found.tags["evergreen.key"]
    if family not in TRUSTED_TYPES:
        raise EvidenceMissing(
            doing,
            found=f"the family {shown(family)}",
            expected=f"one of {', '.join(TRUSTED_TYPES)}",
            next_step="train again",
        )
    as_of = datetime.fromisoformat(found.tags["evergreen.as_of"])
    if records.find_candidate(found.run_id) is None:
        with answering(doing):
            model_id = client().get_run(found.run_id).data.tags["evergreen.model_uri"].removeprefix("models:/")
        names = [*artifacts.NEEDED, artifacts.EVALUATION]
        files = {name: artifacts.download(found.run_id, model_id, name) for name in names}
        _look(doing, family, files)
        digests = {name: Digest.of(content) for name, content in files.items()}
        records.add_candidate(Candidate(found.run_id, model, family, model_id, digests))
    else:
        digests = dict(records.candidate(found.run_id).files)
    for name, digest in digests.items():
        log.info("%s, version %d: %s has sha256 %s", model, number, name, digest.sha256)
    records.add_version(model, number, run_id=found.run_id, key=key, as_of=as_of)
    audit.record(
        id=f"adoption/{model}/{number}", as_of=as_of, model=model, event="adoption", version=number, actor=actor,
        reason="digests recorded after a look by today's rules",
        evidence={"mlflow_run_id": found.run_id, "sha256": {name: digest.sha256 for name, digest in digests.items()}},
    )  # fmt: skip


def _look(doing: str, family: str, files: dict[str, bytes]) -> None:
    """The spec is one, the pipeline is one of its family's types, and answers as training wrote down."""
    spec = loading.parse_spec(files[artifacts.SPEC], doing)
    pipeline = loading.parse_pipeline(files[artifacts.PIPELINE], family, doing)
    try:
        rows = json.loads(files[artifacts.SAMPLE])["rows"]
        asked = inputs(
            spec.feature_types, pd.DataFrame([row["features"] for row in rows], columns=list(spec.feature_types))
        )
        stored = np.array([row["prediction"] for row in rows], np.float64)
        difference = float(np.abs(predict(pipeline, asked) - stored).max())
        unlike = "" if difference <= _TOLERANCE else f"predictions up to {difference:.3g} from those of training"
    except Exception as error:  # noqa: BLE001  whatever a foreign file makes a library raise
        unlike = f"{type(error).__name__}: {error}"
    if unlike:
        raise ModelUnloadable(
            doing, found=unlike, expected=f"the answers of {artifacts.SAMPLE}", next_step="train again; do not adopt it"
        )


def _champion(model: str, actor: str) -> None:
    """A champion by MLflow's alias alone becomes one by the audit trail."""
    found = store.registered(model).get(model)
    if audit.standing(model).champion is not None or found is None:
        return
    number = found.aliases.get(store.CHAMPION)
    if number not in records.numbers().get(model, set()):
        return
    version, good = records.version(model, number), found.aliases.get(store.LAST_KNOWN_GOOD)
    replaced = good if good in records.numbers()[model] and good != number else None
    audit.record(
        id=f"promotion/{model}/{number}", as_of=version.as_of, model=model, event="promotion", version=number, actor=actor,
        reason="adopted: MLflow's alias named it", evidence={"replaced": replaced, "mlflow_run_id": version.run_id, "key": version.key, "decision_id": None},
    )  # fmt: skip
