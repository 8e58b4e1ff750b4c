"""Stages of the training loop up to fitted candidates."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from evergreen.errors import EvidenceMissing
from evergreen.handovers.handover import TrackedRun
from evergreen.handovers.train import Approved, Candidate, Refitted, SoundTrainingSet, Stretch, TrainingSet
from evergreen.run import Run
from evergreen.spec.durations import duration_text
from evergreen.train import rules

if TYPE_CHECKING:
    import optuna

    from evergreen.registry.contents import Recipe
    from evergreen.train.folding import Part

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
    MLflow. After a change of the world, choose first which of the learning rows it learns from.

    Raises:
        EvidenceMissing: no time fold can be scored, or no trial came to its end.
    """
    from threadpoolctl import threadpool_limits

    from evergreen.model import rows
    from evergreen.registry import candidates, records, tracking
    from evergreen.registry.contents import Recipe, Trial, Trials
    from evergreen.train import backtesting, costs, folding, recipes, tuning

    began, spec, study = costs.Began.now(), run.spec, tuning.study(run.spec.model, data.key, family)
    with tuning.alone(study):
        finished = tracking.find(spec.model, data.key, family, study=study, is_idle=tuning.is_idle)
        if finished is not None:
            log.info("%s: this training was done before; nothing to do", family)
            run_id = finished.info.run_id
            recipe = recipes.of(spec, records.candidate(run_id))
            return _candidate(run, data, recipe, run_id, finished.data.metrics)
        learn = rows.read(spec, data, "learn")
        with threadpool_limits(1):  # families are tuned side by side, one core each
            folded = backtesting.fold(run, family, learn)
            trials = tuning.search(
                study,
                lambda trial: _scores(run, family, folded.parts, trial),
                trials=spec.search.trials,
                seed=_seed(run, family),
                maximize=not spec.search.measure.lower_is_better,
                first=lambda: _first(run, family),
            )
            best, why = _taken(run, family, trials)
            threshold = folding.threshold(spec, folded.parts, family, best.params)
        recipe = Recipe(
            family=family,
            parameters=best.params,
            seed=spec.search.seed,
            backtest=folded.backtest,
            threshold=threshold,
        )
        pipeline, learned = recipes.fit(spec, recipe, learn)
        # What it says of rows that it learned from is too sure: every day would be unlike it.
        held_out = rows.read(spec, data, "evaluate")
        reference = candidates.compared_with(spec, held_out, rows.predict(pipeline, held_out.inputs))
        metrics = {"search_score": best.value, "search_trials": float(len(trials))}
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
            trials=Trials(
                tuple(
                    Trial(
                        state=trial.state.name,
                        score=trial.value,
                        parameters=trial.params,
                        proposed_by=tuning.proposer(trial),
                        folds=tuning.of_folds(trial) if trial.state.name == "COMPLETE" else (),
                        taken=trial.number == best.number,
                    )
                    for trial in trials
                )
            ),
        )
    pruned = sum(trial.state.name == "PRUNED" for trial in trials)
    log.info(
        "%s: %s %.4f on time folds, of %d trials (%d pruned)",
        family,
        spec.search.metric,
        best.value,
        len(trials),
        pruned,
    )
    log.info("%s takes %s", family, why)
    log.info("%s: %s", family, ", ".join(f"{name} {value:.4g}" for name, value in best.params.items()))
    if threshold is not None:
        log.info("%s: a yes is worth more than a no from a probability of %.4f on", family, threshold)
    if folded.backtest is not None:
        log.info("%s learned from %s", family, folded.backtest.reason)
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
    )
    ledger.append(trained)
    return Candidate(
        family=recipe.family,
        run=TrackedRun(id=run_id, page=tracking.url(run_id)),
        search_score=metrics["search_score"],
        trials=int(metrics["search_trials"]),
        backtest=recipe.backtest,
        threshold=recipe.threshold,
    )


def _seed(run: Run, family: str) -> str:
    """Of a study: models of one seed, and trainings of one model, try different points."""
    return f"{run.spec.search.seed}/{run.spec.model}/{family}/{run.as_of.isoformat()}"


def _first(run: Run, family: str) -> list[rules.Proposal]:
    """What a new study tries first: the library's defaults, what else the family declares, then the best of the
    model's last study before this training's moment."""
    from evergreen import families
    from evergreen.registry import tracking
    from evergreen.spec.families import space
    from evergreen.train import tuning

    model, ranges = run.spec.model, space(family, run.spec.families[family])
    key = tracking.last_key(model, family, before=run.as_of)
    last = "" if key is None else tuning.study(model, key, family)
    best = tuning.best(last, rules.WARM_TRIALS) if last else []
    declared = families.family(family).also
    return rules.first_trials(ranges, best, study=last, trials=run.spec.search.trials, declared=declared)


def _scores(run: Run, family: str, parts: Sequence[Part], trial: optuna.Trial) -> Iterator[float]:
    """The score of each time fold, for the parameters that the trial suggests."""
    from evergreen.model import families
    from evergreen.train import backtesting

    parameters = families.suggest(trial, family, run.spec.families[family])
    for part in parts:
        yield backtesting.score(run, family, parameters, part)


def _taken(run: Run, family: str, trials: list[optuna.trial.FrozenTrial]) -> tuple[optuna.trial.FrozenTrial, str]:
    """The trial that the candidate is made of, and why it is."""
    from evergreen.train import choosing, tuning

    ended = [trial for trial in trials if trial.state.name == "COMPLETE"]
    if not ended:
        raise EvidenceMissing(
            f"searching {family} for {run.subject}",
            found=f"none of {len(trials)} trials gave finite predictions",
            expected="a model that converges",
            next_step=f"narrow the ranges under families.{family} in model.yaml (learning_rate, for one)",
        )
    taken = ended[choosing.choose([tuning.of_folds(trial) for trial in ended], run.spec.search.measure)]
    if taken is ended[0]:
        return taken, f"trial {taken.number} ({tuning.proposer(taken)}): none after it is better on every fold"
    than = f"trial {ended[0].number} ({tuning.proposer(ended[0])})"
    return taken, f"trial {taken.number} ({tuning.proposer(taken)}): better than {than} on every fold"
