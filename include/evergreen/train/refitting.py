"""The recipe of a candidate once more, on all mature rows: what it learns from, its fit, and how the two compare.

No family of ours stops early: the number of boosting rounds, of trees and of epochs is a hyperparameter, so the refit
has as many as the fit that was judged. Where that fit learned from the rows since a change alone, so does the refit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime

import numpy as np

from evergreen.errors import EvidenceMissing
from evergreen.handovers.gate import Gate
from evergreen.handovers.handover import TrackedRun, finite
from evergreen.handovers.train import Judged, Refit
from evergreen.history import events, ledger
from evergreen.model import rows
from evergreen.model.metrics import metric
from evergreen.model.rows import Rows, predict
from evergreen.model.weightings import Floats
from evergreen.registry import artifacts, candidates, contents, pipelines, tracking
from evergreen.registry import records as registry
from evergreen.registry.contents import Evaluation, Trials
from evergreen.registry.rules import refit_key
from evergreen.registry.tags import Tag
from evergreen.run import Run
from evergreen.spec.columns import EVENT
from evergreen.train import costs, dataset, recipes, records, rules, tuning, windows


@dataclass(frozen=True)
class Whole:
    """What a refit learns from: every row that is mature."""

    key: str
    """Its training key."""
    content_hash: str
    """Digest of the rows."""
    versions: Mapping[str, int]
    """The tables that it was built from: `layer/name` → version."""
    learned: Rows
    learned_to: datetime
    """The last cutoff that it may have."""
    held_out: Rows
    """Those of the rows that the gates looked at."""
    differs: None = None


def learn(run: Run, key: str) -> Whole:
    """What the refit of a training learns from, out of the same versions of the same tables. It is recorded as a
    training set of its own, so that it can be built again, erased from and asked about.

    Args:
        key: the training's.

    Raises:
        EvidenceMissing: nothing is recorded of the training's set.
        VersionGone: a table that it was joined from cannot be read any more.
    """
    gated = records.find(key)
    if gated is None:
        raise EvidenceMissing(
            f"refitting {run.subject}",
            found=f"no record of the training set {key}",
            expected="what `build` wrote down of it",
            next_step="clear `build`, and what comes after it",
        )
    split = gated.split.whole
    built = dataset.rebuild(run.spec, split, gated.pins)
    content, of_refit = built.content_hash, refit_key(key)
    records.add(replace(gated, key=of_refit, split=split, content_hash=content, partitions=built.partitions, at=None))
    frame = built.rows.to_pandas()
    held_out = frame[frame[EVENT].between(gated.split.evaluate_from, gated.split.evaluate_to)].reset_index(drop=True)
    return Whole(
        of_refit, content, built.versions, rows.of(run.spec, frame), split.learn_to, rows.of(run.spec, held_out)
    )


def refit(run: Run, judged: Judged) -> Refit:
    """Fit, compare, and record in MLflow and the ledger which of the two fits is registered."""
    whole = learn(run, judged.key)
    gated = predict(pipelines.pipeline(judged.run.id), whole.held_out.inputs)
    evaluation = artifacts.load(registry.candidate(judged.run.id), Evaluation)
    run_id = fit(run, whole, judged, gated)
    after = predict(pipelines.pipeline(run_id), whole.held_out.inputs)
    made = checks(run, whole.held_out, evaluation, gated, after)
    window = recipes.of(run.spec, registry.candidate(run_id)).window
    count = len(windows.of(window, whole.learned).labels)
    failed = [f"{check.name}: {check.verdict} ({check.reason})" for check in made if check.verdict != "pass"]
    chosen = not failed
    reason = (
        f"the refit on {count:,} rows up to {run.spec.calendar.shown(whole.learned_to)} is registered"
        if chosen
        else f"the gated fit is registered, not its refit: {'; '.join(failed)}"
    )
    tracking.record(run, run_id, evaluation, metrics=evaluation.metrics)
    content = contents.Refit(
        gated=judged.run.id,
        refit=run_id,
        chosen=chosen,
        reason=reason,
        rows=count,
        learned_to=whole.learned_to.isoformat(),
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
            rows=count,
            learned_to=whole.learned_to,
            chosen=chosen,
            observed={check.name: finite(check.observed) for check in made},
            bounds={check.name: finite(check.bound) for check in made},
        )
    )
    return Refit(
        run=TrackedRun(id=run_id, page=tracking.url(run_id)),
        rows=count,
        learned_to=whole.learned_to,
        checks=made,
        chosen=chosen,
        reason=reason,
    )


def fit(run: Run, whole: Whole, judged: Judged, gated: Floats) -> str:
    """The MLflow run of the refit, which is made once.

    What the monitor compares with are the held-out rows, as the fit that was judged answers them: the refit's own
    answers to rows that it learned from would be too good.

    Args:
        gated: these answers.
    """
    spec, family = run.spec, judged.family
    study = tuning.study(spec.model, whole.key, family)
    with tuning.alone(study):
        done = tracking.find(spec.model, whole.key, family, study=study, is_idle=tuning.is_idle)
        if done is not None:
            return str(done.info.run_id)
        began, candidate = costs.Began.now(), registry.candidate(judged.run.id)
        recipe = recipes.of(spec, candidate)
        pipeline, learned = recipes.fit(spec, recipe, whole.learned)
        return candidates.log_candidate(
            run,
            whole,
            recipe=recipe,
            study=study,
            pipeline=pipeline,
            rows=learned,
            reference=candidates.compared_with(recipe.taking(spec), whole.held_out, gated),
            metrics={},
            fitting=began.until_now(len(learned.labels)),
            trials=artifacts.load(candidate, Trials),
            refit_of=judged.run.id,
        )


def checks(run: Run, newest: Rows, evaluation: Evaluation, gated: Floats, refit: Floats) -> tuple[Gate, ...]:
    """How the refit compares with the fit that was judged on the held-out rows, the newest there are.

    The refit has learned from these rows. So that it does well on them says nothing; that it does not is a fit that
    went wrong.

    Args:
        evaluation: of the fit that was judged.
        gated, refit: what each of them answers to these rows.
    """
    spec = run.spec
    measure = metric(spec.problem, spec.search.metric)
    return rules.refit_checks(
        spec.search.metric,
        spec.gates,
        gated=measure.value(newest.labels, gated, newest.weights),
        refit=measure.value(newest.labels, refit, newest.weights),
        baseline=evaluation.baseline.get(spec.search.metric),
        apart=float(np.sqrt(np.square(refit - gated).mean(axis=0).sum())),
        spread=float(np.sqrt(np.var(gated, axis=0).sum())),
    )
