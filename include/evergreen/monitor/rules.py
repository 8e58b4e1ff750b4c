"""What a window says, and what is decided about it. Pure: the same findings and history give the same decision.

A window is *drifted* when its deviation is material; drift is *believed* when it lasts `persistence` windows in a row,
all judged against the same version; a believed drift is acted on only when there are labels from after the change to
learn from and to evaluate on, and within cooldown and budget. A window with a data incident is never drifted: it
alerts, and retrains nothing.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from evergreen.handovers.monitor import Action
from evergreen.spec.rules.days import BUDGET_PERIOD
from evergreen.spec.schema import ModelSpec, Monitoring

JOINED = "; "  # between the reasons of a decision, where they are one text


@dataclass(frozen=True)
class Findings:
    """One window of predictions, compared with what the version that made them was trained on."""

    start: datetime  # of the interval, which is the window's newest
    end: datetime
    version: int | None  # that made most of the interval's predictions; None: no predictions
    champion: int | None  # that should have made them; None: there was none yet
    rows: int
    distances: Mapping[str, float] = field(default_factory=dict)  # feature → distance from the reference
    missing: Mapping[str, float] = field(default_factory=dict)  # feature → growth of its share of nulls
    prediction: float | None = None  # distance of the predictions; of several classes the greatest
    classes: Mapping[str, float] = field(
        default_factory=dict
    )  # class → distance of its probabilities, where there are several
    performance: float | None = (
        None  # loss of the search metric against the version's own evaluation, on labels that matured
    )
    performance_significant: bool = False  # the loss is beyond chance (95 %)
    performance_rows: int = 0
    learned: Mapping[str, float] = field(default_factory=dict)  # cause of a finding → its bound, where none is typed

    def bound(self, cause: str, typed: float | None) -> float:
        """What is normal; without either everything is."""
        return typed if typed is not None else self.learned.get(cause, math.inf)


@dataclass(frozen=True)
class Decision:
    """What was decided about one window; everything that later decisions need to know of it."""

    id: str
    start: datetime
    end: datetime
    version: int | None
    action: Action
    triggers: bool
    drifted: bool
    incident: bool
    changed_at: datetime | None
    reasons: tuple[str, ...]
    evidence: Mapping[str, Any]


@dataclass(frozen=True)
class Assessment:
    """What a window says beside the decisions about the others."""

    findings: Findings
    incidents: tuple[str, ...]  # why its data cannot be judged
    deviations: tuple[str, ...]  # what is materially different from the reference
    earlier: tuple[Decision, ...]  # about the windows before it
    streak: tuple[datetime, ...]  # starts of the drifted windows in a row that end with it; empty: it is not drifted
    changed_at: datetime | None  # since when the world is different, if that is believed: the streak's first window
    late: bool  # a newer window was decided already

    @property
    def drifted(self) -> bool:
        """Whether it counts as a drifted window."""
        return bool(self.streak)


@dataclass(frozen=True)
class Labels:
    """Mature label rows, counted as a training after the change would use them."""

    learn: int  # in its whole window: which of them a candidate learns from its backtest says
    evaluate: int  # from after the change
    folds: int  # that learn and score on rows from after the change alone


def incidents(findings: Findings, bounds: Monitoring) -> list[str]:
    """Why the window's data cannot be judged."""
    if findings.version is None:
        return ["no predictions, although a champion serves"] if findings.champion is not None else []
    reasons = [
        f"nulls of {name} grew by {share:.0%} of the rows (bound {bound:.0%})"
        for name, share in findings.missing.items()
        if share > (bound := findings.bound(f"nulls of {name}", bounds.missing_share))
    ]
    if findings.rows < bounds.minimum_rows:
        reasons.append(f"only {findings.rows} predictions (at least {bounds.minimum_rows})")
    return reasons


def deviations(findings: Findings, bounds: Monitoring) -> list[str]:
    """What is materially different from the reference."""
    reasons = []
    drifted = sorted(
        name
        for name, distance in findings.distances.items()
        if distance > findings.bound(f"drift of {name}", bounds.feature_drift)
    )
    share = len(drifted) / len(findings.distances) if findings.distances else 0.0
    if drifted and share >= bounds.drifted_share:
        reasons.append(f"{len(drifted)} of {len(findings.distances)} features drifted: {', '.join(drifted)}")
    bound = findings.bound("prediction drift", bounds.prediction_drift)
    if findings.prediction is not None and findings.prediction > bound:
        moved = sorted(name for name, distance in findings.classes.items() if distance > bound)
        of_classes = f": the probabilities of {', '.join(moved)}" if moved else ""
        reasons.append(f"predictions drifted by {findings.prediction:.3f} (bound {bound:.3g}){of_classes}")
    if (
        findings.performance is not None
        and findings.performance_significant
        and findings.performance > bounds.performance_drop
    ):
        reasons.append(
            f"performance fell by {findings.performance:.3f} (bound {bounds.performance_drop:g}) on "
            f"{findings.performance_rows} matured rows"
        )
    return reasons


def streak(findings: Findings, earlier: Sequence[Decision]) -> list[datetime]:
    """Starts of the drifted windows in a row that end with this one (which is taken as drifted), the oldest first."""
    starts = [findings.start]
    for decision in sorted(earlier, key=lambda decision: decision.end, reverse=True):
        follows = decision.end == starts[0] and decision.version == findings.version
        if not follows or not decision.drifted or decision.incident:
            break
        starts.insert(0, decision.start)
    return starts


def assess(findings: Findings, history: Sequence[Decision], bounds: Monitoring) -> Assessment:
    """What a window says.

    Args:
        history: the decisions of all other windows, in any order; later ones only keep an old window from triggering.
    """
    bad, different = incidents(findings, bounds), deviations(findings, bounds)
    earlier = _before(findings, history)
    starts = streak(findings, earlier) if different and not bad else []
    return Assessment(
        findings=findings,
        incidents=tuple(bad),
        deviations=tuple(different),
        earlier=tuple(earlier),
        streak=tuple(starts),
        changed_at=starts[0] if starts and len(starts) >= bounds.persistence else None,
        late=any(other.end > findings.end for other in history),
    )


def settled(spec: ModelSpec, window: Assessment) -> bool:
    """Whether decisions about windows before the earliest that it was assessed with would change nothing: its streak
    begins after that one, whose retraining would by now be out of cooldown and budget."""
    oldest = min(window.earlier, key=lambda decision: decision.start, default=None)
    if oldest is None or oldest.start in window.streak:
        return False
    brakes = (spec.monitoring.cooldown, BUDGET_PERIOD)
    return all(spec.calendar.later(oldest.end, brake) <= window.findings.end for brake in brakes)


def decide(spec: ModelSpec, window: Assessment, labels: Labels | None, evidence: Mapping[str, Any]) -> Decision:
    """The decision about a window.

    Args:
        labels: what a training since the change could use; needed when a change is believed.
        evidence: what is kept with the decision.
    """
    findings, changed_at = window.findings, window.changed_at
    action: Action
    if window.incidents:
        action, reasons = (
            "alert",
            [*window.incidents, *(["a data incident: nothing is retrained"] if findings.version is not None else [])],
        )
    elif findings.version is None:
        action, reasons = "none", ["no champion yet: nothing to watch"]
    elif not window.drifted:
        action, reasons = "none", ["like the reference"]
    elif changed_at is None:
        length, needed = len(window.streak), spec.monitoring.persistence
        action, reasons = (
            "none",
            [*window.deviations, f"window {length} of {needed} in a row before drift is believed"],
        )
    else:
        action, reason = _act(spec, window, labels)
        reasons = [*window.deviations, f"since {spec.calendar.shown(changed_at)}", reason]
    triggers = action == "retrain" and not window.late
    if action == "retrain" and not triggers:
        reasons.append("a newer window was decided already: recorded, triggers nothing")
    return Decision(
        id=_identity(spec.model, findings, action, changed_at),
        start=findings.start,
        end=findings.end,
        version=findings.version,
        action=action,
        triggers=triggers,
        drifted=window.drifted,
        incident=bool(window.incidents),
        changed_at=changed_at,
        reasons=tuple(reasons),
        evidence=evidence,
    )


def _act(spec: ModelSpec, window: Assessment, labels: Labels | None) -> tuple[Action, str]:
    """What to do about a believed change: brakes first, then whether there is enough to learn from."""
    bounds, end, calendar = spec.monitoring, window.findings.end, spec.calendar
    retrained = [decision.end for decision in window.earlier if decision.triggers]
    first = len(window.streak) == bounds.persistence  # the owner hears of it once, not with every window
    cooled = calendar.later(max(retrained), bounds.cooldown) if retrained else end
    if end < cooled:
        return ("alert" if first else "none"), f"cooldown: nothing is retrained before {calendar.shown(cooled)}"
    recent = [moment for moment in retrained if end < calendar.later(moment, BUDGET_PERIOD)]
    if len(recent) >= bounds.budget:
        alerted = any(  # an alert within the cooldown said that retraining goes on after it
            each.action == "alert" and each.start in window.streak and each.end >= cooled for each in window.earlier
        )
        used_up = f"budget: {len(recent)} retrainings in {BUDGET_PERIOD.days} days (at most {bounds.budget})"
        return ("none" if alerted else "alert"), used_up
    if labels is None or labels.folds == 0:
        return "wait for labels", "no matured labels from after the change to learn from yet"
    short = []
    if labels.learn < spec.split.minimum_rows:
        short.append(f"{labels.learn} of {spec.split.minimum_rows} rows to learn from")
    if labels.evaluate < spec.gates.minimum_rows:
        short.append(f"{labels.evaluate} of {spec.gates.minimum_rows} rows from after the change to evaluate on")
    if short:
        return "wait for labels", "matured: " + ", ".join(short)
    return (
        "retrain",
        f"{labels.learn} rows to learn from, and {labels.evaluate} from after the change to evaluate on, have matured",
    )


def _before(findings: Findings, history: Sequence[Decision]) -> list[Decision]:
    return [
        decision
        for decision in history
        if decision.end < findings.end or (decision.end == findings.end and decision.start < findings.start)
    ]


def _identity(model: str, findings: Findings, action: Action, changed_at: datetime | None) -> str:
    """The same decision has the same id, so that it triggers at most one run."""
    parts = [
        model,
        findings.start.isoformat(),
        findings.end.isoformat(),
        findings.version,
        action,
        changed_at and changed_at.isoformat(),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]
