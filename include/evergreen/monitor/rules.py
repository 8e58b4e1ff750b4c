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

from evergreen.handovers.monitor import Action, Cause, Finding, Rival
from evergreen.monitor import brakes, waiting
from evergreen.monitor.brakes import Retrained
from evergreen.monitor.evidence import NOTHING, Weighed
from evergreen.monitor.waiting import Good
from evergreen.spec.durations import duration_text
from evergreen.spec.rules.days import BUDGET_PERIOD
from evergreen.spec.schema import ModelSpec

JOINED = "; "  # between the reasons of a decision, where they are one text


@dataclass(frozen=True)
class Findings:
    """One window of predictions, and what is wrong in it."""

    start: datetime  # of the interval, which is the window's newest
    end: datetime
    version: int | None  # that made most of the interval's predictions; None: no predictions
    champion: int | None  # that should have made them; None: there was none yet
    rows: int
    found: tuple[Finding, ...] = ()
    rivals: tuple[Rival, ...] = ()  # what else could answer, while labels are open

    def said(self, kind: str) -> list[str]:
        """What is wrong, of a kind."""
        return [finding.said for finding in self.found if finding.kind == kind]


@dataclass(frozen=True)
class Standing:
    """What an owner hears of retrainings, each once.

    Attributes:
        found: what came of the last one, and why none is made until a person acts.
        over: causes of the second kind that do not stand.
    """

    found: tuple[Finding, ...] = ()
    over: tuple[str, ...] = ()


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
    cause: Cause | None = None  # of a decision to retrain
    falls_back: int | None = None  # the version that serves instead while labels are open
    standing: Standing = Standing()  # not of a decision that was read back


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

    def recent(self, spec: ModelSpec) -> list[datetime]:
        """Those of them that the budget counts."""
        end = self.findings.end
        return [moment for moment in self.retrained if end < spec.calendar.later(moment, BUDGET_PERIOD)]


@dataclass(frozen=True)
class Known:
    """What is known of the champion and of those before it.

    Attributes:
        weighed: what the windows whose labels have matured say.
        trained: as of when the champion was; None: nobody knows.
        retrained: the newest retrainings that the monitor started and no person's came after, the newest first.
        recipe: how the recipe that is declared now differs from the champion's, in words; None: it does not.
        comparable: whether the champion's can be fitted anew.
        good: the version that a fall back would return to; None: there is none.
        rollout: the version whose rollout beside the champion is open; None: there is none.
    """

    weighed: Weighed = NOTHING
    trained: datetime | None = None
    retrained: tuple[Retrained, ...] = ()
    recipe: str | None = None
    comparable: bool = True
    good: Good | None = None
    rollout: int | None = None

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


def due(spec: ModelSpec, findings: Findings, known: Known) -> tuple[Cause, str] | None:
    """Why a retraining is due, in a word and in words; None: it is not."""
    evidence, calendar, net = known.weighed.evidence, spec.calendar, spec.monitoring.retrain.at_latest
    if evidence is not None and evidence.due:
        return "loss", (
            f"a fresh fit of version {findings.champion}'s recipe loses {evidence.gap:.4f} less per row, beyond noise "
            f"(evidence {evidence.fast:.1f}, bound {spec.monitoring.retrain.bound:g}), and has avoided "
            f"{evidence.avoided:.3f} (a retraining costs {evidence.cost:.3f})"
        )
    newest = max(
        [moment for moment in (known.trained, *(each.end for each in known.retrained[:1])) if moment], default=None
    )
    if net is not None and newest is not None and calendar.later(newest, net) <= findings.end:
        age = f"the champion knows nothing newer than {calendar.shown(newest)}, more than {duration_text(net)} ago"
        return "calendar", age
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
        reasons = [*findings.said("loss"), why[1], *_of_recipe(known), reason]
    standing = _standing(spec, window, known, due=why is not None)
    reasons += [brakes.in_words(each) for each in standing.found if each.kind == "outcome"]
    triggers = action == "retrain" and not window.late
    if action == "retrain" and not triggers:
        reasons.append("a newer window was decided already: recorded, triggers nothing")
    falls_back = None
    if not (wrong or window.late or action == "retrain"):
        falls_back, meanwhile = waiting.fall_back(spec, findings.champion, findings.rivals, known.good)
        reasons += [meanwhile] if meanwhile else []
    changed_at = since(known) if why is not None and not wrong else None
    return Decision(
        id=_identity(spec.model, findings, action, changed_at, falls_back),
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
        cause=why[0] if why is not None and action == "retrain" else None,
        falls_back=falls_back,
        standing=standing,
    )


def _nothing_due(spec: ModelSpec, window: Assessment, known: Known) -> tuple[Action, list[str]]:
    findings, weighed = window.findings, known.weighed
    reasons = findings.said("loss")
    if (unfit := weighed.unfit) is not None:
        return "alert", [*reasons, brakes.in_words(brakes.unfit(spec, unfit))]
    if weighed.evidence is None:
        reasons.append(f"no window of version {findings.champion} has labels that have matured, and enough of them")
    else:
        seen = weighed.evidence
        reasons.append(
            f"fresh fits of the recipe lose {max(seen.gap, 0.0):.4f} less per row: no retraining pays (evidence "
            f"{seen.fast:.1f} of {spec.monitoring.retrain.bound:g}, {weighed.windows} windows)"
        )
    return "none", reasons


def _standing(spec: ModelSpec, window: Assessment, known: Known, *, due: bool) -> Standing:
    """What an owner hears of retrainings. That the budget is used up is no matter while none is due."""
    found, over = [], []
    if known.retrained and (outcome := brakes.outcome(known.retrained[0])) is not None:
        found.append(outcome)
    recent, budget = len(window.recent(spec)), spec.monitoring.budget
    held = {
        brakes.RECIPE: None if known.weighed.unfit is None else brakes.unfit(spec, known.weighed.unfit),
        brakes.COMPARISON: None if known.comparable else brakes.comparison(window.findings.champion, known.recipe),
        brakes.PERSON: brakes.person(known.useless) if len(known.useless) >= brakes.MOST_USELESS else None,
        brakes.BUDGET: brakes.budget(recent, budget) if recent >= budget else None,
    }
    for cause, brake in held.items():
        if brake is None:
            over.append(cause)
        elif due or cause != brakes.BUDGET:
            found.append(brake)
    return Standing(tuple(found), tuple(over))


def _of_recipe(known: Known) -> list[str]:
    """What a reader must know where the champion's recipe was compared, and another one is declared."""
    return [f"a retraining learns by the recipe that is declared now: {known.recipe}"] if known.recipe else []


def _act(spec: ModelSpec, window: Assessment, known: Known, labels: Labels | None) -> tuple[Action, str]:
    """What to do where a retraining is due: brakes first, then whether there is enough to learn from."""
    bounds, end, calendar = spec.monitoring, window.findings.end, spec.calendar
    retrained, recent = window.retrained, len(window.recent(spec))
    if known.rollout is not None:
        return "none", f"the rollout of version {known.rollout} is open: nothing is retrained before it has ended"
    if len(known.useless) >= brakes.MOST_USELESS:
        return "alert", brakes.in_words(brakes.person(known.useless))
    cooled = calendar.later(max(retrained), bounds.cooldown) if retrained else end
    if end < cooled:
        return "none", f"cooldown: nothing is retrained before {calendar.shown(cooled)}"
    if recent >= bounds.budget:
        return "alert", brakes.in_words(brakes.budget(recent, bounds.budget))
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


def _identity(
    model: str, findings: Findings, action: Action, changed_at: datetime | None, falls_back: int | None
) -> str:
    """The same decision has the same id, so that it triggers at most one run."""
    parts = [
        model,
        findings.start.isoformat(),
        findings.end.isoformat(),
        findings.version,
        action,
        changed_at and changed_at.isoformat(),
        *([] if falls_back is None else [falls_back]),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]
