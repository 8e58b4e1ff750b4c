"""What follows once the server answers with a version: the audit trail, then what MLflow shows of it."""

from __future__ import annotations

from evergreen.registry import audit, rules, store


def promote(
    model: str,
    version: rules.Version,
    champion: rules.Version | None,
    good: rules.Version | None,
    *,
    actor: str,
    reason: str,
    decision_id: str | None = None,
) -> int | None:
    """Make a version the champion by the audit trail, whether MLflow answers or not. Again is harmless.

    Args:
        champion: the one before it.
        good: the last known good one before it.

    Returns:
        The number of the version that it replaces, which rollback returns to.
    """
    keep = rules.last_known_good_after(version, champion, good)
    replaced = keep.number if keep else None
    audit.record(
        id=f"promotion/{model}/{version.number}", as_of=version.as_of, model=model, event="promotion", version=version.number,
        actor=actor, reason=reason,
        evidence={"replaced": replaced, "mlflow_run_id": version.run_id, "key": version.key, "decision_id": decision_id},
    )  # fmt: skip
    store.show(model)
    return replaced
