"""The card of a version: collects what is recorded of it, and writes the card where people look for it."""

from __future__ import annotations

from evergreen.errors import EvidenceMissing
from evergreen.govern import card
from evergreen.history import events, ledger, story
from evergreen.history.story import Entry
from evergreen.registry import artifacts, records, tracking
from evergreen.registry.contents import (
    CardPage,
    CardText,
    Environment,
    Evaluation,
    Fitting,
    Gates,
    Recipe,
    Refit,
)
from evergreen.registry.tags import Tag
from evergreen.reports.pages import publish
from evergreen.run import Run
from evergreen.train import records as training


def write(run: Run, number: int) -> str:
    """Write a version's card: to its MLflow run, recorded as its other files are, and as a page. Again is harmless.

    Returns:
        The page's address.
    """
    facts = facts_of(run, number)
    made = card.paper(run, facts)
    text, page = made.markdown(), made.page()
    tracking.record(run, facts.version.run_id, CardText(text))
    tracking.record(run, facts.version.run_id, CardPage(page))
    return publish(f"{run.spec.model}/cards/{number}.html", page)


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
        refit=artifacts.load(judged, Refit) if Refit.NAME in judged.files else None,
        fitting=artifacts.load(fit, Fitting) if Fitting.NAME in fit.files else None,
        approval=_approval(entries, gated),
    )


def _gated(model: str, number: int, entries: list[Entry]) -> str:
    """The MLflow run of the fit that the gates of a version judged."""
    for entry in entries:
        if isinstance(entry.event, events.Registered) and entry.event.version == number:
            return entry.event.gated or entry.event.run_id
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
