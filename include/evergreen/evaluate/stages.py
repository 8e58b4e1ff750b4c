"""Stages between candidates and the registry: score on untouched rows, then the gates."""

from __future__ import annotations

import logging
from typing import Any

from evergreen.errors import EvergreenError, EvidenceMissing
from evergreen.evaluate import rules
from evergreen.run import Run

log = logging.getLogger(__name__)

Json = dict[str, Any]


def evaluate(run: Run, data: Json, candidates: list[Json]) -> Json:
    """Score every candidate, the champion and the trivial baseline on the same later, untouched rows; pick the best candidate.

    Returns:
        `{"best": {"family", "mlflow_run_id", "metrics"}, "champion": {"version", "as_of", "metrics"} or None, "baseline": {…},
        "rows", "positives", "metric", "key"}`; a metric that is not defined on the rows is None.

    Raises:
        EvidenceMissing: the champion cannot be loaded or does not take the rows.
    """
    import numpy as np

    from evergreen.evaluate.metrics import gain, score
    from evergreen.train import tracking

    spec = run.spec
    learned, frame, inputs, labels = _rows(run, data)
    scored = []
    for candidate in candidates:
        predictions = tracking.load(candidate["mlflow_run_id"]).predict_proba(inputs)[:, 1]
        scored.append({**candidate, "metrics": score(labels, predictions)})
        log.info("%-20s %s", candidate["family"], _line(scored[-1]["metrics"]))
    # The first of equals wins, in the spec's order: the same best whatever the order in which tasks ended.
    scored.sort(key=lambda c: list(spec.families).index(c["family"]))
    best = max(scored, key=lambda c: gain(spec.search.metric, np.nan_to_num(c["metrics"][spec.search.metric]), 0.0))
    baseline = score(labels, np.full(len(labels), learned[spec.label.name].mean()))
    log.info("%-20s %s", "baseline", _line(baseline))
    champion = _champion(run, inputs, labels)
    run.links["MLflow run"] = tracking.url(best["mlflow_run_id"])
    log.info("Best candidate: %s, %d rows of %d entities", best["family"], len(frame), frame[spec.entity.key].nunique())
    return {
        "key": data["key"], "metric": spec.search.metric, "rows": len(frame), "positives": int(labels.sum()),
        "best": {"family": best["family"], "mlflow_run_id": best["mlflow_run_id"], "metrics": _finite(best["metrics"])},
        "baseline": _finite(baseline),
        "champion": None if champion is None else {**champion, "metrics": _finite(champion["metrics"])},
    }  # fmt: skip


def gates(run: Run, evaluated: Json) -> Json:
    """Decide whether the best candidate may be promoted.

    A candidate that is not good enough is a good run: green, with the reason. Missing evidence is red, and promotes nothing.

    Returns:
        `{"passed", "reason", "gates", "key", "family", "mlflow_run_id", "metrics"}`

    Raises:
        EvidenceMissing: a gate could not be decided.
    """
    from datetime import datetime

    from evergreen.train import tracking

    best, champion = evaluated["best"], evaluated["champion"]
    evidence = rules.Evidence(
        metric=evaluated["metric"], rows=evaluated["rows"], positives=evaluated["positives"],
        candidate=best["metrics"], baseline=evaluated["baseline"],
        champion=None if champion is None else champion["metrics"],
        champion_as_of=None if champion is None else datetime.fromisoformat(champion["as_of"]),
        as_of=run.as_of,
    )  # fmt: skip
    found = rules.gates(evidence, run.spec.gates)
    verdict, reason = rules.verdict(found), rules.reason(found)
    for line in rules.table(found):
        log.info(line)
    log.info("Verdict: %s (%s)", verdict, reason)
    run_id = best["mlflow_run_id"]
    run.links["MLflow run"] = tracking.url(run_id)
    metric = evaluated["metric"]
    evaluation = {"metric": metric, "value": best["metrics"][metric], "rows": evaluated["rows"], "positives": evaluated["positives"]}
    tracking.record(
        run_id,
        artifacts={"gates.json": {"verdict": verdict, "gates": [gate.as_json() for gate in found]}, "evaluation.json": evaluation | {"metrics": best["metrics"], "baseline": evaluated["baseline"], "champion": champion}},
        metrics={f"evaluation_{name}": value for name, value in best["metrics"].items() if value is not None},
        tags={"evergreen.verdict": verdict, "evergreen.verdict_reason": reason},
    )  # fmt: skip
    if verdict == "no evidence":
        raise EvidenceMissing(
            f"deciding the gates of {run.subject}",
            found=reason,
            expected="evidence for every gate; nothing was promoted",
            next_step="mend what is missing (more mature days, a champion that loads), then clear the task `evaluate`",
        )
    return {
        "passed": verdict == "pass", "reason": reason, "gates": [gate.as_json() for gate in found], "key": evaluated["key"],
        "family": best["family"], "mlflow_run_id": run_id, "metrics": best["metrics"],
    }  # fmt: skip


def _rows(run: Run, data: Json) -> tuple[Any, Any, Any, Any]:
    """The learning frame; the evaluation frame, its model inputs, its labels."""
    from datetime import datetime

    import pandas as pd

    from evergreen.train import dataset

    frame = pd.read_parquet(data["path"])
    learned = frame[frame[dataset.EVENT] <= datetime.fromisoformat(data["learn"]["to"])]
    later = frame[frame[dataset.EVENT] >= datetime.fromisoformat(data["evaluate"]["from"])].reset_index(drop=True)
    return learned, later, dataset.inputs(run.spec, later), later[run.spec.label.name].to_numpy("int64")


def _champion(run: Run, inputs: Any, labels: Any) -> Json | None:
    """The champion's metrics on the same rows; None when there is no champion."""
    from evergreen.evaluate.metrics import score
    from evergreen.registry import store

    champion = store.champion(run.spec.model)
    if champion is None:
        log.info("%-20s none yet", "champion")
        return None
    try:
        predictions = store.load(run.spec.model, champion.number).predict(inputs)
    except (EvergreenError, OSError, ValueError, KeyError) as error:
        raise EvidenceMissing(
            f"scoring the champion of {run.spec.model}, version {champion.number}, on the evaluation rows",
            found=f"{type(error).__name__}: {error}",
            expected="a champion that loads and takes the rows: without it nothing can be better than it",
            next_step=f"roll back (`evergreen rollback {run.spec.model} --reason …`), then clear this task",
        ) from error
    metrics = score(labels, predictions)
    log.info("%-20s %s", f"champion (version {champion.number})", _line(metrics))
    return {"version": champion.number, "as_of": champion.as_of.isoformat(), "metrics": metrics}


def _line(metrics: Any) -> str:
    return "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())


def _finite(metrics: Any) -> dict[str, float | None]:
    """Metrics as JSON: a value that is not defined is null."""
    return {name: value if value == value else None for name, value in metrics.items()}
