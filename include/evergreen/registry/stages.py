"""The stage between the gates and serving: a candidate that passed becomes a version."""

from __future__ import annotations

import logging
from typing import Any

from evergreen.errors import StageSkipped
from evergreen.registry import rules
from evergreen.run import Run

log = logging.getLogger(__name__)

Json = dict[str, Any]


def register(run: Run, gated: Json) -> Json:
    """Register the candidate as a version, once per training key; the traffic stays where it is.

    Returns:
        `{"version", "mlflow_run_id", "key", "as_of", "family", "champion": the version that its gates compared it with, or None}`

    Raises:
        StageSkipped: it did not pass its gates, is older than the champion, or was rolled back from.
        ArtifactUntrusted: a file of the candidate is no longer what training recorded, or the champion was not adopted.
        EvidenceMissing: MLflow has a champion that the audit trail does not know of.
    """
    from evergreen.registry import records, store, tracking

    model = run.spec.model
    run.links["MLflow run"] = tracking.url(gated["mlflow_run_id"])
    if not gated["passed"]:
        raise StageSkipped(f"not promoted: {gated['reason']}")
    with store.locked(model):
        existing = records.find_by_key(model, gated["key"])
        refusal = rules.registration_refusal(run.as_of, existing, store.champion(model))
        if refusal:
            raise StageSkipped(f"not promoted: {refusal}")
        version = store.register(
            model, run_id=gated["mlflow_run_id"], key=gated["key"], as_of=run.as_of,
            tags={"evergreen.family": gated["family"], "evergreen.reason": run.reason},
        )  # fmt: skip
    log.info(
        "Version %d of %s (%s, key %s): %s",
        version.number, model, version.family, version.key, "registered" if existing is None else "was registered before",
    )  # fmt: skip
    return {
        "version": version.number, "mlflow_run_id": version.run_id, "key": version.key, "as_of": version.as_of.isoformat(),
        "family": version.family, "champion": gated["champion"],
    }  # fmt: skip
