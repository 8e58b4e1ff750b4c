"""The evidence of a version in one archive: its papers, what they were made of, and the chain that holds them."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from evergreen import files
from evergreen.errors import EvidenceMissing
from evergreen.govern import pack, sbom
from evergreen.govern.pack import (
    APPROVALS,
    BILL,
    CHAIN,
    DIGESTS,
    LEDGER,
    LINEAGE,
    MANIFEST,
    PAPERS,
    RECORDED,
    TRAINING_SET,
)
from evergreen.history import extracts
from evergreen.history.events import Documented
from evergreen.lineage import telling, tracing
from evergreen.registry import artifacts, records
from evergreen.registry.papers import Lock
from evergreen.train import records as training

_WHEN = (1980, 1, 1, 0, 0, 0)  # of each file in the archive: the same evidence is the same archive


def write(model: str, number: int, target: Path) -> Path:
    """Write the archive of a version, whole or not at all.

    Raises:
        EvidenceMissing: the ledger says nothing of the version's papers, or MLflow lacks one of them.
        ArtifactUntrusted: one of them is not what was recorded.
    """
    version = records.version(model, number)
    documented = _documented(model, number)
    packed = _recorded(model, number, version.run_id)
    own, chain = extracts.of(model)
    data = training.of(model, version)
    packed[LEDGER] = pack.lines([pack.as_json(link) for link in own])
    packed[CHAIN] = pack.lines(chain)
    packed[APPROVALS] = pack.text([pack.as_json(link) for link in own if link.event == "approval"])
    packed[LINEAGE] = pack.text(_plain(telling.as_json(tracing.of_version(model, number))))
    packed[TRAINING_SET] = pack.text(_plain(asdict(data)))
    packed[DIGESTS] = pack.text({run: dict(found) for run, found in documented.sha256.items()})
    packed[BILL] = pack.text(sbom.of(model, number, packed[Lock.NAME].decode()))
    packed[MANIFEST] = pack.text(pack.manifest(model, number, packed))
    with files.whole(target) as partial:
        partial.write_bytes(_zipped(packed))
    return target


def _documented(model: str, number: int) -> Documented:
    found = [each for each in extracts.events(model, "documented") if isinstance(each, Documented)]
    for each in found:
        if each.version == number:
            return each
    raise EvidenceMissing(
        f"packing the evidence of version {number} of {model}",
        found="no entry `documented` of it in the ledger",
        expected="a version whose training wrote its card",
        next_step="train anew: versions of an earlier release have no papers",
    )


def _recorded(model: str, number: int, run_id: str) -> dict[str, bytes]:
    candidate = records.candidate(run_id)
    if lacking := [kind.NAME for kind in PAPERS if kind.NAME not in candidate.files]:
        raise EvidenceMissing(
            f"packing the evidence of version {number} of {model}",
            found=f"no {', '.join(lacking)} among the files of MLflow run {run_id}",
            expected="all papers of the version, and what was installed where it was fitted",
            next_step="train as of a later moment: an earlier release did not keep them",
        )
    return {kind.NAME: artifacts.read(candidate, kind.NAME) for kind in RECORDED if kind.NAME in candidate.files}


def _plain(value: object) -> Any:
    return json.loads(json.dumps(value, default=telling.plain))


def _zipped(packed: Mapping[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(packed):
            archive.writestr(zipfile.ZipInfo(name, _WHEN), packed[name], zipfile.ZIP_DEFLATED)
    return content.getvalue()
