"""Stages between candidates and the registry: score on untouched rows, then decide by the gates."""

from __future__ import annotations

import logging

from evergreen.errors import EvidenceMissing
from evergreen.evaluate import rules, ways_out
from evergreen.handovers.described import Described
from evergreen.handovers.gate import doubts
from evergreen.handovers.handover import TrackedRun
from evergreen.handovers.train import Candidate, Evaluated, Judged, SoundTrainingSet
from evergreen.links import Link
from evergreen.run import Run

log = logging.getLogger(__name__)


def evaluate(run: Run, data: SoundTrainingSet, candidates: tuple[Candidate, ...]) -> Evaluated:
    """Score every candidate, the champion and the baseline on the same later rows, which no search has seen.

    The best candidate is the one that the time folds of the learning rows say is best: choosing by the evaluation rows
    would flatter it on the rows that its gates look at.
    """
    from evergreen.evaluate import looking, scoring
    from evergreen.model import importance, rows
    from evergreen.registry import pipelines, store, tracking

    champion = store.champion(run.spec.model)
    evaluated = scoring.score(
        run,
        scoring.Scored(
            key=data.key,
            learn=rows.read(run.spec, data, "learn"),
            later=rows.read(run.spec, data, "evaluate"),
            candidates=candidates,
            fits={candidate.family: pipelines.pipeline(candidate.run.id) for candidate in candidates},
            champion=champion,
            lost=None if champion is None else store.lost_champion(run.spec.model),
            warnings=data.warnings,
        ),
    )
    for line in (*looking.lines(evaluated.slices), *importance.lines(evaluated.metric, evaluated.importances)):
        log.info("%s", line)
    for scored in evaluated.candidates:
        evaluation = scoring.evaluation(evaluated, scored)
        tracking.record(run, scored.run.id, evaluation, metrics=evaluation.metrics)
    return evaluated


def describe(run: Run, data: SoundTrainingSet, evaluated: Evaluated) -> Described:
    """Let people find the training in MLflow: its trials and pictures.

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
    from evergreen.evaluate import judgements, scoring, telling
    from evergreen.registry import tracking
    from evergreen.registry.contents import GateReport

    best, scored_champion = evaluated.best, evaluated.champion
    checked, content = scoring.verdicts(run, evaluated)
    verdict, reason = content.verdict, content.reason
    for line in rules.table(checked):
        log.info("%s", line)
    log.info("%s: %s", verdict.capitalize(), reason)
    report = telling.paper(run, evaluated, checked)
    shown = GateReport(text=report.markdown(), page=report.page())
    content = content.model_copy(update={"report": shown})
    tracking.record(run, best.run.id, content, tags=content.tags)
    judgements.keep(
        run,
        checked,
        run_id=best.run.id,
        key=evaluated.key,
        family=best.family,
        compared_with=None if scored_champion is None else scored_champion.version,
    )
    page = telling.write(run, shown.page)
    if verdict == "no evidence":
        raise EvidenceMissing(
            f"deciding the gates of {run.subject}",
            found="\n    ".join(["", *rules.table(checked)]),
            expected="evidence for every gate; nothing was promoted, the champion goes on serving",
            next_step=ways_out.way_out(run.spec, run.as_of, evaluated, checked),
            links={Link.GATE_REPORT: page},
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
        warnings=(*evaluated.warnings, *doubts(checked)),
        report=page,
    )
