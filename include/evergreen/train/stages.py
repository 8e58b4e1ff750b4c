"""Stages of the training loop up to fitted candidates."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from evergreen.errors import EvidenceMissing
from evergreen.run import Run
from evergreen.train import rules

if TYPE_CHECKING:
    import optuna

log = logging.getLogger(__name__)

Json = dict[str, Any]


def build(run: Run) -> Json:
    """Build the training set: labels mature at as_of, joined point in time with features, pinned by versions and content.

    Returns:
        `{"key", "path", "rows", "content_hash", "versions", "learn": {"rows", "from", "to"}, "evaluate": {…}}`

    Raises:
        EvidenceMissing: fewer rows to learn from than the spec asks for, or none to evaluate on.
    """
    import pyarrow as pa

    from evergreen.features import store
    from evergreen.lake import staging
    from evergreen.train import dataset
    from evergreen.train.code import code_hash

    spec = run.spec
    store.ensure_applied(spec)
    data = dataset.build(run)
    learn, evaluate, minimum = len(data.learn), len(data.evaluate), spec.split.minimum_rows
    if learn < minimum or evaluate == 0:
        raise EvidenceMissing(
            f"building the training set of {spec.model} as of {run.as_of:%Y-%m-%d}",
            found=f"{learn} mature rows to learn from ({data.split.learn_from:%Y-%m-%d} to {data.split.learn_to:%Y-%m-%d}), {evaluate} to evaluate on",
            expected=f"at least {minimum} (split.minimum_rows), and some to evaluate on",
            next_step="ingest more days, or train as of a later day; see the labels in the lake",
        )
    key = rules.training_key(
        spec.model, run.as_of, data.content_hash, rules.spec_hash(spec), code_hash(), spec.search.seed
    )
    path = staging.path(spec.model, "train", key)
    staging.write(path, pa.Table.from_pandas(data.frame, preserve_index=False))
    log.info("Training set %s: %d rows to learn from, %d to evaluate on, content %s", key, learn, evaluate, data.content_hash)
    return {
        "key": key, "path": str(path), "rows": len(data.frame), "content_hash": data.content_hash, "versions": data.versions,
        "learn": {"rows": learn, "from": data.split.learn_from.isoformat(), "to": data.split.learn_to.isoformat()},
        "evaluate": {"rows": evaluate, "from": data.split.evaluate_from.isoformat(), "to": data.split.evaluate_to.isoformat()},
    }  # fmt: skip


def tune(run: Run, data: Json, family: str) -> Json:
    """Search a family's hyperparameters on time folds, fit the best on all learning rows, and log the candidate to MLflow.

    Returns:
        `{"family", "mlflow_run_id", "best_score", "trials", "parameters"}`

    Raises:
        EvidenceMissing: no time fold can be scored, or no trial was completed.
    """
    from threadpoolctl import threadpool_limits

    from evergreen.train import families, tracking

    found = tracking.find(run.spec.model, data["key"], family)
    if found is not None:
        log.info("%s: this training was done before, in MLflow run %s; nothing to do", family, found.info.run_id)
        run.links["MLflow run"] = tracking.url(found.info.run_id)
        return _result(found.info.run_id, family, found.data.metrics["search_score"], int(found.data.metrics["search_trials"]))

    frame, inputs, labels = _learning_rows(run, data)
    with threadpool_limits(1):  # families are tuned side by side, one core each
        study = _search(run, data, family)
        best = study.best_trial
        log.info("%s: best of %d trials is number %d: %s %.4f", family, len(study.trials), best.number, run.spec.search.metric, best.value)
        pipeline = families.build(family, best.params, run.spec.feature_types, run.spec.search.seed).fit(inputs, labels)
        predictions = pipeline.predict_proba(inputs)[:, 1]
    finished = [trial for trial in study.trials if trial.state.name in ("COMPLETE", "PRUNED")]
    run_id = tracking.log_candidate(
        run, key=data["key"], family=family, pipeline=pipeline, parameters=best.params,
        metrics={"search_score": best.value, "search_trials": len(finished), "learning_rows": len(frame)},
        facts={
            "evergreen.content_hash": data["content_hash"], "evergreen.versions": str(data["versions"]),
            "evergreen.study": study.study_name, "evergreen.seed": str(run.spec.search.seed), "evergreen.spec": rules.spec_hash(run.spec),
            **({"evergreen.changed_at": run.changed_at.isoformat()} if run.changed_at else {}),
        },
        learned=frame, inputs=inputs, predictions=predictions,
    )  # fmt: skip
    run.links["MLflow run"] = tracking.url(run_id)
    return _result(run_id, family, best.value, len(finished))


def _result(run_id: str, family: str, score: float, trials: int) -> Json:
    return {"family": family, "mlflow_run_id": run_id, "best_score": score, "trials": trials}


def _learning_rows(run: Run, data: Json) -> tuple[Any, Any, Any]:
    """The learning rows: the frame, the model's inputs, the labels."""
    from datetime import datetime

    import pandas as pd

    from evergreen.train import dataset

    frame = pd.read_parquet(data["path"])
    learn = frame[frame[dataset.EVENT] <= datetime.fromisoformat(data["learn"]["to"])].reset_index(drop=True)
    return learn, dataset.inputs(run.spec, learn), learn[run.spec.label.name].to_numpy("int64")


def _search(run: Run, data: Json, family: str) -> optuna.Study:
    from evergreen.evaluate.metrics import METRICS
    from evergreen.spec.schema import LOWER_IS_BETTER
    from evergreen.train import dataset, families, tuning

    spec = run.spec
    frame, inputs, labels = _learning_rows(run, data)
    cutoffs = frame[dataset.EVENT]
    times = rules.folds([moment.to_pydatetime() for moment in cutoffs.unique()], spec.label.horizon, spec.split.folds)
    pairs = [((cutoffs <= fold.learn_to).to_numpy(), cutoffs.between(fold.score_from, fold.score_to).to_numpy()) for fold in times]
    usable = [(learn, test) for learn, test in pairs if 0 < labels[learn].mean() < 1 and 0 < labels[test].mean() < 1]
    if not usable:
        raise EvidenceMissing(
            f"searching {family} for {run.subject}",
            found=f"{cutoffs.nunique()} learning days, of which none can be scored on earlier ones",
            expected=f"learning days further apart than the label's horizon ({spec.label.horizon}), with both classes",
            next_step="train as of a later day, or widen split.window in model.yaml",
        )
    metric = METRICS[spec.search.metric]

    def scores(trial: optuna.Trial) -> Iterator[float]:
        parameters = families.suggest(trial, family, spec.families[family])
        for learn, test in usable:
            fitted = families.build(family, parameters, spec.feature_types, spec.search.seed).fit(inputs[learn], labels[learn])
            yield metric(labels[test], fitted.predict_proba(inputs[test])[:, 1])

    return tuning.tune(
        f"{spec.model}/{data['key']}/{family}", scores,
        trials=spec.search.trials, seed=spec.search.seed, maximize=spec.search.metric not in LOWER_IS_BETTER,
    )  # fmt: skip
