"""The recipe of a candidate once more, on all mature rows: what it learns from, its fit, and how the two compare.

The recipe is the family, its chosen hyperparameters and the seed. No family of ours stops early: the number of boosting
rounds, of trees and of epochs is a hyperparameter, so the refit has as many as the fit that was judged.
"""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
from threadpoolctl import threadpool_limits

from evergreen.errors import EvidenceMissing
from evergreen.handovers.handover import TrackedRun, finite
from evergreen.handovers.train import Gate, Judged, Refit, Stretch, TrainingSet
from evergreen.history import events, ledger
from evergreen.model import families, rows
from evergreen.model.metrics import metric
from evergreen.model.rows import Rows, predict
from evergreen.registry import artifacts, candidates, contents, loading, tracking
from evergreen.registry import records as registry
from evergreen.registry.contents import Evaluation, Trials
from evergreen.registry.rules import refit_key
from evergreen.registry.tags import Tag
from evergreen.run import Run
from evergreen.train import dataset, records, rules, tuning


def learn(run: Run, data: TrainingSet) -> tuple[TrainingSet, Rows]:
    """What the refit of a training learns from: every row that is mature, out of the same versions of the same tables.
    It is recorded as a training set of its own, so that it can be built again, erased from and asked about.

    Raises:
        EvidenceMissing: nothing is recorded of the training's set.
        VersionGone: a table that it was joined from cannot be read any more.
    """
    gated = records.find(data.key)
    if gated is None:
        raise EvidenceMissing(
            f"refitting {run.subject}",
            found=f"no record of the training set {data.key}",
            expected="what `build` wrote down of it",
            next_step="clear `build`, and what comes after it",
        )
    whole = gated.split.whole
    built = dataset.rebuild(run.spec, whole, gated.pins)
    key = refit_key(data.key)
    records.add(
        replace(gated, key=key, split=whole, content_hash=built.content_hash, partitions=built.partitions, at=None)
    )
    stretch = Stretch(rows=built.rows.num_rows, start=whole.learn_from, end=whole.learn_to)
    of_refit = {"key": key, "content_hash": built.content_hash, "versions": built.versions, "learn": stretch}
    return data.model_copy(update={**of_refit, "differs": None}), rows.of(run.spec, built.rows.to_pandas())


def refit(run: Run, data: TrainingSet, judged: Judged) -> Refit:
    """Fit, compare, and record in MLflow and the ledger which of the two fits is registered."""
    whole, run_id = fit(run, data, judged)
    made = checks(run, data, judged, run_id)
    failed = [f"{check.name}: {check.verdict} ({check.reason})" for check in made if check.verdict != "pass"]
    chosen = not failed
    reason = (
        f"the refit on {whole.learn.rows:,} rows up to {run.spec.calendar.shown(whole.learn.end)} is registered"
        if chosen
        else f"the gated fit is registered, not its refit: {'; '.join(failed)}"
    )
    tracking.record(
        run,
        run_id,
        (evaluation := artifacts.load(registry.candidate(judged.run.id), Evaluation)),
        metrics=evaluation.metrics,
    )
    content = contents.Refit(
        gated=judged.run.id,
        refit=run_id,
        chosen=chosen,
        reason=reason,
        rows=whole.learn.rows,
        learned_to=whole.learn.end.isoformat(),
        checks=tuple(asdict(check) for check in made),
    )
    for each, what, other in ((judged.run.id, "gated", not chosen), (run_id, "refit", chosen)):
        tracking.record(run, each, content, tags={Tag.FIT: f"{what}, {'registered' if other else 'not registered'}"})
    ledger.append(
        events.Refitted(
            id=f"refitted/{run_id}",
            model=run.spec.model,
            as_of=run.as_of,
            actor=run.actor,
            reason=reason,
            run_id=run_id,
            gated=judged.run.id,
            key=whole.key,
            family=judged.family,
            rows=whole.learn.rows,
            learned_to=whole.learn.end,
            chosen=chosen,
            observed={check.name: finite(check.observed) for check in made},
            bounds={check.name: finite(check.bound) for check in made},
        )
    )
    return Refit(
        run=TrackedRun(id=run_id, page=tracking.url(run_id)),
        rows=whole.learn.rows,
        learned_to=whole.learn.end,
        checks=made,
        chosen=chosen,
        reason=reason,
    )


def fit(run: Run, data: TrainingSet, judged: Judged) -> tuple[TrainingSet, str]:
    """What the refit learned from, and its MLflow run, which is made once.

    What the monitor compares with are the held-out rows, as the fit that was judged answers them: the refit's own
    answers to rows that it learned from would be too good.

    Args:
        data: the training's set.
    """
    spec, family = run.spec, judged.family
    whole, learned = learn(run, data)
    study = tuning.study(spec.model, whole.key, family)
    with tuning.alone(study):
        done = tracking.find(spec.model, whole.key, family, study=study, is_idle=tuning.is_idle)
        if done is not None:
            return whole, str(done.info.run_id)
        trials = artifacts.load(registry.candidate(judged.run.id), Trials)
        ended = [(each.score, each) for each in trials.root if each.state == "COMPLETE" and each.score is not None]
        # The first of equals, as in the search.
        _, best = max(ended, key=lambda each: spec.search.measure.rank(each[0]))
        held_out = rows.read(spec, data, "evaluate")
        answers = predict(loading.pipeline(judged.run.id), held_out.inputs)
        with threadpool_limits(1):  # as the search does: the same order of additions
            pipeline = families.build(
                family, dict(best.parameters), spec.feature_types, spec.search.seed, label=spec.problem.kind
            ).fit(learned.inputs, learned.labels)
        run_id = candidates.log_candidate(
            run,
            whole,
            family=family,
            study=study,
            pipeline=pipeline,
            rows=learned,
            parameters=best.parameters,
            metrics={},
            trials=trials,
            refit_of=candidates.RefitOf(judged.run.id, held_out.inputs.assign(**spec.problem.columns(answers))),
        )
    return whole, run_id


def checks(run: Run, data: TrainingSet, judged: Judged, refit: str) -> tuple[Gate, ...]:
    """How the refit compares with the fit that was judged on the held-out rows, the newest there are.

    The refit has learned from these rows. So that it does well on them says nothing; that it does not is a fit that
    went wrong.
    """
    spec, newest = run.spec, rows.read(run.spec, data, "evaluate")
    measure = metric(spec.problem, spec.search.metric)
    baseline = artifacts.load(registry.candidate(judged.run.id), Evaluation).baseline.get(spec.search.metric)
    before, after = (predict(loading.pipeline(each), newest.inputs) for each in (judged.run.id, refit))
    scores = (measure.value(newest.labels, before), measure.value(newest.labels, after))
    apart = float(np.sqrt(np.square(after - before).mean(axis=0).sum()))
    spread = float(np.sqrt(np.var(before, axis=0).sum()))
    return rules.refit_checks(
        spec.search.metric, spec.gates, gated=scores[0], refit=scores[1], baseline=baseline, apart=apart, spread=spread
    )
