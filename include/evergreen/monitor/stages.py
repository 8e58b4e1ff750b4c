"""Stages of the monitoring loop.

It reads the predictions that the server logged for requests, and nothing else of them.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from evergreen.errors import StageSkipped
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
    Scored,
)
from evergreen.handovers.rollback import RolledBack
from evergreen.lake.schema import LABELS, PREDICTIONS
from evergreen.monitor import rules
from evergreen.run import Run
from evergreen.settings import settings
from evergreen.spec.columns import KNOWN_AT, LOGGED_AT, PARTITION, PROBABILITIES
from evergreen.spec.kinds import KINDS
from evergreen.status.rules import age_text

if TYPE_CHECKING:
    import pandas as pd

    from evergreen.interval import Interval
    from evergreen.monitor import comparison

log = logging.getLogger(__name__)

_BEFORE = "drift"  # what releases before named as the cause: a run of theirs is not started again by another id


def collect(run: Run) -> Collected:
    """Copy the interval's predictions from the prediction log to the lake."""
    from collections import Counter

    import pyarrow as pa

    from evergreen.lake import calendars, catalogue, partitions, space
    from evergreen.monitor import findings, origins
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
            **{
                name: getattr(row, name)
                for name in PREDICTIONS.arrow
                if name not in (KNOWN_AT, LOGGED_AT, PROBABILITIES)
            },
            LOGGED_AT: row.logged_at,
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
    hours = {name: age / timedelta(hours=1) for name, age in ages.items()}
    return Collected(
        partition=partition,
        rows=len(rows),
        version=max(made, key=lambda version: (made[version], version)) if made else None,
        champion=champion,
        ages=hours,
        warnings=(*space.warnings(space.places(settings())), *(old.said for old in findings.ages(spec, hours))),
        table_version=entry.table_version,
    )


def quality(run: Run, collected: Collected) -> Quality:
    """Look for what cannot be trusted in the interval's data: too few answers or too many, nulls, values out of range,
    new categories, old features, features that were served otherwise than the offline store has them."""
    from dataclasses import replace

    from evergreen.lake import tables
    from evergreen.monitor import recorded, seeing, skew

    run = replace(run, spec=recorded.watched(run.spec, collected.version))
    window = _window(run, collected, [run.interval])
    skewed = skew.measure(run, window, tables.version(LABELS.of(run.spec.model, run.spec.label.name)))
    found = seeing.quality(run, collected, window, _reference(run, collected), skewed)
    for finding in found.findings:
        log.warning("%s", finding.said)
    return found


def drift(run: Run, collected: Collected) -> Drift:
    """Measure how far features and predictions are from the rows that the version was evaluated on."""
    from evergreen.monitor import seeing

    reference = _reference(run, collected)
    if reference is None or collected.rows == 0:
        log.info("No predictions in the window: nothing to compare")
        return Drift(distances={}, prediction=None, classes={})
    window = _window(run, collected, run.spec.calendar.back(run.interval, run.spec.window))
    measured = seeing.drift(run, window, reference)
    for name, distance in sorted(measured.distances.items(), key=lambda item: -item[1]):
        log.info("%-28s %.3f (bound %.3f)", name, distance, measured.bounds[name])
    if measured.prediction is None:
        log.info("%-28s no values", "prediction")
    else:
        log.info("%-28s %.3f (bound %.3f)", "prediction", measured.prediction, measured.prediction_bound)
    for finding in measured.findings:
        log.info("%s", finding.said)
    return measured


def performance(run: Run, collected: Collected) -> Performance:
    """Score the predictions whose labels matured within this interval, by version, against each one's own evaluation;
    estimate the metric of the interval's answers, whose labels are open."""
    from evergreen.lake import tables
    from evergreen.monitor import decisions, groups, live, performing, rivals, worth
    from evergreen.monitor.recorded import Recorded

    known = tables.version(LABELS.of(run.spec.model, run.spec.label.name))
    metric = run.spec.search.metric
    matured, still_open = live.matured(run, collected, known)
    scored = None if collected.version is None else matured.pop(collected.version, None)
    others = _others(run, matured)
    made = Performance(
        metric=metric,
        value=None,
        reference=None,
        drop=None,
        significant=False,
        rows=0,
        others=others,
        still_open=still_open,
        labels_version=known,
    )
    reference = _reference(run, collected)
    if still_open:
        log.info("%d predictions of version %s have no known outcome yet", still_open, collected.version)
    if collected.version is None or reference is None:
        return made
    version = Recorded(run.spec, collected.version)
    if scored is None:
        log.info("No matured labels of this version's predictions yet")
    else:
        realised = performing.realised(run.spec, scored, version.evaluated, reference.rows, version.threshold)
        made = realised.model_copy(
            update=made.model_dump(include={"still_open", "labels_version"}) | {"others": others}
        )
        if made.value is None:
            log.info("%s has no value on %d matured rows: %s", metric, made.rows, made.lacking)
            log.info("Their loss is %s; %s at evaluation", made.loss, made.loss_reference)
        else:
            log.info("%s %.4f on %d matured rows; %s at evaluation", metric, made.value, made.rows, made.reference)
        if (said := worth.told(made.worth, collected.rows)) is not None:
            log.info("%s", said)
    own = _window(run, collected, [run.interval])
    made = performing.estimate(made, reference, own, scored, decisions.estimate_errors(run, collected.version))
    if collected.version == collected.champion:
        good, errors = decisions.good(run), decisions.rival_errors(run, collected.version)
        rest = rivals.others(run.spec, reference, None if good is None else good.version)
        made = performing.beside(made, rivals.beside(reference, own, scored, rest, lambda name: errors.get(name, [])))
    fair = groups.look(run.spec, version.threshold, own, scored)
    wrong = groups.findings(run.spec, fair)
    made = made.model_copy(update={"fairness": fair, "findings": (*made.findings, *wrong)})
    for finding in wrong:
        log.warning("%s", finding.said)
    if made.estimated is not None:
        log.info("%s is likely to be %.4f on the interval's %d answers", metric, made.estimated, made.estimated_rows)
    return made


def compare(run: Run, collected: Collected) -> Compared:
    """Compare the champion with fresh fits of its recipe, its understudies, on every window whose labels have matured,
    and keep what each loses."""
    from evergreen.monitor import windows

    return windows.compare(run, collected.table_version)


def decide(
    run: Run, collected: Collected, quality: Quality, drift: Drift, performance: Performance, compared: Compared
) -> Decided:
    """Decide what to do about the window, and record the decision."""
    from evergreen.monitor import decisions, groups, origins, window_page

    spec = run.spec
    findings = rules.Findings(
        start=run.interval.start,
        end=run.interval.end,
        version=collected.version,
        champion=collected.champion,
        rows=collected.rows,
        found=(*quality.findings, *drift.findings, *performance.findings),
        rivals=performance.rivals,
    )
    window = decisions.assess(spec, findings)
    known = decisions.known(run, collected.champion, compared.table_version)
    due, changed_at = rules.due(spec, findings, known), rules.since(known)
    labels = None if due is None else decisions.labels_since(run, changed_at, performance.labels_version)
    evidence: dict[str, Any] = {
        "rows": collected.rows,
        "ages": dict(collected.ages),
        "drift": drift.model_dump(mode="json"),
        "missing": dict(quality.missing),
        "skew": {name: each.model_dump(mode="json") for name, each in quality.skew.items() if each.different},
        # Its version of the labels stands in `made_from`; the names of groups are values of rows.
        "performance": performance.model_dump(mode="json", exclude={"labels_version", "fairness"}),
        "fairness": groups.numbers(performance.fairness),
        "compared": known.weighed.numbers,
    }
    if labels is not None:
        evidence["labels"] = {"learn": labels.learn, "evaluate": labels.evaluate, "folds": labels.folds}
    made_from = origins.of_decision(run, collected, performance, compared, changed_at)
    made = rules.decide(spec, window, known, labels, evidence)
    decision = decisions.keep(run, made, made_from)
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
        cause=decision.cause,
        falls_back=decision.falls_back,
        findings=made.standing.found,
        over=made.standing.over,
        page=window_page.of(spec, collected.partition),
    )


def retrain_wanted(run: Run, decision: Decided) -> Retraining:
    """Say which training the decision starts.

    Raises:
        StageSkipped: the decision is not to retrain, or a newer window was decided already.
    """
    if decision.action != "retrain" or not decision.triggers:
        raise StageSkipped(f"decision {decision.decision_id}: {decision.action}; nothing to trigger")
    cause = decision.cause or _BEFORE
    conf = Conf(as_of=run.as_of, reason=cause, decision_id=decision.decision_id, changed_at=decision.changed_at)
    return Retraining(run_id=f"{cause}__{decision.decision_id}", conf=conf)


def fall_back(run: Run, collected: Collected, decision: Decided) -> RolledBack:
    """Let the last known good version serve instead of the champion until labels judge it, where the decision says so:
    as a rollback does. Run again, it does nothing more.

    Raises:
        StageSkipped: the decision wants none, or the champion serves no longer.
        DeployRefused: the server cannot serve it; the champion serves on.
    """
    from evergreen.errors import NothingToRollBackTo
    from evergreen.registry.promotion import FallBack
    from evergreen.serve.rollback import rollback

    if decision.falls_back is None:
        raise StageSkipped(f"decision {decision.decision_id}: {decision.action}; no fall back")
    wanted = FallBack(decision_id=decision.decision_id, as_of=run.as_of, until=run.spec.asking.mature_at(run.interval))
    reason = f"decision {decision.decision_id}: {decision.reasons[-1]}"
    try:
        done = rollback(run.spec.model, reason=reason, actor=run.actor, version=collected.champion, fall_back=wanted)
    except NothingToRollBackTo as none:
        raise StageSkipped(f"decision {decision.decision_id}: no fall back any more; {none.found}") from none
    log.info("%s", done.message)
    return done


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
    from evergreen.monitor import drawing, live

    drifted = scored = None
    if (reference := _reference(run, collected)) is not None and collected.rows:
        intervals = run.spec.calendar.back(run.interval, run.spec.window)
        drifted = _window(run, collected, intervals), reference.alike
    if performance.value is not None and collected.version is not None:
        scored = live.matured(run, collected, performance.labels_version)[0].get(collected.version)
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
    from evergreen.monitor import live, recorded

    frame = live.read(run.spec, [interval.partition for interval in intervals], collected.table_version)
    assert frame is not None  # `collect` has written the interval's
    own = frame["version"] == collected.version
    alike = frame["version"].map(recorded.logs(recorded.watched(run.spec, collected.version))).astype(bool)
    answered = frame[own | (alike & (frame[PARTITION] != collected.partition))]
    watched: pd.DataFrame = answered.assign(**{name: answered[name].where(own) for name in run.spec.problem.outputs})
    return watched


def _reference(run: Run, collected: Collected) -> comparison.Reference | None:
    """What the version that answered is compared with; None: nothing was answered."""
    from evergreen.monitor.comparison import Reference
    from evergreen.monitor.recorded import Recorded

    if collected.version is None:
        return None
    return Reference(run.spec, Recorded(run.spec, collected.version).held_out, run.interval)


def _others(run: Run, matured: Mapping[int, pd.DataFrame]) -> tuple[Scored, ...]:
    """How versions did that answered before; without those that cannot be looked up any more."""
    from evergreen.errors import PermanentError
    from evergreen.monitor import performing
    from evergreen.monitor.recorded import Recorded

    scored = []
    for version, rows in sorted(matured.items()):
        try:
            known = Recorded(run.spec, version)
            evaluated, held_out, threshold = known.evaluated, known.held_out, known.threshold
        except PermanentError as error:
            log.warning("How version %d did cannot be told. %s", version, error)
            continue
        of = performing.realised(run.spec, rows, evaluated, held_out, threshold)
        scored.append(Scored(version=version, **of.model_dump(include={*Scored.model_fields} - {"version"})))
        log.info("Version %d, which answered before: %s %s on %d rows", version, of.metric, of.value, of.rows)
    return tuple(scored)
