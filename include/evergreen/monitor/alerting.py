"""Who was told what of a window: worked out from the ledger, and added to it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from evergreen.handovers.monitor import Decided, Performance, Quality
from evergreen.history import events, ledger, story
from evergreen.monitor import mending, telling
from evergreen.monitor.rules import JOINED
from evergreen.run import Run


def tell(run: Run, quality: Quality, performance: Performance, decision: Decided) -> tuple[str | None, Sequence[str]]:
    """What the owner is told of a window, and the id under which the ledger has it; None: nothing.

    Run again, a window tells the same. One that is older than the newest decision tells nothing: what it found is
    nothing that is wrong now.
    """
    spec, start = run.spec, run.interval.start
    newest = story.decisions(ledger.windows(spec.model, 1))
    before = ledger.told(spec.model, start)
    if any(each.start > start for each in newest):
        return None, ()
    ours = before if before is not None and before.start == start else None
    found = (*quality.findings, *performance.findings, *decision.findings)
    told = telling.tell(
        found,
        () if before is None else before.told,
        start,
        doing=telling.doing(decision.action, decision.falls_back),
        judged=lambda kind, cause: cause in decision.over or _judged(quality, performance, kind, cause),
    )
    said = [telling.line(each, spec.calendar) for each in telling.news(told)]
    lost = [each for each in telling.news(told) if each.kind == "loss" and each.state != "resolved"]
    if lost:
        since = min(mending.began(spec, each.cause, each.since) for each in lost)
        said += [line for each in newest if each.start == start for line in mending.told(spec, each, since)]
    if said:
        ours = events.Alerted(
            id=f"alert/{decision.decision_id}/{hashlib.sha256(JOINED.join(said).encode()).hexdigest()[:8]}",
            model=spec.model,
            as_of=run.as_of,
            actor=run.actor,
            reason=JOINED.join(said),
            decision_id=decision.decision_id,
            start=start,
            told=told,
            lines=tuple(said),
        )
        ledger.append(ours)
    return (None, ()) if ours is None else (ours.id, ours.lines)


def _judged(quality: Quality, performance: Performance, kind: str, cause: str) -> bool:
    """Whether the window could look at a cause."""
    if kind in ("outcome", "brake"):
        return False  # the decision says which of them are over
    answered = bool(quality.missing)
    if kind == "loss":
        return performance.value is not None or (answered and cause.startswith("estimated"))
    return answered or cause == "volume"
