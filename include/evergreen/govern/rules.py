"""When a person must allow a version, and what they are shown. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from evergreen.handovers.gate import Gate, number
from evergreen.handovers.train import Judged
from evergreen.markdown import plain, table
from evergreen.run import Approval, Run
from evergreen.spec.durations import duration_text
from evergreen.spec.risk import Risk


@dataclass(frozen=True)
class Question:
    """What a person is asked: in a line, and in Markdown what they need to know."""

    subject: str
    body: str


def refused(risk: Risk, approval: Approval) -> str | None:
    """Why an answer is no answer; None: it is one."""
    if approval.by is not None and approval.by not in risk.approvers:
        return f"{approval.by} is none of those who may (risk.approvers: {', '.join(risk.approvers)})"
    if not approval.reason.strip():
        return "it has no reason"
    return None


def question(run: Run, judged: Judged, why: str) -> Question:
    """What the approvers are asked about a candidate."""
    risk = run.spec.risk
    assert risk is not None
    subject = f"{run.spec.model}: may {judged.family}, as of {run.spec.calendar.shown(run.as_of)}, be promoted?"
    return Question(subject, "\n".join(_body(run, risk, judged, why)))


def _body(run: Run, risk: Risk, judged: Judged, why: str) -> Iterator[str]:
    score = "not defined" if judged.score is None else f"{judged.score:.4f}"
    against = "no champion" if judged.compared_with is None else f"version {judged.compared_with}"
    yield f"**{judged.family}**, {judged.metric} {score} on the evaluation rows, compared with {against}."
    yield ""
    yield f"You are asked because {why}. Without an answer within {duration_text(risk.within)} it is rejected."
    yield ""
    yield f"**Impact** {plain(risk.impact)}"
    if risk.mitigations:
        yield ""
        yield "**Mitigations**"
        yield ""
        yield from (f"- {plain(each)}" for each in risk.mitigations)
    if judged.warnings:
        yield ""
        yield f"**{len(judged.warnings)} warning(s)**"
        yield ""
        yield from (f"- {plain(each)}" for each in judged.warnings)
    yield ""
    yield f"**{len(judged.gates)} gates, all passed**"
    yield ""
    yield from table(
        ("gate", "observed", "interval", "bound", "reason"),
        (tuple(map(plain, _row(gate))) for gate in judged.gates),
    )
    yield ""
    pages = {"gate report": judged.report, "MLflow run": judged.run.page}
    yield " · ".join(f"[{name}]({address})" for name, address in pages.items() if address)


def _row(gate: Gate) -> tuple[str, ...]:
    return gate.name, number(gate.observed), gate.interval, number(gate.bound), gate.reason
