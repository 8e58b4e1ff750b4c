"""Hand-overs as stages make them, and events as they leave them, for tests that begin in the middle of a loop;
what a test is about, it says itself."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from evergreen.evaluate.rules import CHAMPION_GATE
from evergreen.handovers.handover import TrackedRun
from evergreen.handovers.monitor import Decided, Performance
from evergreen.handovers.train import Probed, Refitted, Registered
from evergreen.history import events, ledger
from evergreen.run import Run

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
        "asked": "",
        "approver": None,
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


def recorded_comparison(as_of: datetime, **changes: Any) -> events.Judged:
    """A comparison with the champion as the ledger has it."""
    content: dict[str, Any] = {
        "id": "judged/run/1/better than the champion",
        "model": "tiny",
        "as_of": as_of,
        "actor": "airflow",
        "reason": "",
        "run_id": "run",
        "key": "key",
        "family": "ridge",
        "judgement": 1,
        "gate": CHAMPION_GATE,
        "observed": 0.0,
        "bound": -0.02,
        "verdict": "pass",
        "compared_with": 1,
    }
    return events.Judged.model_validate(content | changes)


def gated(run: Run, candidate: Refitted) -> Refitted:
    """A candidate whose judgement stands in the ledger, as the gates' stage leaves it there."""
    run_id = candidate.gated.id
    ledger.append(
        recorded_comparison(
            run.as_of,
            id=f"gated/{run_id}",
            model=run.spec.model,
            run_id=run_id,
            key=candidate.key,
            family=candidate.family,
            gate="evaluation rows",
            verdict="pass" if candidate.passed else "fail",
            compared_with=candidate.compared_with,
        )
    )
    return candidate
