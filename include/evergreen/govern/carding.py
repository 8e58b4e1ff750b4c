"""The card of a version: collects what is recorded of it, and writes the card where people look for it."""

from __future__ import annotations

from collections.abc import Mapping

from evergreen.errors import EvidenceMissing
from evergreen.explain import explaining
from evergreen.govern import card
from evergreen.history import events, ledger, story
from evergreen.history.story import Entry
from evergreen.registry import artifacts, records, tracking
from evergreen.registry.contents import (
    REWRITTEN,
    Content,
    Environment,
    Evaluation,
    Evidence,
    Explanations,
    Fitting,
    Gates,
    Recipe,
    Refit,
)
from evergreen.registry.papers import CardPage, CardText, ReportPage, ReportText
from evergreen.registry.records import Digest
from evergreen.registry.tags import Tag
from evergreen.reports.pages import publish
from evergreen.run import Run
from evergreen.train import records as training


def write(run: Run, number: int) -> str:
    """Write a version's card, once: to its MLflow run, recorded as its other files are, and as a page. The ledger then
    holds what all its files are.

    Returns:
        The page's address.
    """
    model = run.spec.model
    version = records.version(model, number)
    files = records.candidate(version.run_id).files
    if CardPage.NAME not in files:
        if Explanations.NAME not in files:
            tracking.record(run, version.run_id, explaining.of_version(model, version))
        facts = facts_of(run, number)
        made = card.paper(run, facts)
        report, gates = facts.gates.report, facts.gates.model_copy(update={"report": None})
        evidence = Evidence(evaluation=facts.evaluation, gates=gates, refit=facts.refit)
        papers: list[Content] = [] if report is None else [ReportText(report.text), ReportPage(report.page)]
        # The page last: where it stands, all others do.
        papers += [evidence, CardText(made.markdown()), CardPage(made.page())]
        for content in papers:
            tracking.record(run, version.run_id, content)
    candidate = records.candidate(version.run_id)
    gated = _gated(model, number, ledger.entries(model, "registered"))
    ledger.append(
        events.Documented(
            id=f"documented/{model}/{number}",
            model=model,
            as_of=version.as_of,
            actor=run.actor,
            reason=run.reason,
            version=number,
            run_id=version.run_id,
            gated=gated,
            sha256={each: _kept(records.candidate(each).files) for each in dict.fromkeys((version.run_id, gated))},
        )
    )
    return publish(f"{model}/cards/{number}.html", artifacts.load(candidate, CardPage).text)


def _kept(recorded: Mapping[str, Digest]) -> dict[str, str]:
    """The files that nothing writes anew."""
    return {name: digest.sha256 for name, digest in sorted(recorded.items()) if name not in REWRITTEN}


def facts_of(run: Run, number: int) -> card.Facts:
    """What is recorded of a version.

    Raises:
        EvidenceMissing: the ledger has no registration of it.
        ArtifactUntrusted: a file of it is not what was recorded.
    """
    model = run.spec.model
    version, entries = records.version(model, number), ledger.entries(model, "registered", "judged", "approval")
    gated = _gated(model, number, entries)
    fit, judged = records.candidate(version.run_id), records.candidate(gated)
    return card.Facts(
        version=version,
        gated=gated,
        page=tracking.url(version.run_id),
        data=training.of(model, version),
        recipe=artifacts.load(fit, Recipe),
        environment=artifacts.load(fit, Environment),
        code=tracking.tags(version.run_id).get(Tag.CODE, "not recorded"),
        evaluation=artifacts.load(judged, Evaluation),
        gates=artifacts.load(judged, Gates),
        refit=artifacts.find(judged, Refit),
        searched=artifacts.find(judged, Fitting),
        refitted=None if version.run_id == gated else artifacts.find(fit, Fitting),
        explanations=artifacts.find(fit, Explanations) or Explanations(rows=()),
        approval=_approval(entries, gated),
    )


def _gated(model: str, number: int, entries: list[Entry]) -> str:
    """The MLflow run of the fit that the gates of a version judged."""
    run_id = story.judged_run(entries, number)
    if run_id is not None:
        return run_id
    raise EvidenceMissing(
        f"writing the card of version {number} of {model}",
        found="no registration of it in the ledger",
        expected="a version that a training registered",
        next_step=f"`evergreen history {model}` lists them",
    )


def _approval(entries: list[Entry], gated: str) -> Entry | None:
    said = story.approval(entries, gated)
    return (
        next((entry for entry in entries if entry.event == said), None) if said is not None and said.approved else None
    )
