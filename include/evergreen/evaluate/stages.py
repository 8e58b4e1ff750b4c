"""Stages between candidates and the registry: score on untouched rows, then decide by the gates."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from evergreen.errors import EvidenceMissing, TransientError
from evergreen.evaluate import rules, ways_out
from evergreen.handovers.described import Described
from evergreen.handovers.handover import TrackedRun, finite
from evergreen.handovers.train import (
    Candidate,
    Comparison,
    Evaluated,
    Judged,
    ScoredCandidate,
    ScoredChampion,
    Scores,
    Since,
    SoundTrainingSet,
)
from evergreen.links import Link
from evergreen.run import Run

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from sklearn.pipeline import Pipeline

    from evergreen.model.rows import Rows
    from evergreen.registry.rules import Version
    from evergreen.spec.problem import Problem

log = logging.getLogger(__name__)


def evaluate(run: Run, data: SoundTrainingSet, candidates: tuple[Candidate, ...]) -> Evaluated:
    """Score every candidate, the champion and the baseline on the same later rows, which no search has seen.

    The best candidate is the one that the time folds of the learning rows say is best: choosing by the evaluation rows
    would flatter it on the rows that its gates look at.
    """
    import numpy as np

    from evergreen.evaluate import looking
    from evergreen.model import baseline as baselines
    from evergreen.model import rows
    from evergreen.model.metrics import score
    from evergreen.registry import pipelines, tracking
    from evergreen.registry.contents import Evaluation
    from evergreen.train import windows

    spec, metric = run.spec, run.spec.search.metric
    later = rows.read(spec, data, "evaluate")
    problem = spec.problem
    rows_of_class = problem.rows_of_class(later.labels)
    log.info("%d rows of %d entities", len(later.labels), len(np.unique(later.keys)))
    for name, count in (rows_of_class or {}).items():
        log.info("  class %s: %d rows", name, count)
    predictions: dict[str, npt.NDArray[np.float64]] = {}
    fits: dict[str, Pipeline] = {}
    scored: list[ScoredCandidate] = []
    # In the spec's order, and the first of equals is best: the same, whatever the
    # order in which the families were done.
    for candidate in sorted(candidates, key=lambda each: list(spec.families).index(each.family)):
        fits[candidate.family] = pipelines.pipeline(candidate.run.id)
        predictions[candidate.family] = rows.predict(fits[candidate.family], later.inputs)
        operating = problem.at(candidate.threshold)
        scores = _finite(score(operating, later.labels, predictions[candidate.family], later.weights))
        scored.append(ScoredCandidate(**dict(candidate), scores=scores))
        log.info("%-24s %s", candidate.family, _line(scores))
    best = max(scored, key=lambda candidate: spec.search.measure.rank(candidate.search_score))
    learned = rows.read(spec, data, "learn")
    if best.backtest is not None:  # the baseline knows what the candidate learned from
        learned = windows.of(best.backtest.window, learned)
    trivial = baselines.of(spec, learned, later)
    baseline = _finite(score(problem, later.labels, trivial.predictions, later.weights))
    log.info("%-24s %s", "baseline", _line(baseline))
    log.info("The baseline is %s", trivial.about)
    scored_champion = _score_champion(run, data, later, best, predictions[best.family], trivial.predictions)
    log.info("Best on the time folds: %s", best.family)
    looked = looking.look(
        looking.Candidate(
            spec,
            problem.at(best.threshold),
            learned,
            later,
            predictions[best.family],
            partial(rows.predict, fits[best.family]),
            _alike(run, later),
            best.run.id,
        )
    )
    for line in looking.lines(looked.slices):
        log.info("%s", line)
    evaluated = Evaluated(
        key=data.key,
        metric=metric,
        rows=len(later.labels),
        rows_of_class=rows_of_class,
        baseline=baseline,
        baseline_is=trivial.about,
        champion=scored_champion,
        after_change=run.changed_at is not None,
        over_baseline=_compared(run, later, predictions[best.family], trivial.predictions),
        intervals=_intervals(run, problem.at(best.threshold), later, predictions[best.family]),
        slices=tuple(looked.slices),
        fairness=tuple(looked.fairness),
        warnings=data.warnings,
        further=tuple(looked.gates),
        best=best,
        candidates=tuple(scored),
    )
    shared = evaluated.model_dump(
        mode="json", include={"metric", "rows", "rows_of_class", "baseline", "baseline_is", "champion"}
    )
    for candidate in scored:
        told = {"slices", "fairness", "intervals"} if candidate.family == best.family else set()
        of_best = evaluated.model_dump(include=told)
        evaluation = Evaluation(value=candidate.scores[metric], scores=candidate.scores, **of_best, **shared)
        tracking.record(run, candidate.run.id, evaluation, metrics=evaluation.metrics)
    return evaluated


def describe(run: Run, data: SoundTrainingSet, evaluated: Evaluated) -> Described:
    """Let people find the training in MLflow: its trials, pictures, and which inputs the best candidate leans on.

    Nothing waits for it, and nothing is decided by it.
    """
    from evergreen.evaluate import describing
    from evergreen.registry import tracking

    run_id, logged = describing.describe(run, data, evaluated)
    return Described(run=TrackedRun(id=run_id, page=tracking.url(run_id)), trials=logged)


def gates(run: Run, evaluated: Evaluated) -> Judged:
    """Decide whether the best candidate may be promoted.

    A candidate that is not good enough is a good run: green, with the reason.
    Missing evidence is red, and promotes nothing.

    Raises:
        EvidenceMissing: a gate could not be decided.
    """
    from evergreen.evaluate import judgements, telling
    from evergreen.registry import tracking
    from evergreen.registry.contents import Gates

    best, scored_champion = evaluated.best, evaluated.champion
    checked = rules.gates(rules.evidence(evaluated, run.spec.problem, run.as_of), run.spec.gates)
    verdict, reason = rules.verdict(checked), rules.reason(checked)
    for line in rules.table(checked):
        log.info("%s", line)
    log.info("%s: %s", verdict.capitalize(), reason)
    content = Gates(verdict=verdict, reason=reason, gates=tuple(asdict(gate) for gate in checked))
    tracking.record(run, best.run.id, content, tags=content.tags)
    judgements.keep(
        run,
        checked,
        run_id=best.run.id,
        key=evaluated.key,
        family=best.family,
        compared_with=None if scored_champion is None else scored_champion.version,
    )
    report = telling.write(run, evaluated, checked)
    if verdict == "no evidence":
        raise EvidenceMissing(
            f"deciding the gates of {run.subject}",
            found="\n    ".join(["", *rules.table(checked)]),
            expected="evidence for every gate; nothing was promoted, the champion goes on serving",
            next_step=ways_out.way_out(run.spec, run.as_of, evaluated, checked),
            links={Link.GATE_REPORT: report},
        )
    return Judged(
        passed=verdict == "pass",
        reason=reason,
        gates=tuple(checked),
        key=evaluated.key,
        family=best.family,
        run=best.run,
        metric=evaluated.metric,
        scores=best.scores,
        compared_with=None if scored_champion is None else scored_champion.version,
        warnings=(*evaluated.warnings, *rules.warnings(checked)),
        report=report,
    )


def _score_champion(
    run: Run,
    data: SoundTrainingSet,
    later: Rows,
    best: ScoredCandidate,
    candidate: npt.NDArray[np.float64],
    baseline: npt.NDArray[np.float64],
) -> ScoredChampion | None:
    """The champion on the same rows; None when there is none.

    One that cannot be scored is no reason to promote another.

    Args:
        best: the best candidate.
        candidate, baseline: the best candidate's predictions of the rows, and the trivial model's.
    """
    from evergreen.model.metrics import score
    from evergreen.model.rows import inputs
    from evergreen.registry import loading, records, store
    from evergreen.registry.rules import refit_key

    champion = store.champion(run.spec.model)
    if champion is None:
        log.info("%-24s none yet", "champion")
        return None
    unscored = ScoredChampion(
        version=champion.number, as_of=champion.as_of, is_candidate=champion.key in (data.key, refit_key(data.key))
    )
    named = f"champion, version {champion.number}"
    if lost := store.lost_champion(run.spec.model):
        log.warning("%s", lost)
        return unscored.model_copy(update={"problem": lost})
    counting = _counting(run, champion, later)
    if counting is not None:
        since, later, (candidate, baseline) = _since(run, later, *counting, best.threshold, candidate, baseline)
        log.info("%s: %d rows come after %s, %s", named, since.rows, since.after.isoformat(), since.which_is)
        unscored = unscored.model_copy(update={"since": since})
        if since.rows == 0:
            return unscored
    try:
        # On the columns that it learned from, as the server asks it: of one that
        # is no longer computed nothing is known.
        trained = loading.spec(run.spec.model, champion)
        columns = trained.feature_types
        answered = loading.load(run.spec.model, champion.number).predict(
            inputs(columns, later.frame.reindex(columns=list(columns)))
        )
        predictions = run.spec.problem.of(trained.problem, answered)
        operating = run.spec.problem.at(loading.threshold(trained, records.candidate(champion.run_id)))
    except TransientError:
        raise  # the registry may answer in a minute
    except Exception as error:  # noqa: BLE001  it is gone, or of another library's version
        problem = f"{named}: {type(error).__name__}: {' '.join(str(error).split())}"
        log.warning("%s", problem)
        return unscored.model_copy(update={"problem": problem})
    scores = _finite(score(operating, later.labels, predictions, later.weights))
    log.info("%-24s %s", named, _line(scores))
    scored = unscored.model_copy(update={"scores": scores})
    comparison = _compared(run, later, candidate, predictions)
    if comparison is None:
        return scored
    log.info(
        "Gain over the champion: %s %s, %s to %s, each end with a confidence of %g",
        run.spec.search.metric,
        comparison.gain,
        comparison.low,
        comparison.high,
        run.spec.gates.better_than_champion.confidence,
    )
    worth = _compared(run, later, predictions, baseline)
    return scored.model_copy(update={"comparison": comparison, "over_baseline": None if worth is None else worth.gain})


def _compared(run: Run, later: Rows, new: npt.NDArray[np.float64], old: npt.NDArray[np.float64]) -> Comparison | None:
    """How much better one model predicts the rows than another; None: one of them has no defined score."""
    from evergreen.model.metrics import metric

    confidence = run.spec.gates.better_than_champion.confidence
    measured = metric(run.spec.problem, run.spec.search.metric).compare(
        later.labels, new, old, _alike(run, later), weights=later.weights, confidence=confidence
    )
    told = _finite({"gain": measured.gain, "low": measured.low, "high": measured.high, "tells": measured.tells})
    if told["gain"] is None:
        return None
    return Comparison(**told, rows=measured.rows, groups=measured.entities)


def _intervals(
    run: Run, operating: Problem, later: Rows, predictions: npt.NDArray[np.float64]
) -> dict[str, tuple[float | None, float | None]]:
    """The interval of each score."""
    from evergreen.model.metrics import metric

    alike, confidence = _alike(run, later), run.spec.gates.better_than_champion.confidence
    found = {}
    for name in {**dict.fromkeys(run.spec.problem.metrics), **run.spec.gates.floor}:
        low, high = metric(operating, name).interval(
            later.labels, predictions, alike, weights=later.weights, confidence=confidence
        )
        found[str(name)] = (finite(low), finite(high))
    return found


def _counting(run: Run, champion: Version, later: Rows) -> tuple[datetime, str] | None:
    """The moment that only rows from after count, and what it is; None: all rows count. A refitted champion has learned
    from some; after a change of the world those from before it say nothing."""
    from evergreen.registry.rules import is_refit
    from evergreen.spec.columns import EVENT
    from evergreen.train import records

    moments = []
    if is_refit(champion.key):
        moments.append((records.of(run.spec.model, champion).split.learn_to, "the champion's last"))
    if run.changed_at is not None and (later.frame[EVENT] < run.changed_at).any():
        moments.append((run.changed_at - timedelta(microseconds=1), "the change"))
    return max(moments, default=None)


def _since(
    run: Run,
    later: Rows,
    after: datetime,
    which_is: str,
    threshold: float | None,
    *predictions: npt.NDArray[np.float64],
) -> tuple[Since, Rows, list[npt.NDArray[np.float64]]]:
    """The rows from after a moment, with the models' predictions of them, the candidate's first, which has this
    threshold."""
    from evergreen.model import rows
    from evergreen.model.metrics import score
    from evergreen.spec.columns import EVENT

    there = (later.frame[EVENT] > after).to_numpy()
    new = rows.of(run.spec, later.frame[there].reset_index(drop=True))
    answers = [each[there] for each in predictions]
    operating = run.spec.problem.at(threshold)
    scores = _finite(score(operating, new.labels, answers[0], new.weights)) if len(new.labels) else None
    counts = operating.rows_of_class(new.labels)
    since = Since(after=after, which_is=which_is, rows=len(new.labels), rows_of_class=counts, candidate=scores)
    return since, new, answers


def _alike(run: Run, later: Rows) -> npt.NDArray[np.object_]:
    """Whose rows are alike."""
    names: npt.NDArray[np.object_] = run.spec.asking.alike(later.frame).to_numpy(object)
    return names


def _line(scores: Scores) -> str:
    return "  ".join(f"{name} {'none' if value is None else format(value, '.4f')}" for name, value in scores.items())


def _finite(values: Mapping[Any, float]) -> dict[str, float | None]:
    """The values; None where one is not a number."""
    return {name: finite(value) for name, value in values.items()}
