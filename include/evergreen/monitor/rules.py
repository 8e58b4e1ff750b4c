"""What is decided about a window. Pure: the same findings, evidence and history give the same decision.

A retraining is *due* when fresh fits of the champion's recipe lose less than it does, by more than noise, and what that
avoids has paid for it (`monitor.paired`); or by the calendar, when the champion is too old. It is acted on only when
there are labels to learn from and to evaluate on, and within cooldown, budget and sense: after two retrainings in a row
that did not help a person has to look. Drift is told, and never a cause. A window with a data incident alerts, and is
no evidence.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from evergreen.handovers.monitor import Action, Finding
from evergreen.monitor.evidence import NOTHING, Weighed
from evergreen.spec.durations import duration_text
from evergreen.spec.rules.days import BUDGET_PERIOD
from evergreen.spec.schema import ModelSpec

JOINED = "; "  # between the reasons of a decision, where they are one text
MOST_USELESS = 2  # retrainings in a row that did not help


@dataclass(frozen=True)
class Findings:
    """One window of predictions, and what is wrong in it."""

    start: datetime  # of the interval, which is the window's newest
    end: datetime
    version: int | None  # that made most of the interval's predictions; None: no predictions
    champion: int | None  # that should have made them; None: there was none yet
    rows: int
    found: tuple[Finding, ...] = ()

    def said(self, kind: str) -> list[str]:
        """What is wrong, of a kind."""
        return [finding.said for finding in self.found if finding.kind == kind]


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
    """A window beside the decisions about the others."""

    findings: Findings
    earlier: tuple[Decision, ...]  # about the windows before it
    late: bool  # a newer window was decided already

    @property
    def retrained(self) -> list[datetime]:
        """The ends of the windows before it that started a training, as far as they were read."""
        return [decision.end for decision in self.earlier if decision.triggers]

    def told(self, words: str, since: datetime) -> bool:
        """Whether a window that ended after a moment alerted for a reason that begins so."""
        return any(
            each.action == "alert" and each.end > since and any(reason.startswith(words) for reason in each.reasons)
            for each in self.earlier
        )


@dataclass(frozen=True)
class Retrained:
    """A retraining that the monitor started, and what came of it.

    Attributes:
        decision_id, end: of the decision, and of its window.
        helped: whether it did; None: nobody knows yet.
        outcome: what came of it, in words.
        refused: its gates let no candidate through.
    """

    decision_id: str
    end: datetime
    helped: bool | None
    outcome: str
    refused: bool = False


@dataclass(frozen=True)
class Known:
    """What is known of the champion and of those before it.

    Attributes:
        weighed: what the windows whose labels have matured say.
        trained: as of when the champion was; None: nobody knows.
        retrained: the newest retrainings that the monitor started and no person's came after, the newest first.
    """

    weighed: Weighed = NOTHING
    trained: datetime | None = None
    retrained: tuple[Retrained, ...] = ()

    @property
    def useless(self) -> list[Retrained]:
        """The newest in a row that did not help."""
        in_a_row = []
        for each in self.retrained:
            if each.helped is not False:
                break
            in_a_row.append(each)
        return in_a_row


@dataclass(frozen=True)
class Labels:
    """Mature label rows, counted as a training would use them."""

    learn: int  # in its whole window: which of them a candidate learns from after a change its backtest says
    evaluate: int  # from after the change, where there was one
    folds: int  # that learn and score on rows from after the change alone


def assess(findings: Findings, history: Sequence[Decision]) -> Assessment:
    """A window beside the decisions about the others.

    Args:
        history: the decisions of all other windows, in any order; later ones only keep an old window from triggering.
    """
    return Assessment(
        findings=findings,
        earlier=tuple(_before(findings, history)),
        late=any(other.end > findings.end for other in history),
    )


def settled(spec: ModelSpec, window: Assessment) -> bool:
    """Whether decisions about windows before the earliest that it was assessed with would change nothing: a retraining
    of theirs would by now be out of cooldown and budget."""
    oldest = min((decision.end for decision in window.earlier), default=None)
    brakes = (spec.monitoring.cooldown, BUDGET_PERIOD)
    return oldest is not None and all(spec.calendar.later(oldest, brake) <= window.findings.end for brake in brakes)


def due(spec: ModelSpec, findings: Findings, known: Known) -> str | None:
    """Why a retraining is due, in words; None: it is not."""
    evidence, calendar, net = known.weighed.evidence, spec.calendar, spec.monitoring.retrain.at_latest
    if evidence is not None and evidence.due:
        return (
            f"a fresh fit of version {findings.champion}'s recipe loses {evidence.gap:.4f} less per row, beyond noise "
            f"(evidence {evidence.fast:.1f}, bound {spec.monitoring.retrain.bound:g}), and has avoided "
            f"{evidence.avoided:.3f} (a retraining costs {evidence.cost:.3f})"
        )
    newest = max(
        [moment for moment in (known.trained, *(each.end for each in known.retrained[:1])) if moment], default=None
    )
    if net is not None and newest is not None and calendar.later(newest, net) <= findings.end:
        return f"the champion knows nothing newer than {calendar.shown(newest)}, more than {duration_text(net)} ago"
    return None


def since(known: Known) -> datetime | None:
    """Since when the world is different, if the evidence says so."""
    evidence = known.weighed.evidence
    return known.weighed.changed_at if evidence is not None and evidence.due else None


def decide(
    spec: ModelSpec, window: Assessment, known: Known, labels: Labels | None, evidence: Mapping[str, Any]
) -> Decision:
    """The decision about a window.

    Args:
        labels: what a training could use, since the change where there was one; needed when a retraining is due.
        evidence: what is kept with the decision.
    """
    findings = window.findings
    wrong, why = findings.said("incident"), due(spec, findings, known)
    action: Action
    if wrong:
        action = "alert"
        reasons = [*wrong, *(["a data incident: nothing is retrained"] if findings.version is not None else [])]
    elif findings.champion is None:
        action, reasons = "none", ["no champion yet: nothing to watch"]
    elif why is None:
        action, reasons = _nothing_due(spec, window, known)
    else:
        action, reason = _act(spec, window, known, labels)
        reasons = [*findings.said("loss"), why, reason]
    refused, outcome = _outcome(window, known)
    reasons += outcome
    triggers = action == "retrain" and not window.late
    if action == "retrain" and not triggers:
        reasons.append("a newer window was decided already: recorded, triggers nothing")
    if action == "none" and refused:
        action = "alert"
    changed_at = since(known) if why is not None and not wrong else None
    return Decision(
        id=_identity(spec.model, findings, action, changed_at),
        start=findings.start,
        end=findings.end,
        version=findings.version,
        action=action,
        triggers=triggers,
        drifted=bool(findings.said("drift")),
        incident=bool(wrong),
        changed_at=changed_at,
        reasons=tuple(reasons),
        evidence=evidence,
    )


def _nothing_due(spec: ModelSpec, window: Assessment, known: Known) -> tuple[Action, list[str]]:
    findings, weighed = window.findings, known.weighed
    reasons = findings.said("loss")
    if (unfit := weighed.unfit) is not None:
        words = "retraining will not help"
        told = window.told(words, spec.calendar.earlier(findings.end, BUDGET_PERIOD))
        reasons.append(
            f"{words}: since {spec.calendar.shown(unfit.since)} fresh fits of the champion's recipe lose "
            f"{unfit.now:.4f} per row, as the champion does, where they lost {unfit.usual:.4f}; look at the data and "
            "the features, or declare other families"
        )
        return ("none" if told else "alert"), reasons
    if weighed.evidence is None:
        reasons.append(f"no window of version {findings.champion} has labels that have matured, and enough of them")
    else:
        seen = weighed.evidence
        reasons.append(
            f"fresh fits of the recipe lose {max(seen.gap, 0.0):.4f} less per row: no retraining pays (evidence "
            f"{seen.fast:.1f} of {spec.monitoring.retrain.bound:g}, {weighed.windows} windows)"
        )
    return "none", reasons


def _outcome(window: Assessment, known: Known) -> tuple[bool, list[str]]:
    """What came of the last retraining that the monitor started, and whether it is a refusal by the gates that the
    owner has not heard of."""
    if not known.retrained:
        return False, []
    last = known.retrained[0]
    if last.refused:
        words = f"the retraining of decision {last.decision_id}"
        if window.told(words, last.end):
            return False, []
        return True, [f"{words} {last.outcome}; look at its gates in MLflow, and at what the candidates learned from"]
    return False, [last.outcome] if last.helped is not None else []


def _act(spec: ModelSpec, window: Assessment, known: Known, labels: Labels | None) -> tuple[Action, str]:
    """What to do where a retraining is due: brakes first, then whether there is enough to learn from."""
    bounds, end, calendar = spec.monitoring, window.findings.end, spec.calendar
    retrained, useless = window.retrained, known.useless
    if len(useless) >= MOST_USELESS:
        words = f"{len(useless)} retrainings in a row did not help"
        told = window.told(words, useless[0].end)
        return ("none" if told else "alert"), f"{words}: a person has to look, and to train by hand"
    cooled = calendar.later(max(retrained), bounds.cooldown) if retrained else end
    if end < cooled:
        return "none", f"cooldown: nothing is retrained before {calendar.shown(cooled)}"
    recent = [moment for moment in retrained if end < calendar.later(moment, BUDGET_PERIOD)]
    if len(recent) >= bounds.budget:
        told = window.told("budget", max(recent))  # the owner hears of it once
        used_up = f"budget: {len(recent)} retrainings in {BUDGET_PERIOD.days} days (at most {bounds.budget})"
        return ("none" if told else "alert"), used_up
    after = " from after the change" if since(known) is not None else ""
    if labels is None or labels.folds == 0:
        return "wait for labels", f"no matured labels{after} to learn from yet"
    short = []
    if labels.learn < spec.split.minimum_rows:
        short.append(f"{labels.learn} of {spec.split.minimum_rows} rows to learn from")
    if labels.evaluate < spec.gates.minimum_rows:
        short.append(f"{labels.evaluate} of {spec.gates.minimum_rows} rows{after} to evaluate on")
    if short:
        return "wait for labels", f"matured: {', '.join(short)}"
    return "retrain", f"{labels.learn} rows to learn from, and {labels.evaluate}{after} to evaluate on, have matured"


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
