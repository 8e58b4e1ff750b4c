"""What a correction touches beyond partitions, and how the list of what it changes reads. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from evergreen.handovers.correct import Change, ChangedSource, Planned
from evergreen.history.events import Corrected, CorrectedSource, Decided, Event, Trained
from evergreen.history.story import Entry
from evergreen.interval import Interval
from evergreen.spec.asking import EveryInterval
from evergreen.spec.schema import ModelSpec

_DAYS = 12  # that a line names one by one


def cutoffs(spec: ModelSpec, features: Interval) -> list[str]:
    """The label partitions whose rows are joined with a feature partition: its own where every entity is predicted at
    an interval's end; those with requests from after it until the next one where the model is asked on request.

    An entity without features in the next partitions carries these further; that is not counted.
    """
    if isinstance(spec.asking, EveryInterval):
        return [features.partition]
    calendar, partitions = spec.calendar, []
    following = calendar.after(features)
    until = features.end + (features.end - features.start) + spec.asking.longest_lead
    while following.start < until:
        partitions.append(following.partition)
        following = calendar.after(following)
    return partitions


def open_decisions(standing: Sequence[Decided], events: Iterable[Event], since: datetime) -> list[str]:
    """Decisions of windows that end after a moment and are not done with: the newest, where it waits for labels, and
    those to retrain of which no training has come.

    Args:
        standing: of each window the decision that stands, oldest first.
        events: all of the model's.
    """
    trained = {event.decision_id for event in events if isinstance(event, Trained)}
    waits = [each for each in standing[-1:] if each.action == "wait for labels"]
    retrains = [each for each in standing if each.triggers and each.decision_id not in trained]
    return [
        f"{each.decision_id} about {each.start:%Y-%m-%d}: {each.action}"
        for each in (*retrains, *waits)
        if each.end > since
    ]


def event(planned: Planned, dataset: str, model: str, *, as_of: datetime, actor: str, reason: str) -> Corrected:
    """The correction as the history of a model, or of the dataset, has it."""
    replaces = {name: source.replaces for name, source in planned.sources.items()}
    aim = [replaces, [source.content_hash for source in planned.sources.values()]]
    digest = hashlib.sha256(json.dumps(aim, sort_keys=True).encode()).hexdigest()[:12]
    return Corrected(
        id=f"corrected/{model}/{dataset}/{planned.partition}/{digest}",
        model=model,
        as_of=as_of,
        actor=actor,
        reason=reason,
        dataset=dataset,
        partition=planned.partition,
        sources={
            name: CorrectedSource(
                before=source.published.before,
                rows=source.published.rows,
                quarantined=source.quarantined.rows,
                released=source.released,
                same=source.same,
                content_hash=source.content_hash,
            )
            for name, source in planned.sources.items()
        },
        features={view: tuple(partitions) for view, partitions in planned.features.items()},
        labels=tuple(planned.labels.get(model, ())),
    )


def unless_begun(corrected: Corrected, entries: Sequence[Entry]) -> tuple[Corrected, ...]:
    """The event, or none: where it is what a killed correction left over, whose rows are published already, that one is
    written down."""
    if not all(source.same for source in corrected.sources.values()):
        return (corrected,)
    aims = [_aim(each) for entry in entries if isinstance(each := entry.event, Corrected)]
    of_interval = [aim for aim in aims if aim[:2] == _aim(corrected)[:2]]
    return () if of_interval[-1:] == [_aim(corrected)] else (corrected,)


def _aim(corrected: Corrected) -> tuple[str, str, dict[str, str]]:
    contents = {name: source.content_hash for name, source in corrected.sources.items()}
    return corrected.dataset, corrected.partition, contents


def lines(dataset: str, planned: Planned) -> Iterator[str]:
    """What would change, for people."""
    if planned.nothing:
        yield f"{dataset} of {planned.partition}: nothing to change, what the batches say is published"
        return
    yield f"{dataset} of {planned.partition}:"
    for name, source in sorted(planned.sources.items()):
        if not source.same:
            yield f"  source {name}: {_source(source)}"
    yield from _erased(planned)
    if unchanged := sorted(name for name, source in planned.sources.items() if source.same):
        yield f"  unchanged: {', '.join(unchanged)}"
    for view, changes in planned.features.items():
        yield f"  features {view}: {_changes(changes)}"
    for view, online in planned.online.items():
        people = f"{online.entities:,} {'entity changes' if online.entities == 1 else 'entities change'}"
        yield f"  online {view}: {people}, by {_days(online.partitions)}"
    for model, changes in planned.labels.items():
        yield f"  labels of {model}: {_changes(changes)}"
    if planned.models:
        yield f"  models: {', '.join(planned.models)}"
    for model, versions in planned.versions.items():
        for version, days in versions.items():
            yield (
                f"  version {version} of {model} was trained on rows that change: the same training would differ by "
                f"{_days(days)}"
            )
    for model, decisions in planned.decisions.items():
        for decision in decisions:
            yield f"  open decision of {model}: {decision}"


def _erased(planned: Planned) -> Iterator[str]:
    """Who was erased, and stays out or may come back."""
    for name, source in sorted(planned.sources.items()):
        if source.back:
            yield (
                f"  WHO WAS ERASED MAY COME BACK into {name}: erasures removed {source.erased:,} of its rows, and its "
                f"batch has {source.back:,} of keys that are not there now"
            )
        elif source.erased:
            yield f"  source {name}: erasures removed {source.erased:,} of its rows, and they stay out"
    if planned.erasures:
        yield (
            f"  erasures since it was published: {', '.join(planned.erasures)}; have their rows taken out of the batch "
            "first, or give `evergreen erase` again afterwards"
        )


def _source(source: ChangedSource) -> str:
    released = f", {source.released:,} of them released" if source.released else ""
    return f"{_counts(source.published)} published{released}; {_counts(source.quarantined)} in quarantine"


def _counts(change: Change) -> str:
    before = 0 if change.before is None else change.before
    if change.same:
        return f"{change.rows:,} rows (the same)"
    return f"{change.rows:,} rows with other content" if before == change.rows else f"{before:,} → {change.rows:,} rows"


def _changes(changes: Mapping[str, Change]) -> str:
    """Partitions by what becomes of them."""
    groups = {
        "new": [key for key, change in changes.items() if change.before is None],
        "changed": [key for key, change in changes.items() if change.before is not None and not change.same],
        "computed again, with the same content": [
            key for key, change in changes.items() if change.before is not None and change.same
        ],
    }
    return "; ".join(f"{len(keys)} {what} ({_days(keys)})" for what, keys in groups.items() if keys)


def _days(partitions: Sequence[str]) -> str:
    ordered = sorted(partitions)
    if len(ordered) <= _DAYS:
        return ", ".join(ordered)
    return f"{len(ordered)} from {ordered[0]} to {ordered[-1]}"
