"""Hand-overs as stages make them, for tests that begin in the middle of a loop;
what a test is about, it says itself."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from evergreen.handovers.handover import TrackedRun
from evergreen.handovers.monitor import Decided, Performance
from evergreen.handovers.train import Probed, Refitted, Registered

AS_OF = datetime(2026, 1, 2, tzinfo=UTC)


def tracked(run_id: str) -> TrackedRun:
    """An MLflow run by its id."""
    return TrackedRun(id=run_id, page=f"http://mlflow.test/#/experiments/1/runs/{run_id}")


def judged(run_id: str, **changes: Any) -> Refitted:
    """A candidate that passed its gates, and is not refitted."""
    fields: dict[str, Any] = {
        "passed": True,
        "reason": "every gate passed",
        "gates": (),
        "key": "key",
        "family": "logistic_regression",
        "run": tracked(run_id),
        "metric": "roc_auc",
        "scores": {"roc_auc": 0.75},
        "compared_with": None,
        "gated": tracked(run_id),
        "refit": None,
    }
    return Refitted(**fields | changes)


def probed(registered: Registered, **changes: Any) -> Probed:
    """A registered version that a fresh server answered with."""
    return Probed(**dict(registered) | {"probed": 20} | changes)


def decided(**changes: Any) -> Decided:
    """A decision of the monitor."""
    fields: dict[str, Any] = {
        "action": "none",
        "decision_id": "d",
        "reasons": (),
        "triggers": False,
        "changed_at": None,
        "page": "http://w",
    }
    return Decided(**fields | changes)


def nothing_scored() -> Performance:
    """Of a window none of whose labels has matured."""
    return Performance(
        metric="roc_auc", value=None, reference=None, drop=None, significant=False, rows=0, labels_version=None
    )
