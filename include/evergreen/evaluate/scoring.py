"""Scores of candidates, champion and baseline on the same rows; nothing is written.

What is scored is given, so that a version can be judged once more as it was.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.pipeline import Pipeline

from evergreen.errors import TransientError
from evergreen.evaluate import looking, rules
from evergreen.handovers.gate import Gate
from evergreen.handovers.handover import finite
from evergreen.handovers.selection import Importance
from evergreen.handovers.train import Candidate, Comparison, Evaluated, ScoredCandidate, ScoredChampion, Scores, Since
from evergreen.model import baseline as baselines
from evergreen.model import calibrating, importance, rows
from evergreen.model.metrics import metric
from evergreen.model.metrics import score as scores_of
from evergreen.model.rows import Rows
from evergreen.model.weightings import Floats
from evergreen.registry import loading
from evergreen.registry import records as registry
from evergreen.registry.contents import Evaluation, Gates
from evergreen.registry.rules import Version, is_refit, refit_key
from evergreen.run import Run
from evergreen.spec.columns import EVENT
from evergreen.spec.measures import MEASURES
from evergreen.spec.problem import Problem
from evergreen.train import records, windows

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scored:
    """What is scored, and on what.

    Attributes:
        key: the training's.
        learn, later: the learning rows, and those that it is scored on.
        fits: family → the fitted candidate.
        champion: the version that served then; None: there was none.
        lost: what is gone in MLflow of the champion, so that nothing can be compared with it.
        warnings: what the contract of the training set warns of.
    """

    key: str
    learn: Rows
    later: Rows
    candidates: tuple[Candidate, ...]
    fits: Mapping[str, Pipeline]
    champion: Version | None
    lost: str | None = None
    warnings: tuple[str, ...] = ()


def score(run: Run, of: Scored) -> Evaluated:
    """The scores, what else the spec asks to look at, and which candidate is best."""
    spec, problem, later = run.spec, run.spec.problem, of.later
    rows_of_class = problem.rows_of_class(later.labels)
    log.info("%d rows of %d entities", len(later.labels), len(np.unique(later.keys)))
    for name, count in (rows_of_class or {}).items():
        log.info("  class %s: %d rows", name, count)
    predictions: dict[str, Floats] = {}
    scored: list[ScoredCandidate] = []
    # In the spec's order, and the first of equals is best: the same, whatever the
    # order in which the families were done.
    for candidate in sorted(of.candidates, key=lambda each: list(spec.families).index(each.family)):
        predictions[candidate.family] = rows.predict(of.fits[candidate.family], later.inputs)
        operating = problem.at(candidate.threshold)
        scores = _finite(scores_of(operating, later.labels, predictions[candidate.family], later.weights))
        log.info("%-24s %s", candidate.family, _line(scores))
        stated = None
        if candidate.calibrated_on is not None:
            before = rows.predict(calibrating.uncalibrated(of.fits[candidate.family]), later.inputs)
            found = _finite(scores_of(operating, later.labels, before, later.weights))
            stated = {str(name): found[name] for name in problem.metrics if not MEASURES[name].of_decisions}
            log.info("%-24s %s", "  before calibration", _line(stated))
        scored.append(ScoredCandidate(**dict(candidate), scores=scores, uncalibrated=stated))
    best = max(scored, key=lambda candidate: spec.search.measure.rank(candidate.search_score))
    learned = of.learn
    if best.backtest is not None:  # the baseline knows what the candidate learned from
        learned = windows.of(best.backtest.window, learned)
    trivial = baselines.of(spec, learned, later)
    baseline = _finite(scores_of(problem, later.labels, trivial.predictions, later.weights))
    log.info("%-24s %s", "baseline", _line(baseline))
    log.info("The baseline is %s", trivial.about)
    scored_champion = _score_champion(run, of, best, predictions[best.family], trivial.predictions)
    log.info("Best on the time folds: %s", best.family)
    looked = looking.look(
        looking.Candidate(
            spec,
            problem.at(best.threshold),
            learned,
            later,
            predictions[best.family],
            partial(rows.predict, of.fits[best.family]),
            _alike(run, later),
            best.run.id,
            () if best.selection is None else best.selection.dropped,
        )
    )
    return Evaluated(
        key=of.key,
        metric=spec.search.metric,
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
        importances=_leans_on(run, best, later, of.fits[best.family]),
        warnings=of.warnings,
        further=tuple(looked.gates),
        best=best,
        candidates=tuple(scored),
    )


def _leans_on(run: Run, best: ScoredCandidate, later: Rows, fit: Pipeline) -> tuple[Importance, ...]:
    """Which inputs the best candidate leans on. It decides nothing, so no training fails with it."""
    taking = run.spec if best.selection is None else run.spec.without(best.selection.dropped)
    try:
        return tuple(importance.of(taking, [importance.Fitted(later, partial(rows.predict, fit))]))
    except Exception:  # whatever a family's library raises when inputs change places
        log.warning("Which inputs %s leans on cannot be said", best.family, exc_info=True)
        return ()


def evaluation(evaluated: Evaluated, of: ScoredCandidate) -> Evaluation:
    """What is recorded of a candidate's scores; of the best one with what else was looked at."""
    shared = evaluated.model_dump(
        mode="json", include={"metric", "rows", "rows_of_class", "baseline", "baseline_is", "champion"}
    )
    told = {"slices", "fairness", "importances", "intervals"} if of.family == evaluated.best.family else set()
    return Evaluation(
        value=of.scores[evaluated.metric],
        scores=of.scores,
        uncalibrated=of.uncalibrated,
        **evaluated.model_dump(include=told),
        **shared,
    )


def verdicts(run: Run, evaluated: Evaluated) -> tuple[list[Gate], Gates]:
    """The gates of the best candidate, and what is recorded of them."""
    checked = rules.gates(rules.evidence(evaluated, run.spec.problem, run.as_of), run.spec.gates)
    gates = tuple(asdict(gate) for gate in checked)
    return checked, Gates(verdict=rules.verdict(checked), reason=rules.reason(checked), gates=gates)


def _score_champion(
    run: Run, of: Scored, best: ScoredCandidate, candidate: Floats, baseline: Floats
) -> ScoredChampion | None:
    """The champion on the same rows; None when there is none.

    One that cannot be scored is no reason to promote another.

    Args:
        best: the best candidate.
        candidate, baseline: the best candidate's predictions of the rows, and the trivial model's.
    """
    champion, later = of.champion, of.later
    if champion is None:
        log.info("%-24s none yet", "champion")
        return None
    unscored = ScoredChampion(
        version=champion.number, as_of=champion.as_of, is_candidate=champion.key in (of.key, refit_key(of.key))
    )
    named = f"champion, version {champion.number}"
    if of.lost:
        log.warning("%s", of.lost)
        return unscored.model_copy(update={"problem": of.lost})
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
            rows.inputs(columns, later.frame.reindex(columns=list(columns)))
        )
        predictions = run.spec.problem.of(trained.problem, answered)
        operating = run.spec.problem.at(loading.threshold(trained, registry.candidate(champion.run_id)))
    except TransientError:
        raise  # the registry may answer in a minute
    except Exception as error:  # noqa: BLE001  it is gone, or of another library's version
        problem = f"{named}: {type(error).__name__}: {' '.join(str(error).split())}"
        log.warning("%s", problem)
        return unscored.model_copy(update={"problem": problem})
    scores = _finite(scores_of(operating, later.labels, predictions, later.weights))
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


def _compared(run: Run, later: Rows, new: Floats, old: Floats) -> Comparison | None:
    """How much better one model predicts the rows than another; None: one of them has no defined score."""
    confidence = run.spec.gates.better_than_champion.confidence
    measured = metric(run.spec.problem, run.spec.search.metric).compare(
        later.labels, new, old, _alike(run, later), weights=later.weights, confidence=confidence
    )
    told = _finite({"gain": measured.gain, "low": measured.low, "high": measured.high, "tells": measured.tells})
    if told["gain"] is None:
        return None
    return Comparison(**told, rows=measured.rows, groups=measured.entities)


def _intervals(
    run: Run, operating: Problem, later: Rows, predictions: Floats
) -> dict[str, tuple[float | None, float | None]]:
    """The interval of each score."""
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
    *predictions: Floats,
) -> tuple[Since, Rows, list[Floats]]:
    """The rows from after a moment, with the models' predictions of them, the candidate's first, which has this
    threshold."""
    there = (later.frame[EVENT] > after).to_numpy()
    new = rows.of(run.spec, later.frame[there].reset_index(drop=True))
    answers = [each[there] for each in predictions]
    operating = run.spec.problem.at(threshold)
    scores = _finite(scores_of(operating, new.labels, answers[0], new.weights)) if len(new.labels) else None
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
