"""What the gates decided, in the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evergreen.evaluate import rules
from evergreen.handovers.gate import Gate
from evergreen.handovers.handover import finite
from evergreen.history import ledger, story
from evergreen.history.events import Event, Judged, NotBetter
from evergreen.history.story import Entry
from evergreen.run import Run


def keep(run: Run, gates: Sequence[Gate], *, run_id: str, key: str, family: str, compared_with: int | None) -> None:
    """Record each gate of a candidate, and whether it is not better. Decided alike once more, nothing is added.

    Args:
        run_id: of the candidate in MLflow.
        compared_with: the champion.
    """

    def unless_alike(entries: Sequence[Entry]) -> Iterator[Event]:
        before = story.judgement(entries, run_id)
        number = before[-1].judgement + 1 if before else 1
        judged = [_judged(run, gate, number, run_id, key, family, compared_with) for gate in gates]
        if [_content(gate) for gate in before] == [_content(gate) for gate in judged]:
            return
        yield from judged
        if rules.verdict(list(gates)) == "fail":
            yield NotBetter(
                id=f"not better/{run_id}/{number}",
                model=run.spec.model,
                as_of=run.as_of,
                actor=run.actor,
                reason=rules.reason(list(gates)),
                run_id=run_id,
                key=key,
                family=family,
                compared_with=compared_with,
                decision_id=run.decision_id,
            )

    ledger.extend(run.spec.model, unless_alike, "judged")


def _judged(run: Run, gate: Gate, number: int, run_id: str, key: str, family: str, compared_with: int | None) -> Judged:
    return Judged(
        id=f"judged/{run_id}/{number}/{gate.name}",
        model=run.spec.model,
        as_of=run.as_of,
        actor=run.actor,
        reason=gate.reason,
        run_id=run_id,
        key=key,
        family=family,
        judgement=number,
        gate=gate.name,
        observed=finite(gate.observed),
        bound=finite(gate.bound),
        verdict=gate.verdict,
        compared_with=compared_with,
        low=finite(gate.low),
        high=finite(gate.high),
        rows=gate.rows,
        enough=gate.enough,
    )


def _content(judged: Judged) -> tuple[object, ...]:
    return (judged.gate, judged.observed, judged.bound, judged.verdict, judged.reason, judged.compared_with)
