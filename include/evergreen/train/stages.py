"""Stages of the training loop up to fitted candidates."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from evergreen.errors import EvidenceMissing
from evergreen.handovers.handover import TrackedRun
from evergreen.handovers.train import Approved, Candidate, Refitted, SoundTrainingSet, Stretch, TrainingSet
from evergreen.run import Run
from evergreen.spec.durations import duration_text
from evergreen.train import rules

if TYPE_CHECKING:
    from evergreen.registry.contents import Recipe

log = logging.getLogger(__name__)


def build(run: Run) -> TrainingSet:
    """Build the training set: labels mature at as_of, joined point in time with
    features, pinned by versions and content.

    Raises:
        EvidenceMissing: fewer rows to learn from than the spec asks for, or none to evaluate on.
    """
    from evergreen.features import objects
    from evergreen.lake import staging
    from evergreen.model.code import code_hash, spec_hash
    from evergreen.train import dataset, records

    spec, shown = run.spec, run.spec.calendar.shown
    staging.clean(spec.model)
    split = rules.split(run.as_of, spec, run.changed_at)
    objects.ensure_applied(spec)
    built = dataset.build(spec, split)
    learn, evaluate = built.count(split.learn_from, split.learn_to), built.count(split.evaluate_from, split.evaluate_to)
    if learn < spec.split.minimum_rows or evaluate == 0:
        since = f", whose evaluation lies after the change of {shown(run.changed_at)}" if run.changed_at else ""
        raise EvidenceMissing(
            f"building the training set of {run.subject}{since}",
            found=f"{learn} mature rows to learn from ({shown(split.learn_from)} to {shown(split.learn_to)}),"
            f" {evaluate} to evaluate on ({shown(split.evaluate_from)} to {shown(split.evaluate_to)})",
            expected=(
                f"at least {spec.split.minimum_rows} to learn from (split.minimum_rows in model.yaml), and some to "
                "evaluate on"
            ),
            next_step=(
                f"ingest what is missing up to {shown(spec.calendar.later(split.evaluate_to, spec.label.horizon))}"
                + (", or train as of a later moment" if spec.goes_on_after(run.as_of) else "")
                + ("" if learn >= spec.split.minimum_rows else "; or lower split.minimum_rows in model.yaml")
            ),
        )
    open_learn, open_evaluate = dataset.still_open(spec, split)
    _enough_known(run, {"learned from": (learn, open_learn), "evaluated on": (evaluate, open_evaluate)})
    key = rules.training_key(
        spec.model,
        run.as_of,
        built.content_hash,
        spec_hash(spec),
        code_hash(tuple(sorted(spec.families))),
        spec.search.seed,
        run.changed_at,
    )
    staged = staging.write(staging.WorkingFile(of=spec.model, run="train", name=key), built.rows, task="build")
    record = records.Record(
        key=key,
        model=spec.model,
        as_of=run.as_of,
        split=split,
        content_hash=built.content_hash,
        versions={str(table): version for table, version in built.pins.items()},
        partitions=built.partitions,
        taken_over=False,
    )
    differs = records.add(record)
    log.info(
        "Training set %s: %d rows to learn from (%s to %s), %d to evaluate on (%s to %s)",
        key,
        learn,
        shown(split.learn_from),
        shown(split.learn_to),
        evaluate,
        shown(split.evaluate_from),
        shown(split.evaluate_to),
    )
    if differs is not None:
        log.info("It has %s", differs)
    return TrainingSet(
        key=key,
        staged=staged,
        content_hash=built.content_hash,
        versions=built.versions,
        learn=Stretch(rows=learn, still_open=open_learn, start=split.learn_from, end=split.learn_to),
        evaluate=Stretch(rows=evaluate, still_open=open_evaluate, start=split.evaluate_from, end=split.evaluate_to),
        differs=differs,
    )


def _enough_known(run: Run, stretches: Mapping[str, tuple[int, int]]) -> None:
    """Hold how many outcomes are known against what the spec asks for: those that are known soonest are not like the
    others, and a model that is fitted or judged on them alone is of another world.

    Raises:
        EvidenceMissing: too many are still open.
    """
    known = run.spec.label.known
    if known is None:
        return
    told = [f"of {rows + waiting} {use} {rows / (rows + waiting):.1%}" for use, (rows, waiting) in stretches.items()]
    log.info("Predictions with a known outcome: %s; the others are still open, and left out", ", ".join(told))
    if any(rows < known.share * (rows + waiting) for rows, waiting in stretches.values()):
        raise EvidenceMissing(
            f"building the training set of {run.subject}",
            found=f"of the predictions with a known outcome: {', '.join(told)}",
            expected=f"{known.share:.0%} or more (label.known.share in model.yaml)",
            next_step=(
                f"write a longer label.horizon (it is {duration_text(run.spec.label.horizon)}): those that are "
                "decided soonest are not like the others"
            ),
        )


def tune(run: Run, data: SoundTrainingSet, family: str) -> Candidate:
    """Search a family's hyperparameters on time folds, fit the best on the learning rows, and log the candidate to
    MLflow. After a change of the world, choose first which of the learning rows it learns from; where the spec asks for
    it, which features it takes.

    Raises:
        EvidenceMissing: no time fold can be scored, or no trial came to its end.
    """
    from evergreen.model import rows
    from evergreen.registry import candidates, records, tracking
    from evergreen.train import costs, recipes, searching, selecting, tuning

    began, spec, study = costs.Began.now(), run.spec, tuning.study(run.spec.model, data.key, family)
    with tuning.alone(study):
        finished = tracking.find(spec.model, data.key, family, study=study, is_idle=tuning.is_idle)
        if finished is not None:
            log.info("%s: this training was done before; nothing to do", family)
            run_id = finished.info.run_id
            recipe = recipes.of(spec, records.candidate(run_id))
            return _candidate(run, data, recipe, run_id, finished.data.metrics)
        learn = rows.read(spec, data, "learn")
        found = searching.search(run, family, learn, study=study)
        recipe, best = found.recipe, found.taken
        pipeline, learned = recipes.fit(spec, recipe, learn)
        # What it says of rows that it learned from is too sure: every day would be unlike it.
        held_out = rows.read(spec, data, "evaluate")
        reference = candidates.compared_with(recipe.taking(spec), held_out, rows.predict(pipeline, held_out.inputs))
        metrics = {"search_score": best.value, "search_trials": float(len(found.trials))}
        run_id = candidates.log_candidate(
            run,
            data,
            recipe=recipe,
            study=study,
            pipeline=pipeline,
            rows=learned,
            reference=reference,
            metrics=metrics,
            fitting=began.until_now(len(learned.labels)),
            trials=found.recorded,
        )
    pruned = sum(trial.state.name == "PRUNED" for trial in found.trials)
    log.info(
        "%s: %s %.4f on time folds, of %d trials (%d pruned)",
        family,
        spec.search.metric,
        best.value,
        len(found.trials),
        pruned,
    )
    log.info("%s takes %s", family, found.reason)
    log.info("%s: %s", family, ", ".join(f"{name} {value:.4g}" for name, value in recipe.parameters.items()))
    if recipe.threshold is not None:
        log.info("%s: a yes is worth more than a no from a probability of %.4f on", family, recipe.threshold)
    if recipe.calibration is not None:
        log.info("%s states probabilities by a map of its scores: %s", family, recipe.calibration)
    for line in () if recipe.selection is None else selecting.lines(recipe.selection):
        log.info("%s: %s", family, line)
    if recipe.backtest is not None:
        log.info("%s learned from %s", family, recipe.backtest.reason)
    return _candidate(run, data, recipe, run_id, metrics)


def refit(run: Run, judged: Approved) -> Refitted:
    """Fit the recipe of a candidate that passed its gates anew on all mature rows, where the spec asks for it, and say
    which of the two fits is registered.

    A refit that is too far from the fit that the gates judged is not: then the gated fit is.
    """
    gated = Refitted(**dict(judged), gated=judged.run, refit=None)
    if not (run.spec.refit and judged.passed):
        log.info("No refit: %s", "the spec asks for none" if judged.passed else "nothing is registered")
        return gated
    from evergreen.registry.rules import refit_key
    from evergreen.train import refitting

    made = refitting.refit(run, judged)
    for check in made.checks:
        log.info("%s: %s (%s)", check.name, check.verdict, check.reason)
    log.info("%s", made.reason)
    chosen = {"run": made.run, "key": refit_key(judged.key)} if made.chosen else {}
    return gated.model_copy(update={**chosen, "refit": made})


def _candidate(
    run: Run, data: SoundTrainingSet, recipe: Recipe, run_id: str, metrics: Mapping[str, float]
) -> Candidate:
    """What the search came to, which the ledger has too, once."""
    from evergreen.history import events, ledger
    from evergreen.registry import tracking

    trained = events.Trained(
        id=f"trained/{run_id}",
        model=run.spec.model,
        as_of=run.as_of,
        actor=run.actor,
        reason=run.reason,
        run_id=run_id,
        key=data.key,
        family=recipe.family,
        metric=run.spec.search.metric,
        score=metrics["search_score"],
        trials=int(metrics["search_trials"]),
        decision_id=run.decision_id,
        differs=None if data.differs is None else events.DataDiffers(**dict(data.differs)),
        learned_from=None if recipe.backtest is None else recipe.backtest.reason,
        selected=None if recipe.selection is None else recipe.selection.reason,
    )
    ledger.append(trained)
    return Candidate(
        family=recipe.family,
        run=TrackedRun(id=run_id, page=tracking.url(run_id)),
        search_score=metrics["search_score"],
        trials=int(metrics["search_trials"]),
        backtest=recipe.backtest,
        threshold=recipe.threshold,
        calibrated_on=None if recipe.calibration is None else recipe.calibration.rows,
        selection=recipe.selection,
    )
