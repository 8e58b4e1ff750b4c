"""A model with a champion and a version beside it, and what is observed of that."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from evergreen.history import ledger
from evergreen.history.events import Judged, Promoted, Registered
from evergreen.history.rollouts import Compared, Observed, Verdict
from evergreen.registry import records
from evergreen.rollout import controller
from evergreen.rollout.rules import Evidence
from evergreen.spec.rollout import CanaryRollout

MODEL = "churn"
DAY = timedelta(days=1)
START = datetime(2026, 3, 1, tzinfo=UTC)
CANARY = CanaryRollout(strategy="canary", shares=(5, 50), minimum_answers=100, at_most=20 * DAY)
ROLLOUT = f"rollout/{MODEL}/2/1"


def version(number: int, *, model: str = MODEL, verdict: str = "pass") -> None:
    """A version as a training registers it."""
    run, key, as_of = f"run{number}", f"key{number}", START + (number - 3) * DAY
    records.add_candidate(records.Candidate(run, model, "ridge", f"m-{number}", {"spec.json": records.Digest("0a", 1)}))
    records.add_version(model, number, run_id=run, key=key, as_of=as_of)
    shared = {"model": model, "as_of": as_of, "actor": "run", "reason": "scheduled", "run_id": run, "key": key}
    gates = [
        Judged(
            **shared,
            id=f"judged/{run}/{gate}",
            family="ridge",
            judgement=1,
            gate=gate,
            observed=0.8,
            bound=0.7,
            verdict=said,
            compared_with=ledger.standing(model).champion,
        )
        for gate, said in (("floor", "pass"), ("better", verdict))
    ]
    ledger.append(*gates, Registered(**shared, id=f"registered/{model}/{number}", version=number, family="ridge"))


def champion(number: int, replaced: int | None = None, model: str = MODEL) -> None:
    version(number, model=model)
    ledger.append(
        Promoted(
            id=f"promotion/{model}/{number}",
            model=model,
            as_of=START + (number - 3) * DAY,
            actor="run",
            reason="scheduled",
            version=number,
            replaced=replaced,
        )
    )


def opened(number: int = 2, compared: int | None = 1, reason: str = "scheduled") -> str | None:
    """Why the rollout of a version was not opened; None: it was."""
    return controller.open_rollout(
        CANARY, MODEL, number, compared=compared, as_of=START, actor="run", reason=reason, decision_id="d1"
    )


def evidence(model: str, step: int, *, days: int = 1, verdict: Verdict = "not worse", answers: int = 100) -> Evidence:
    """What is observed of a step that began so many days after the rollout was opened."""
    names = ("errors", "slow answers")
    compared = {name: Compared(verdict=verdict, difference=0.01, low=-0.1, high=None, rows=(9, 8)) for name in names}
    as_of = START + (step + days) * DAY
    observed = Observed(answers=answers, verdict=verdict, compared=compared)
    return Evidence(f"rollout/{model}/2/1", step, as_of, observed)
