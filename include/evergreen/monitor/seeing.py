"""What one window looks like beside the reference, as hand-overs: each value, its bound and what is wrong."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import MappingProxyType

import pandas as pd

from evergreen.handovers.monitor import Collected, Drift, Finding, Quality, Skewed
from evergreen.interval import Interval
from evergreen.lake import catalogue
from evergreen.lake.schema import PREDICTIONS
from evergreen.monitor import bounds, comparison, findings, performing
from evergreen.monitor.comparison import CONFIDENCE, Bounded, Reference
from evergreen.monitor.together import together
from evergreen.run import Run
from evergreen.spec.columns import class_of, is_output
from evergreen.spec.schema import ModelSpec

log = logging.getLogger(__name__)

_EARLIER = 28  # intervals before one, whose numbers of answers say what is normal
_WEEK = 7


def quality(
    run: Run,
    collected: Collected,
    window: pd.DataFrame,
    reference: Reference | None,
    skewed: Mapping[str, Skewed] = MappingProxyType({}),
) -> Quality:
    """What of an interval's data cannot be trusted.

    Args:
        window: the interval's own answers.
        reference: None: nothing was answered.
        skewed: how features were served beside the offline store.
    """
    spec, champion = run.spec, collected.champion is not None
    wrong = findings.volume(collected.rows, spec.monitoring.minimum_rows, expected=champion)
    ages, skews = findings.ages(spec, collected.ages), findings.skewed(skewed)
    if reference is None:
        return Quality(missing={}, skew=skewed, findings=(*wrong, *ages, *skews))
    if not wrong and (usual := volume(spec, run.interval)) is not None:
        wrong = findings.unusual_volume(collected.rows, *usual)
    nulls, beyond, new = reference.nulls(window), reference.beyond(window), reference.new(window)
    for name, odd in (*beyond.items(), *new.items()):
        if odd.share > odd.bound:
            log.info("%s: %.1f%% of the rows are odd: %s", name, 100 * odd.share, odd.example)
    growth = {name: odd.share - odd.usual for name, odd in nulls.items()}
    typed = spec.monitoring.missing_share
    normal = {name: max(0.0, odd.bound - odd.usual) if typed is None else typed for name, odd in nulls.items()}
    return Quality(
        missing=growth,
        beyond={name: odd.share for name, odd in beyond.items()},
        new={name: odd.share for name, odd in new.items()},
        bounds=normal,
        skew=skewed,
        findings=(
            *wrong,
            *findings.nulls(growth, normal.__getitem__, typed=typed is not None),
            *findings.odd("range", "are out of the reference's range", beyond),
            *findings.odd("categories", "are of categories that the reference has not", new),
            *ages,
            *skews,
        ),
    )


def drift(run: Run, window: pd.DataFrame, reference: Reference) -> Drift:
    """How far a window is from the reference."""
    spec, monitoring = run.spec, run.spec.monitoring
    measured = reference.distances(window)
    sure = measured.pop(CONFIDENCE, None)
    predictions = {name: measured.pop(name) for name in list(measured) if is_output(name)}
    whole = [Bounded(each.value, _or(monitoring.prediction_drift, each)) for each in predictions.values()]
    farthest = max(whole, key=lambda each: each.value - each.bound, default=None)
    distances = {name: each.value for name, each in measured.items()}
    normal = {name: _or(monitoring.feature_drift, each) for name, each in measured.items()}
    classes = {class_of(name): each.value for name, each in predictions.items()} if spec.problem.by_class else {}
    all_features = together(reference, window)
    confidence, usual = _confidence(spec, window), _confidence(spec, reference.alike)
    if sure is not None and confidence:
        confidence |= {"distance": sure.value, "bound": sure.bound}
    wrong: list[Finding] = findings.drifted(distances, normal.__getitem__)
    if farthest is not None:
        wrong += findings.predictions_drifted(farthest.value, farthest.bound, classes)
    if all_features is not None:
        wrong += findings.told_apart(all_features.value, all_features.bound)
    if "distance" in confidence and usual:
        wrong += findings.less_sure(confidence, usual)
    return Drift(
        distances=distances,
        prediction=None if farthest is None else farthest.value,
        classes=classes,
        bounds=normal,
        prediction_bound=None if farthest is None else farthest.bound,
        together=None if all_features is None else all_features.value,
        together_bound=None if all_features is None else all_features.bound,
        confidence=confidence,
        findings=tuple(wrong),
    )


def normal(spec: ModelSpec, rows: pd.DataFrame) -> dict[str, float]:
    """Cause of a finding → its learned bound, for windows of as many rows as the reference has of them.

    Args:
        rows: of a version's reference.
    """
    reference = Reference(spec, rows)
    intervals = int(reference.groups.max()) + 1 if len(rows) else 1
    length = max(1, round(len(rows) / intervals))
    drifts = {name: reference.bound_of(name, length) for name in reference.kinds}
    known = {_cause(name): bound for name, bound in drifts.items() if bound is not None}
    sample = rows.head(length)
    if (apart := together(reference, sample)) is not None:
        known["drift together"] = apart.bound
    if (fall := performing.chance(spec, rows, length)) is not None:
        known["performance"] = fall
    for kind, found in (("nulls", reference.nulls), ("range", reference.beyond), ("categories", reference.new)):
        known |= {f"{kind} of {name}": odd.bound for name, odd in found(sample).items()}
    return known


def _cause(column: str) -> str:
    if column == CONFIDENCE:
        return CONFIDENCE
    return f"drift of {column}" if not is_output(column) else f"prediction drift {class_of(column)}"


def _or(typed: float | None, learned: Bounded) -> float:
    return learned.bound if typed is None else typed


def volume(spec: ModelSpec, interval: Interval) -> tuple[tuple[float, float], str] | None:
    """The fewest and the most answers that are normal for an interval, and by which others: those of its weekday, where
    enough of them had answers, else all of the weeks before; None: too few had."""
    calendar = spec.calendar
    earlier: list[Interval] = []
    for _ in range(_EARLIER):
        try:
            interval = calendar.before(interval)
        except ValueError:  # before the calendar's first day
            break
        earlier.append(interval)
    published = catalogue.published(PREDICTIONS.of(spec.model), [each.partition for each in earlier])
    known = [published.get(each.partition) for each in earlier]
    answered = [(place, entry.rows) for place, entry in enumerate(known, 1) if entry is not None and entry.rows]
    same = [count for place, count in answered if calendar.every == "day" and place % _WEEK == 0]
    if (normal := bounds.volume(same)) is not None:
        return normal, "intervals of its weekday"
    normal = bounds.volume([count for _, count in answered])
    return None if normal is None else (normal, "the intervals before")


def _confidence(spec: ModelSpec, rows: pd.DataFrame) -> dict[str, float]:
    entropy, near = comparison.entropy(spec, rows), comparison.near(spec, rows)
    return {} if entropy is None or near is None else {"entropy": entropy, "near": near}
