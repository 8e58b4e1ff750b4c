"""What a window says, and what is decided about it. Pure: the same findings and history give the same decision.

A window is *drifted* when its deviation is material; drift is *believed* when it lasts `persistence` windows in a row,
all judged against the same version; a believed drift is acted on only when there are labels from after the change to
learn from and to evaluate on, and within cooldown and budget. A window with a data incident is never drifted: it
alerts, and retrains nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from evergreen.handovers.monitor import Action
from evergreen.spec.rules.days import BUDGET_PERIOD
from evergreen.spec.schema import ModelSpec, Monitoring


@dataclass(frozen=True)
class Findings:
    """One window of predictions, compared with what the version that made them was trained on."""

    start: datetime
    end: datetime
    version: int | None  # that made most of the window's predictions; None: no predictions
    champion: int | None  # that should have made them; None: there was none yet
    rows: int
    distances: Mapping[str, float] = field(default_factory=dict)  # feature → distance from the reference
    missing: Mapping[str, float] = field(default_factory=dict)  # feature → growth of its share of nulls
    prediction: float | None = None  # distance of the predictions; of several classes the greatest
    classes: Mapping[str, float] = field(
        default_factory=dict
    )  # class → distance of its probabilities, where there are several
    performance: float | None = (
        None  # loss of the search metric against the champion's evaluation, on labels that matured
    )
    performance_significant: bool = False  # the loss is beyond chance (95 %)
    performance_rows: int = 0


@dataclass(frozen=True)
class Decision:
    """What was decided about one window; everything that later decisions need to know of it."""

    id: str
    partition: str
    start: datetime
    end: datetime
    version: int | None
    action: Action
    triggers: bool
    drifted: bool
    incident: bool
    changed_at: datetime | None
    reasons: tuple[str, ...]
    numbers: Mapping[str, Any]


@dataclass(frozen=True)
class Labels:
    """Mature label rows from after the change, counted as a training would use them."""

    learn: int
    evaluate: int
    folds: int


def incidents(found: Findings, bounds: Monitoring) -> list[str]:
    """Why the window's data cannot be judged."""
    if found.version is None:
        return ["no predictions, although a champion serves"] if found.champion is not None else []
    reasons = [
        f"nulls of {name} grew by {share:.0%} of the rows (bound {bounds.missing_share:.0%})"
        for name, share in found.missing.items()
        if share > bounds.missing_share
    ]
    if found.rows < bounds.minimum_rows:
        reasons.append(f"only {found.rows} predictions (at least {bounds.minimum_rows})")
    return reasons


def deviations(found: Findings, bounds: Monitoring) -> list[str]:
    """What is materially different from the reference."""
    reasons = []
    drifted = sorted(name for name, distance in found.distances.items() if distance > bounds.feature_drift)
    share = len(drifted) / len(found.distances) if found.distances else 0.0
    if drifted and share >= bounds.drifted_share:
        reasons.append(f"{len(drifted)} of {len(found.distances)} features drifted: {', '.join(drifted)}")
    if found.prediction is not None and found.prediction > bounds.prediction_drift:
        moved = sorted(name for name, distance in found.classes.items() if distance > bounds.prediction_drift)
        of_classes = f": the probabilities of {', '.join(moved)}" if moved else ""
        reasons.append(f"predictions drifted by {found.prediction:.3f} (bound {bounds.prediction_drift:g}){of_classes}")
    if found.performance is not None and found.performance_significant and found.performance > bounds.performance_drop:
        reasons.append(
            f"performance fell by {found.performance:.3f} (bound {bounds.performance_drop:g}) on "
            f"{found.performance_rows} matured rows"
        )
    return reasons


def streak(found: Findings, history: Sequence[Decision]) -> list[datetime]:
    """Starts of the drifted windows in a row that end with this one (which is taken as drifted), the oldest first."""
    starts = [found.start]
    for earlier in sorted(history, key=lambda decision: decision.end, reverse=True):
        if earlier.end != starts[0] or earlier.version != found.version or not earlier.drifted or earlier.incident:
            break
        starts.insert(0, earlier.start)
    return starts


def change(found: Findings, history: Sequence[Decision], bounds: Monitoring) -> datetime | None:
    """Since when the world is different, if that is believed: the start of the streak's first window."""
    if incidents(found, bounds) or not deviations(found, bounds):
        return None
    starts = streak(found, _before(found, history))
    return starts[0] if len(starts) >= bounds.persistence else None


def decide(
    spec: ModelSpec, found: Findings, history: Sequence[Decision], labels: Labels | None, numbers: Mapping[str, Any]
) -> Decision:
    """The decision about a window.

    Args:
        history: the decisions of all other windows, in any order; later ones only keep an old window from triggering.
        labels: what a training since the change could use; needed when `change` is not None.
        numbers: what is kept with the decision.
    """
    bounds, earlier = spec.monitoring, _before(found, history)
    bad, different = incidents(found, bounds), deviations(found, bounds)
    changed_at = change(found, history, bounds)
    action: Action
    if bad:
        action, reasons = (
            "alert",
            [*bad, *(["a data incident: nothing is retrained"] if found.version is not None else [])],
        )
    elif found.version is None:
        action, reasons = "none", ["no champion yet: nothing to watch"]
    elif not different:
        action, reasons = "none", ["like the reference"]
    elif changed_at is None:
        length = len(streak(found, earlier))
        action, reasons = (
            "none",
            [*different, f"window {length} of {bounds.persistence} in a row before drift is believed"],
        )
    else:
        action, reason = _act(spec, found, earlier, changed_at, labels)
        reasons = [*different, f"since {changed_at:%Y-%m-%d}", reason]
    triggers = action == "retrain" and not late(found, history)
    if action == "retrain" and not triggers:
        reasons.append("a newer window was decided already: recorded, triggers nothing")
    return Decision(
        id=_identity(spec.model, found, action, changed_at),
        partition=found.start.date().isoformat(),
        start=found.start,
        end=found.end,
        version=found.version,
        action=action,
        triggers=triggers,
        drifted=bool(different) and not bad,
        incident=bool(bad),
        changed_at=changed_at,
        reasons=tuple(reasons),
        numbers=numbers,
    )


def late(found: Findings, history: Sequence[Decision]) -> bool:
    """Whether a newer window was decided already."""
    return any(other.end > found.end for other in history)


def _act(
    spec: ModelSpec, found: Findings, earlier: Sequence[Decision], changed_at: datetime, labels: Labels | None
) -> tuple[Action, str]:
    """What to do about a believed change: brakes first, then whether there is enough to learn from."""
    bounds = spec.monitoring
    retrained = [decision.end for decision in earlier if decision.triggers]
    first = len(streak(found, earlier)) == bounds.persistence  # told once, not every day
    if retrained and found.end - max(retrained) < bounds.cooldown:
        until = max(retrained) + bounds.cooldown
        return ("alert" if first else "none"), f"cooldown: nothing is retrained before {until:%Y-%m-%d}"
    recent = [moment for moment in retrained if found.end - moment < BUDGET_PERIOD]
    if len(recent) >= bounds.budget:
        drifted, last = streak(found, earlier), max(retrained)
        told = any(  # an alert within the cooldown said that retraining goes on after it
            each.action == "alert" and each.start in drifted and each.end - last >= bounds.cooldown for each in earlier
        )
        used_up = f"budget: {len(recent)} retrainings in {BUDGET_PERIOD.days} days (at most {bounds.budget})"
        return ("none" if told else "alert"), used_up
    if labels is None or labels.folds == 0:
        return "wait for labels", "no matured labels from after the change to learn from yet"
    short = []
    if labels.learn < spec.split.minimum_rows:
        short.append(f"{labels.learn} of {spec.split.minimum_rows} rows to learn from")
    if labels.evaluate < spec.gates.minimum_rows:
        short.append(f"{labels.evaluate} of {spec.gates.minimum_rows} rows to evaluate on")
    if short:
        return "wait for labels", "matured since the change: " + ", ".join(short)
    return (
        "retrain",
        f"{labels.learn} rows to learn from and {labels.evaluate} to evaluate on have matured since the change",
    )


def _before(found: Findings, history: Sequence[Decision]) -> list[Decision]:
    return [
        decision
        for decision in history
        if decision.end < found.end or (decision.end == found.end and decision.start < found.start)
    ]


def _identity(model: str, found: Findings, action: Action, changed_at: datetime | None) -> str:
    """The same decision has the same id, so that it triggers at most one run."""
    parts = [
        model,
        found.start.isoformat(),
        found.end.isoformat(),
        found.version,
        action,
        changed_at and changed_at.isoformat(),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]
