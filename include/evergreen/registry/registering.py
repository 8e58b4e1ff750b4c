"""What the ledger gets of a new version: its registration, and its signature."""

from __future__ import annotations

from evergreen.history import events, ledger
from evergreen.registry import signatures, store
from evergreen.registry.rules import Version
from evergreen.run import Run


def record(run: Run, version: Version, *, gated: str | None = None) -> None:
    """Record a version that MLflow has, and sign it where a key is set; once more, nothing is added.

    Args:
        run: that registered it.
        gated: the MLflow run of the fit that the gates judged, where the version is its refit.

    Raises:
        PermanentError, RequestRefused, ServiceUnavailable: as `signatures.sign`.
    """
    model = run.spec.model
    registered = events.Registered(
        id=f"registered/{model}/{version.number}",
        model=model,
        as_of=version.as_of,
        actor=run.actor,
        reason=run.reason,
        version=version.number,
        run_id=version.run_id,
        key=version.key,
        family=version.family,
        gated=gated,
    )
    ledger.append(registered)
    signed = signatures.sign(model, version, actor=run.actor, reason=run.reason, by="registration")
    if signed is not None:
        store.show_signature(model, version.number, signed.signed_by, signed.signature)
