"""Stages of the monitoring loop.

It reads the predictions that the server logged for requests, and nothing else of them.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from evergreen.errors import StageSkipped
from evergreen.handovers.handover import finite
from evergreen.handovers.monitor import (
    Alerted,
    Collected,
    Compared,
    Conf,
    Decided,
    Drift,
    Performance,
    Quality,
    Reported,
    Retraining,
)
from evergreen.lake.schema import LABELS, PREDICTIONS
from evergreen.monitor import rules
from evergreen.run import Run
from evergreen.settings import settings
from evergreen.spec.columns import AS_OF, EVENT, KNOWN_AT, LABEL, PARTITION, PROBABILITIES
from evergreen.spec.durations import duration_text
from evergreen.spec.kinds import KINDS
from evergreen.spec.problem import class_of, is_output
from evergreen.spec.schema import ModelSpec
from evergreen.status.rules import age_text, is_stale

if TYPE_CHECKING:
    import pandas as pd

    from evergreen.interval import Interval
    from evergreen.registry.records import Candidate

log = logging.getLogger(__name__)


def collect(run: Run) -> Collected:
    """Copy the interval's predictions from the prediction log to the lake."""
    from collections import Counter

    import pyarrow as pa

    from evergreen.lake import calendars, catalogue, partitions, space
    from evergreen.monitor import origins
    from evergreen.serve import predictions
    from evergreen.status import facts

    spec, partition = run.spec, run.interval.partition
    calendars.check(spec.datasets.values())
    logged = predictions.between(spec.model, run.interval.start, run.interval.end)
    about, features = spec.entity, {name: KINDS[kind] for name, kind in spec.feature_types.items()}
    schema = pa.schema(
        {
            **{name: KINDS[kind].stored() for name, kind in about.columns.items()},
            **PREDICTIONS.arrow,
            **{name: kind.modelled_arrow() for name, kind in features.items()},
        }
    )
    rows = [
        {
            **{name: kind.logged(row.features.get(name)) for name, kind in features.items()},
            **about.of_text(row.entity),
            **{name: getattr(row, name) for name in PREDICTIONS.arrow if name not in (KNOWN_AT, PROBABILITIES)},
            PROBABILITIES: row.probabilities and json.dumps(row.probabilities),
            KNOWN_AT: run.as_of,
        }
        for row in logged
    ]
    table = pa.Table.from_pylist(rows, schema)
    made = Counter(row["version"] for row in rows)
    entry = partitions.replace(PREDICTIONS.of(spec.model).at(partition), table, known_at=run.as_of)
    catalogue.record(entry, inputs={entry.of: origins.of_predictions(spec, logged)})
    champion = _champion(run)
    log.info("%d predictions by versions %s; champion: %s", len(rows), dict(made), champion or "none")
    views = facts.views(spec, run.interval)
    ages = {name: age for name, view in views.items() if (age := view.age(run.as_of)) is not None}
    for name, age in ages.items():
        log.info("Features %s: %s old", name, age_text(age))
    return Collected(
        partition=partition,
        rows=len(rows),
        version=max(made, key=lambda version: (made[version], version)) if made else None,
        champion=champion,
        ages={name: age / timedelta(hours=1) for name, age in ages.items()},
        warnings=(*space.warnings(space.places(settings())), *_stale(spec, ages)),
        table_version=entry.table_version,
    )


def _stale(spec: ModelSpec, ages: Mapping[str, timedelta]) -> list[str]:
    """What is said of features that were older than their view allows."""
    return [
        f"the features of {name} were {age_text(age)} old at the interval's end, more than its freshness allows "
        f"({duration_text(freshness.bound)})"
        for name, age in ages.items()
        if (freshness := spec.features[name].freshness) is not None and is_stale(freshness, age)
    ]


def quality(run: Run, collected: Collected) -> Quality:
    """Compare the shares of nulls with the reference's: a feature that stops arriving is a data incident, not drift."""
    from evergreen.monitor import comparison, findings

    bounds = run.spec.monitoring
    volume = findings.volume(collected.rows, bounds.minimum_rows, expected=collected.champion is not None)
    if collected.version is None:
        return Quality(missing={}, findings=tuple(volume))
    # Of the interval alone: a sensor that fails is an incident of its own interval, not of a whole window.
    missing = comparison.missing(_window(run, collected, [run.interval]), _reference(run, collected.version))
    nulls, ages = findings.nulls(missing, bounds.missing_share), findings.ages(run.spec, collected.ages)
    found = (*volume, *nulls, *ages)
    for finding in found:
        log.warning("%s", finding.said)
    return Quality(missing=missing, findings=found)


def drift(run: Run, collected: Collected) -> Drift:
    """Measure how far features and predictions are from what the version was trained on."""
    from evergreen.monitor import comparison, findings

    if collected.version is None or collected.rows == 0:
        log.info("No predictions in the window: nothing to compare")
        return Drift(distances={}, prediction=None, classes={})
    intervals = run.spec.calendar.back(run.interval, run.spec.window)
    window, reference = _window(run, collected, intervals), _reference(run, collected.version)
    measured = comparison.distances(run.spec, window, reference)
    distances = {name: distance for name, distance in measured.items() if finite(distance) is not None}
    for name in measured.keys() - distances.keys():
        log.warning("%s: its distance cannot be measured, infinite values are among its own", name)
    predictions = {name: distances.pop(name) for name in list(distances) if is_output(name)}
    classes = {class_of(name): distance for name, distance in predictions.items()} if run.spec.problem.by_class else {}
    bounds = run.spec.monitoring
    bound, whole = bounds.feature_drift, max(predictions.values(), default=None)
    found = findings.drifted(distances, lambda _: bound)
    if whole is not None:
        found += findings.predictions_drifted(whole, bounds.prediction_drift, classes)
    for name, distance in sorted(distances.items(), key=lambda item: -item[1]):
        log.info("%-28s %.3f%s", name, distance, "  drifted" if distance > bound else "")
    for name, distance in predictions.items():
        log.info("%-28s %.3f", name, distance)
    if not predictions:
        log.info("%-28s no values", "prediction")
    return Drift(distances=distances, prediction=whole, classes=classes, findings=tuple(found))


def performance(run: Run, collected: Collected) -> Performance:
    """Score the predictions whose labels matured within this interval, against the version's own evaluation."""
    from evergreen.lake import tables
    from evergreen.model import rows
    from evergreen.model.metrics import metric
    from evergreen.monitor import findings
    from evergreen.registry import artifacts
    from evergreen.registry.contents import Evaluation

    problem, name = run.spec.problem, run.spec.search.metric
    known = tables.version(LABELS.of(run.spec.model, run.spec.label.name))
    nothing = Performance(
        metric=name, value=None, reference=None, drop=None, significant=False, rows=0, labels_version=known
    )
    scored, still_open = _matured(run, collected, known)
    nothing = nothing.model_copy(update={"still_open": still_open})
    if still_open:
        log.info("%d predictions of version %s have no known outcome yet", still_open, collected.version)
    if collected.version is None or scored is None:
        log.info("No matured labels of this version's predictions yet")
        return nothing
    labels, predictions = problem.labels(scored[LABEL]), problem.of_columns(scored)
    evaluated = artifacts.load(_candidate(run, collected.version), Evaluation).value
    reference = math.nan if evaluated is None else evaluated
    weights = rows.weights(run.spec, scored)
    loss = metric(problem, name).loss(labels, predictions, reference, weights=weights)
    if not math.isfinite(loss.value):
        lacking = problem.lacking(set(labels.tolist())) or "predictions that are no numbers"
        log.info("%s has no value on %d matured rows: %s", name, len(labels), lacking)
        return nothing
    log.info("%s %.4f on %d matured rows; %.4f at evaluation", name, loss.value, len(labels), reference)
    return Performance(
        findings=tuple(
            findings.fallen(
                loss.drop, run.spec.monitoring.performance_drop, len(labels), significant=loss.beyond_chance
            )
        ),
        metric=name,
        value=finite(loss.value),
        reference=finite(reference),
        drop=finite(loss.drop),
        significant=loss.beyond_chance,
        rows=len(labels),
        still_open=still_open,
        labels_version=known,
    )


def compare(run: Run, collected: Collected) -> Compared:
    """Compare the champion with fresh fits of its recipe, its understudies, on every window whose labels have matured,
    and keep what each loses."""
    from evergreen.monitor import windows

    return windows.compare(run, collected.table_version)


def decide(run: Run, collected: Collected, quality: Quality, drift: Drift, performance: Performance) -> Decided:
    """Decide what to do about the window, and record the decision."""
    from evergreen.monitor import decisions, origins, window_page

    spec = run.spec
    findings = rules.Findings(
        start=run.interval.start,
        end=run.interval.end,
        version=collected.version,
        champion=collected.champion,
        rows=collected.rows,
        distances=drift.distances,
        missing=quality.missing,
        prediction=drift.prediction,
        classes=drift.classes,
        performance=performance.drop,
        performance_significant=performance.significant,
        performance_rows=performance.rows,
    )
    window = decisions.assess(spec, findings)
    labels = None if window.changed_at is None else _labels_since(run, window.changed_at, performance.labels_version)
    evidence: dict[str, Any] = {
        "rows": collected.rows,
        "ages": dict(collected.ages),
        "drift": drift.model_dump(mode="json"),
        "missing": dict(quality.missing),
        "performance": performance.model_dump(mode="json", exclude={"labels_version"}),  # stands in `made_from`
    }
    if labels is not None:
        evidence["labels"] = {"learn": labels.learn, "evaluate": labels.evaluate, "folds": labels.folds}
    made_from = origins.of_decision(run, collected, performance, window.changed_at)
    decision = decisions.keep(run, rules.decide(spec, window, labels, evidence), made_from)
    log.info("Decision %s: %s", decision.id, decision.action)
    for reason in decision.reasons:
        log.info("  %s", reason)
    return Decided(
        action=decision.action,
        decision_id=decision.id,
        reasons=decision.reasons,
        # One that triggered before does so again under the same run id, which then is there; an old
        # one that was killed in between does not.
        triggers=decision.triggers and not window.late,
        changed_at=decision.changed_at,
        page=window_page.of(spec, collected.partition),
    )


def retrain_wanted(run: Run, decision: Decided) -> Retraining:
    """Say which training the decision starts.

    Raises:
        StageSkipped: the decision is not to retrain, or a newer window was decided already.
    """
    if decision.action != "retrain" or not decision.triggers:
        raise StageSkipped(f"decision {decision.decision_id}: {decision.action}; nothing to trigger")
    conf = Conf(as_of=run.as_of, reason="drift", decision_id=decision.decision_id, changed_at=decision.changed_at)
    return Retraining(run_id=f"drift__{decision.decision_id}", conf=conf)


def alert(run: Run, quality: Quality, performance: Performance, decision: Decided) -> Alerted:
    """Tell the owner what began to be wrong with the window, changed or is over, each once, and record it in the
    ledger. Tell also what is wrong now with what serves.

    Raises:
        StageSkipped: there is nothing to tell.
    """
    from evergreen.monitor import alerting
    from evergreen.serve import problems

    told_as, told = alerting.tell(run, quality, performance, decision)
    warnings = (*told, *problems.now(run.spec.model).problems)
    if not warnings:
        raise StageSkipped(f"decision {decision.decision_id}: {decision.action}; nothing new to tell")
    for reason in warnings:
        log.warning("%s %s: %s", run.spec.model, run.interval.partition, reason)
    return Alerted(owner=run.spec.owner.email, decision_id=decision.decision_id, warnings=warnings, told_as=told_as)


def report(
    run: Run,
    collected: Collected,
    quality: Quality,
    drift: Drift,
    performance: Performance,
    compared: Compared,
    decision: Decided,
) -> Reported:
    """Draw what the decision was made from, and Evidently's reports behind it; nothing waits for them."""
    from evergreen.monitor import drawing

    drifted = scored = None
    if collected.version is not None and collected.rows:
        intervals = run.spec.calendar.back(run.interval, run.spec.window)
        drifted = _window(run, collected, intervals), _reference(run, collected.version)
    if performance.value is not None:
        scored, _ = _matured(run, collected, performance.labels_version)
    return drawing.draw(run, (collected, quality, drift, performance), compared, decision, drifted, scored)


def _champion(run: Run) -> int | None:
    """The version that should have answered in the run's interval: what the last promotion or rollback left, but for
    versions that were trained later."""
    from evergreen.history import ledger

    return ledger.champion_as_of(run.spec.model, run.as_of)


def _window(run: Run, collected: Collected, intervals: Sequence[Interval]) -> pd.DataFrame:
    """The predictions of some intervals, the last of which is the run's: its own by its version; of earlier ones all
    features, and the version's own predictions (others' are null), so that a version that has just begun to serve has a
    whole window too."""
    from evergreen.monitor import live

    frame = live.read(run.spec, [interval.partition for interval in intervals], collected.table_version)
    assert frame is not None
    own = frame["version"] == collected.version
    answered = frame[own | (frame[PARTITION] != collected.partition)]
    watched: pd.DataFrame = answered.assign(**{name: answered[name].where(own) for name in run.spec.problem.outputs})
    return watched


def _matured(run: Run, collected: Collected, labels_version: int | None) -> tuple[pd.DataFrame | None, int]:
    """Predictions of the interval's version whose labels became known within the run's
    interval: the first of each, with its `label`; and, where each outcome has a moment of its own, how many of its
    predictions since the longest wait have none yet."""
    from evergreen.lake import tables
    from evergreen.monitor import live

    spec = run.spec
    partitions = spec.asking.logged(run.interval)
    made = live.read(spec, partitions, collected.table_version)
    known = tables.read(LABELS.of(spec.model, spec.label.name), partitions, labels_version)
    if made is None or known is None:
        return None, 0
    labels, own = known.to_pandas(), made[made["version"] == collected.version]
    labels = labels[labels[KNOWN_AT] <= run.as_of]
    still_open = 0
    if spec.label.known is not None:
        asked = own[own[AS_OF] <= run.as_of].drop_duplicates([*spec.asking.outcome_keys])
        still_open = len(asked) - len(live.with_labels(spec, asked, labels))
    joined = live.with_labels(spec, own, labels[labels[KNOWN_AT] > run.interval.start])
    return (None if joined.empty else joined), still_open


def _labels_since(run: Run, changed_at: datetime, version: int | None) -> rules.Labels:
    """What a training as of now could use from after the change, counted by the training's own rules."""
    from evergreen.lake import tables
    from evergreen.train import rules as training
    from evergreen.train import windows

    spec = run.spec
    parts, stored = training.split(run.as_of, spec, changed_at), LABELS.of(spec.model, spec.label.name)
    table = tables.read(stored, version=version, columns=[EVENT, KNOWN_AT], within=parts.cutoffs)
    if table is None:
        return rules.Labels(0, 0, 0)
    labels = table.to_pandas()
    moments = labels[EVENT], labels[KNOWN_AT]
    learn, evaluate = list(labels[EVENT][parts.learns(*moments)]), int(parts.evaluates(*moments).sum())
    # Before one of them the backtest could not tell what the rows from after the change are worth.
    alone, _ = windows.folds(learn, spec.asking.known_before, spec.split.folds, changed_at)
    return rules.Labels(len(learn), evaluate, len(alone))


def _reference(run: Run, version: int) -> pd.DataFrame:
    from evergreen.registry import artifacts
    from evergreen.registry.contents import Reference

    return artifacts.load(_candidate(run, version), Reference).rows


def _candidate(run: Run, version: int) -> Candidate:
    """What training recorded of a version."""
    from evergreen.registry import records

    return records.candidate(records.version(run.spec.model, version).run_id)
