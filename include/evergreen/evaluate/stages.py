"""Stages between candidates and the registry: score on untouched rows, then decide by the gates."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from evergreen.errors import EvidenceMissing, TransientError
from evergreen.evaluate import rules
from evergreen.run import Run

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from evergreen.model.rows import Rows

log = logging.getLogger(__name__)

Json = dict[str, Any]


def evaluate(run: Run, data: Json, candidates: list[Json]) -> Json:
    """Score every candidate, the champion and the trivial baseline on the same later, untouched rows.

    The best candidate is the one that the time folds of the learning rows say is best: choosing by the evaluation rows would
    flatter it on the rows that its gates look at.

    Returns:
        `{"key", "metric", "rows", "rows_of_class", "best": {"family", "mlflow_run_id", "scores"}, "candidates": [...], "baseline":
        scores, "champion": None or {"version", "as_of", "is_candidate", "scores", "problem", "comparison"}}`; scores map metrics to
        values, null where one is not defined.
    """
    import numpy as np

    from evergreen.model import rows
    from evergreen.model.metrics import score
    from evergreen.registry import artifacts, loading, tracking

    spec, metric = run.spec, run.spec.search.metric
    later = rows.read(spec, data, "evaluate")
    problem = spec.problem
    rows_of_class = problem.rows_of_class(later.labels)
    log.info("%d rows of %d entities", len(later.labels), len(np.unique(later.keys)))
    for name, count in (rows_of_class or {}).items():
        log.info("  class %s: %d rows", name, count)
    predictions: dict[str, npt.NDArray[np.float64]] = {}
    scored: list[Json] = []
    # In the spec's order, and the first of equals is best: the same, whatever the order in which the families were done.
    for candidate in sorted(candidates, key=lambda c: list(spec.families).index(c["family"])):
        family = candidate["family"]
        predictions[family] = rows.predict(loading.pipeline(candidate["mlflow_run_id"]), later.inputs)
        scored.append({**candidate, "scores": _json(score(problem, later.labels, predictions[family]))})
        log.info("%-24s %s", family, _line(scored[-1]["scores"]))
    best = max(scored, key=lambda candidate: spec.search.measure.rank(candidate["best_score"]))
    trivial = problem.baseline(rows.read(spec, data, "learn").labels, len(later.labels))
    baseline = _json(score(problem, later.labels, trivial))
    log.info("%-24s %s", "baseline", _line(baseline))
    champion = _champion(run, data, later, predictions[best["family"]])
    log.info("Best on the time folds: %s", best["family"])
    run.links["MLflow run"] = tracking.url(best["mlflow_run_id"])
    common = {
        "metric": metric,
        "rows": len(later.labels),
        "rows_of_class": rows_of_class,
        "baseline": baseline,
        "champion": champion,
    }
    for candidate in scored:
        scores = candidate["scores"]
        tracking.record(
            run, candidate["mlflow_run_id"],
            files={artifacts.EVALUATION: {"value": scores[metric], "scores": scores, **common}},
            metrics={f"evaluation_{name}": value for name, value in scores.items() if value is not None},
        )  # fmt: skip
    return {"key": data["key"], **common, "best": best, "candidates": scored}


def gates(run: Run, evaluated: Json) -> Json:
    """Decide whether the best candidate may be promoted.

    A candidate that is not good enough is a good run: green, with the reason. Missing evidence is red, and promotes nothing.

    Returns:
        `{"passed", "reason", "gates", "key", "family", "mlflow_run_id", "scores", "champion": the version it was compared with, or None}`

    Raises:
        EvidenceMissing: a gate could not be decided.
    """
    from evergreen.registry import tracking

    best = evaluated["best"]
    evidence = rules.Evidence(
        problem=run.spec.problem,
        metric=evaluated["metric"],
        as_of=run.as_of,
        rows=evaluated["rows"],
        rows_of_class=evaluated["rows_of_class"],
        candidate=best["scores"],
        baseline=evaluated["baseline"],
        champion=_as_evidence(evaluated["champion"]),
    )
    found = rules.gates(evidence, run.spec.gates)
    verdict, reason = rules.verdict(found), rules.reason(found)
    for line in rules.table(found):
        log.info("%s", line)
    log.info("%s: %s", verdict.capitalize(), reason)
    run_id = best["mlflow_run_id"]
    run.links["MLflow run"] = tracking.url(run_id)
    told = [asdict(gate) for gate in found]
    tracking.record(
        run, run_id,
        files={"gates.json": {"verdict": verdict, "reason": reason, "gates": told}},
        tags={"evergreen.verdict": verdict, "evergreen.verdict_reason": reason},
    )  # fmt: skip
    if verdict == "no evidence":
        raise EvidenceMissing(
            f"deciding the gates of {run.subject}",
            found="\n    ".join(["", *rules.table(found)]),
            expected="evidence for every gate; nothing was promoted, the champion goes on serving",
            next_step="provide what is missing (more mature days; a champion that loads, by a rollback if need be), then clear `evaluate`",
        )
    return {
        "passed": verdict == "pass", "reason": reason, "gates": told, "key": evaluated["key"],
        "family": best["family"], "mlflow_run_id": run_id, "scores": best["scores"],
        "champion": evaluated["champion"] and evaluated["champion"]["version"],
    }  # fmt: skip


def _champion(run: Run, data: Json, later: Rows, candidate: npt.NDArray[np.float64]) -> Json | None:
    """The champion on the same rows; None when there is none. One that cannot be scored is no reason to promote another."""
    from evergreen.model.metrics import metric, score
    from evergreen.model.rows import inputs
    from evergreen.registry import loading, store

    champion = store.champion(run.spec.model)
    if champion is None:
        log.info("%-24s none yet", "champion")
        return None
    told: Json = {
        "version": champion.number, "as_of": champion.as_of and champion.as_of.isoformat(), "is_candidate": champion.key == data["key"],
        "scores": None, "problem": "", "comparison": None,
    }  # fmt: skip
    named = f"champion, version {champion.number}"
    try:
        # On the columns that it learned from, as the server asks it: of one that is no longer computed nothing is known.
        columns = loading.spec(run.spec.model, champion).feature_types
        predictions = loading.load(run.spec.model, champion.number).predict(
            inputs(columns, later.frame.reindex(columns=list(columns)))
        )
    except TransientError:
        raise  # the registry may answer in a minute
    except Exception as error:  # noqa: BLE001  it is gone, or of another library's version
        told["problem"] = f"{named}: {type(error).__name__}: {' '.join(str(error).split())}"
        log.warning("%s", told["problem"])
        return told
    told["scores"] = _json(score(run.spec.problem, later.labels, predictions))
    log.info("%-24s %s", named, _line(told["scores"]))
    if all(value is not None for value in told["scores"].values()):
        comparison = metric(run.spec.problem, run.spec.search.metric).compare(
            later.labels, candidate, predictions, _alike(run, later), seed=run.spec.search.seed
        )
        told["comparison"] = _json(comparison._asdict())
        log.info(
            "Gain over the champion: %s %.4f, 95 %% interval %.4f to %.4f", run.spec.search.metric, *comparison[:3]
        )
    return told


def _alike(run: Run, later: Rows) -> npt.NDArray[np.object_]:
    """Whose rows are alike."""
    names: npt.NDArray[np.object_] = run.spec.asking.alike(later.frame).to_numpy(object)
    return names


def _as_evidence(champion: Json | None) -> rules.Champion | None:
    if champion is None:
        return None
    as_of = champion["as_of"] and datetime.fromisoformat(champion["as_of"])
    return rules.Champion(as_of or None, champion["scores"], champion["problem"], champion["is_candidate"])


def _line(scores: Mapping[str, float | None]) -> str:
    return "  ".join(f"{name} {'none' if value is None else format(value, '.4f')}" for name, value in scores.items())


def _json(values: Mapping[Any, float]) -> dict[str, float | None]:
    """Values as JSON: what is not a number is null."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}
