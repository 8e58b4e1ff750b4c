"""What people said about candidates, in the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

from evergreen.handovers.train import Judged
from evergreen.history import events, ledger, story
from evergreen.history.story import Entry
from evergreen.run import Run
from evergreen.spec.risk import Risk

_KINDS = ("judged", "approval")


def of(model: str, run_id: str) -> events.Approval | None:
    """What was said last about a candidate, by the gates as they were decided last; None: nobody was asked."""
    return story.approval(ledger.entries(model, *_KINDS), run_id)


def record(run: Run, judged: Judged, risk: Risk, why: str) -> events.Approval:
    """Add what a person, or nobody, said."""
    approval = run.approval
    assert approval is not None and risk.tier != "low"

    def said(entries: Sequence[Entry]) -> Iterable[events.Event]:
        gates = story.judgement(entries, judged.run.id)
        yield events.Approval(
            id=story.next_id(f"approval/{judged.run.id}", entries),
            model=run.spec.model,
            as_of=run.as_of,
            actor=approval.by or run.actor,
            reason=approval.reason,
            run_id=judged.run.id,
            key=judged.key,
            family=judged.family,
            judgement=gates[0].judgement,
            tier=cast("events.AskingTier", risk.tier),
            why=why,
            approved=approval.approved,
            by=approval.by,
            how=approval.how,
            given_by=approval.given_by,
            compared_with=judged.compared_with,
        )

    ledger.extend(run.spec.model, said, *_KINDS)
    added = of(run.spec.model, judged.run.id)
    assert added is not None
    return added
