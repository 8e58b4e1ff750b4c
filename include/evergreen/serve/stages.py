"""From a registered version to the one that serves: a fresh process must answer it first, then the running server takes it."""

from __future__ import annotations

import logging
from typing import Any

from evergreen.errors import EvidenceMissing, StageSkipped
from evergreen.registry import rules
from evergreen.run import Run
from evergreen.settings import settings

log = logging.getLogger(__name__)

Json = dict[str, Any]


def probe(run: Run, registered: Json) -> Json:
    """Let a fresh server process load the version and answer as it did when it was trained.

    Returns:
        `registered`, with `probed`: rows compared.

    Raises:
        ModelUnloadable: the process does not come up with the version, or answers differently.
        ServiceUnavailable: what it loads from does not answer, or the machine is too busy to start it.
    """
    from evergreen.registry import tracking
    from evergreen.serve import probing

    run.links["MLflow run"] = tracking.url(registered["mlflow_run_id"])
    rows, difference = probing.probe(run.spec.model, registered["version"], registered["mlflow_run_id"])
    log.info(
        "A fresh server answers version %d: %d rows, at most %.1e from training",
        registered["version"],
        rows,
        difference,
    )
    return {**registered, "probed": rows}


def deploy(run: Run, probed: Json) -> Json:
    """Let the running server take the version; once it has confirmed, it is the champion. Again is harmless.

    Returns:
        `{"version", "replaced": the champion before it or None, "mlflow_run_id"}`

    Raises:
        StageSkipped: the version is older than the champion, or was rolled back from.
        EvidenceMissing: its gates compared it with another champion than the one of now.
        DeployRefused: the server did not take it; the champion serves on.
    """
    from evergreen.registry import records, store, tracking
    from evergreen.registry.promotion import promote
    from evergreen.serve import client

    model = run.spec.model
    run.links["MLflow run"] = tracking.url(probed["mlflow_run_id"])
    run.links["Model server"] = f"{settings().server_url}/docs"
    with store.locked(model):
        version, champion, good = (
            records.version(model, probed["version"]),
            store.champion(model),
            store.last_known_good(model),
        )
        if refusal := rules.promotion_refusal(version, champion):
            raise StageSkipped(f"not deployed: {refusal}")
        if stale := rules.comparison_refusal(version, probed["champion"], champion):
            raise EvidenceMissing(
                f"deploying {run.subject}", found=stale, expected="gates that compared it with the champion of now",
                next_step="clear `evaluate` of this run, with what comes after it",
            )  # fmt: skip
        client.deploy(model, version.number)
        replaced = promote(
            model, version, champion, good, actor=f"run {run.run_id}", reason=run.reason, decision_id=run.decision_id
        )
    log.info("Version %d of %s serves; before it: %s", version.number, model, replaced or "none")
    return {"version": version.number, "replaced": replaced, "mlflow_run_id": version.run_id}
