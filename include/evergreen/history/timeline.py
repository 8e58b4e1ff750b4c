"""A model's life as lines: each event in one, and those that a reader wants to know. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evergreen.handovers.gate import failures
from evergreen.history.events import (
    Adopted,
    Alerted,
    Approval,
    Corrected,
    DataDiffers,
    Decided,
    Deployed,
    Deploying,
    Documented,
    Erased,
    Event,
    Judged,
    NotBetter,
    NotDeployed,
    Promoted,
    Refitted,
    Registered,
    Reproduced,
    Restored,
    Retired,
    RolledBack,
    Signed,
    Trained,
    Validated,
)
from evergreen.history.rollouts import (
    Rollout,
    RolloutAdvanced,
    RolloutEnded,
    RolloutOpened,
    RolloutPaused,
    RolloutResumed,
    Step,
)
from evergreen.history.story import Entry, acts, as_gate


def lines(entries: Sequence[Entry]) -> Iterator[tuple[Entry, str]]:
    """Everything that a reader of a model's life wants to know, one line each, in the order in which it was recorded.

    A window that is like the one before it is left out, and so is each gate beside its verdict, a training set that
    nothing warns of, and a decision that was taken over although it stood there already.
    """
    previous = "none"
    decided: set[str] = set()
    judgements: dict[tuple[str, int], list[Judged]] = {}
    for event in (entry.event for entry in entries):
        if isinstance(event, Judged):
            judgements.setdefault((event.run_id, event.judgement), []).append(event)
    for entry in entries:
        event = entry.event
        if isinstance(event, Judged):
            together = judgements.pop((event.run_id, event.judgement), None)
            if together is not None:
                yield entry, _verdict(together)
            continue
        if isinstance(event, Validated) and not event.warnings:
            continue
        if isinstance(event, Decided):
            if event.taken_over and event.decision_id in decided:
                continue
            decided.add(event.decision_id)
            news = event.action == "retrain" or event.action not in ("none", previous) or acts(event)
            previous = event.action
            if not news:
                continue
        yield entry, describe(event)


def _verdict(together: Sequence[Judged]) -> str:
    """One judgement in a line."""
    passed = sum(gate.verdict == "pass" for gate in together)
    failed = failures(map(as_gate, together))
    return f"{together[0].family}: {passed} of {len(together)} gates passed{f': {failed}' if failed else ''}"


def _differs(data: DataDiffers) -> str:
    partitions = sorted((*data.added, *data.changed, *data.removed))
    days = partitions[0] if len(partitions) == 1 else f"{len(partitions)} from {partitions[0]} to {partitions[-1]}"
    return f"on other data than training {data.key} as of the same moment, by its rows of {days}"


def describe(event: Event) -> str:
    """An event in a line."""
    match event:
        case Trained():
            learned = "" if event.learned_from is None else f", on {event.learned_from}"
            data = "" if event.differs is None else f", {_differs(event.differs)}"
            return (
                f"trained {event.family}: {event.metric} {event.score:.4f} on time folds, {event.trials} trials"
                f"{learned}{data}{f', {event.selected}' if event.selected else ''}"
            )
        case Validated():
            warned = "; ".join(event.warnings)
            return f"the training set of {event.key} met its contract{f', which warns: {warned}' if warned else ''}"
        case Judged():
            return f"{event.family}, gate {event.gate}: {event.verdict} ({event.reason})"
        case NotBetter():
            cause = f", which decision {event.decision_id} asked for" if event.decision_id else ""
            return f"the training{cause} promotes nothing: {event.reason}"
        case Approval():
            who = f"{event.by} {'allowed' if event.approved else 'rejected'}" if event.by else "nobody allowed"
            told = f", told by {event.given_by} with a command" if event.given_by else ""
            return f"{who} {event.family} (tier {event.tier}{told}): {event.reason}"
        case Refitted():
            return f"{event.family}, refitted: {event.reason}"
        case Registered():
            fit = ", the refit" if event.gated else ""
            return f"version {event.version} was registered ({event.family}{fit})"
        case Documented():
            return f"the card of version {event.version} was written"
        case Signed():
            why = "" if event.by == "registration" else f", adopted: {event.reason}"
            return f"version {event.version} was signed by the key {event.signed_by}{why}"
        case Reproduced():
            return f"version {event.version} was made once more ({event.outcome}): {event.reason}"
        case Adopted():
            return f"version {event.version} was adopted: {event.reason}"
        case Deploying():
            return f"version {event.version} is about to be deployed, for a {event.purpose} ({event.reason})"
        case Deployed():
            return f"version {event.version} answers"
        case NotDeployed():
            return f"version {event.version} was not deployed: {event.reason}"
        case Promoted():
            cause = f"decision {event.decision_id}" if event.decision_id else event.reason
            return f"version {event.version} is the champion ({cause})"
        case RolledBack():
            return (
                f"version {event.version} is the champion again; version {event.left} was rolled back from "
                f"({event.reason})"
            )
        case Retired():
            return f"version {event.version} was retired ({event.reason})"
        case Restored():
            return f"MLflow shows the ledger's word again: {'; '.join(event.changes)}"
        case Decided():
            triggers = "" if event.action != "retrain" or event.triggers else ", which triggers nothing"
            back = "" if event.falls_back is None else f", and back to version {event.falls_back}"
            return (
                f"decision {event.decision_id} about {event.start:%Y-%m-%d}: {event.action}{triggers}{back} "
                f"({event.reason})"
            )
        case Corrected():
            return _corrected(event)
        case RolloutOpened() | RolloutAdvanced() | RolloutPaused() | RolloutResumed() | RolloutEnded():
            return _rollout(event)
        case Alerted():
            about = f"decision {event.decision_id}" if event.start is None else f"{event.start:%Y-%m-%d}"
            return f"the owner was told of {about}: {event.reason}"
        case Erased():
            learned = ", ".join(f"version {number} ({rows} rows)" for number, rows in event.versions.items())
            return f"erasure {event.erasure} of one entity; learned from it: {learned or 'no version'} ({event.reason})"


def _rollout(event: RolloutOpened | RolloutAdvanced | RolloutPaused | RolloutResumed | RolloutEnded) -> str:
    match event:
        case RolloutOpened():
            beside = f"beside version {event.champion}, {_does(event.steps[0])}"
            return f"the rollout of version {event.version} ({event.strategy}) is open: {beside} ({event.reason})"
        case RolloutAdvanced():
            does = _does(Step(role=event.role, share=event.share))
            return f"the rollout of version {event.version} goes on: {does} ({event.reason})"
        case RolloutPaused():
            return f"the rollout of version {event.version} was paused ({event.reason})"
        case RolloutResumed():
            return f"the rollout of version {event.version} goes on by itself ({event.reason})"
        case RolloutEnded():
            return f"the rollout of version {event.version} ended: {event.outcome} ({event.reason})"


def stands(rollout: Rollout) -> str:
    """How an open rollout stands, in a line."""
    opened = rollout.opened
    step = f"step {rollout.number + 1} of {len(opened.steps)} since {rollout.since:%Y-%m-%d %H:%M}"
    paused = "; paused" if rollout.paused else ""
    beside = f"version {rollout.version} beside version {opened.champion}"
    return f"{beside}, {step}: {_does(rollout.step)}{paused} ({rollout.id})"


def _does(step: Step) -> str:
    """What the version does in a step."""
    return "it is asked and answers nobody" if step.role == "shadow" else f"it answers {step.share} % of the entities"


def _corrected(event: Corrected) -> str:
    changed = ", ".join(
        f"{name} {0 if source.before is None else source.before} → {source.rows} rows"
        for name, source in event.sources.items()
        if not source.same
    )
    partitions = sum(map(len, event.features.values()))
    return (
        f"{event.dataset} of {event.partition} was corrected: {changed or 'no row changed'}, {partitions} feature and "
        f"{len(event.labels)} label partitions computed again ({event.reason})"
    )
