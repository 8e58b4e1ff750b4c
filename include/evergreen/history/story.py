"""What the ledger says of a model: projections of its entries, the oldest first. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from evergreen.history.events import (
    Adopted,
    Alerted,
    Corrected,
    DataDiffers,
    Decided,
    Deployed,
    Deploying,
    Erased,
    Event,
    Judged,
    NotBetter,
    NotDeployed,
    Promoted,
    Refitted,
    Registered,
    Restored,
    Retired,
    RolledBack,
    Trained,
)

State = Literal["registered", "champion", "last known good", "replaced", "rolled back", "retired"]

# The kinds by which a version becomes the champion, and all that `standing` looks at.
CROWNING = ("promoted", "rolled back")
MOVES = ("deploying", "not deployed", *CROWNING, "retired")


@dataclass(frozen=True)
class Entry:
    """An event in the ledger."""

    number: int
    at: datetime  # when it was recorded
    event: Event


@dataclass(frozen=True)
class Standing:
    """Where a model's promotions, rollbacks and retirements have led to: versions by their numbers."""

    champion: int | None = None
    last_known_good: int | None = None
    retired_champion: int | None = (
        None  # the last champion, retired with none in its place: served while nothing else is
    )
    pending: Deploying | None = None  # an intent whose end nobody recorded
    rolled_back: frozenset[int] = frozenset()
    retired: frozenset[int] = frozenset()
    fallen_back: frozenset[int] = frozenset()  # the versions that the monitor has fallen back to
    until: datetime | None = None  # the monitor fell back: a training promotes nothing unless it knows as much

    @property
    def to_serve(self) -> Standing:
        """What a server starts with: a rollback that was intended is carried out, a version
        that nobody saw answer is not served."""
        if self.pending is None or self.pending.purpose != "rollback":
            return self
        return replace(self, champion=self.pending.version, last_known_good=self.pending.version)


@dataclass(frozen=True)
class Reign:
    """How long a version was the champion, by the clock, and why it became it."""

    version: int
    since: datetime
    until: datetime | None  # None: it is
    cause: Promoted | RolledBack


@dataclass(frozen=True)
class VersionStory:
    """What became of a version."""

    number: int
    run_id: str | None  # of MLflow; None: an earlier release promoted it, and did not write it down
    family: str
    as_of: datetime | None
    since: datetime  # when it was first heard of
    state: State
    left_because: str  # why it was rolled back from or retired


def standing(events: Iterable[Event]) -> Standing:
    """Where the events of a model have led to."""
    now = Standing()
    for event in events:
        now = _after(now, event)
    return now


def says_all(event: Event) -> bool:
    """Whether what was before an event changes nothing in where it leads to, but for what was taken out before it."""
    return isinstance(event, Promoted) and event.replaced is not None


def _after(now: Standing, event: Event) -> Standing:
    match event:
        case Deploying():
            return replace(now, pending=event)
        case NotDeployed():
            ended = now.pending is not None and now.pending.id == event.intent
            return replace(now, pending=None) if ended else now
        case Promoted():
            good = now.last_known_good if event.replaced is None else event.replaced
            return replace(
                now, champion=event.version, last_known_good=good, retired_champion=None, pending=None, until=None
            )
        case RolledBack():
            # From a version that was put on the server by hand the champion is only
            # given back: what is good is as it was.
            good = now.last_known_good if now.champion == event.version else event.version
            return replace(
                now,
                champion=event.version,
                last_known_good=good,
                retired_champion=None,
                pending=None,
                rolled_back=now.rolled_back | {event.left},
                fallen_back=now.fallen_back | ({event.version} if event.decision_id is not None else set()),
                until=event.until,
            )
        case Retired():
            gone = event.version
            return replace(
                now,
                champion=None if now.champion == gone else now.champion,
                last_known_good=None if now.last_known_good == gone else now.last_known_good,
                retired_champion=gone if now.champion == gone else now.retired_champion,
                retired=now.retired | {gone},
            )
    return now


def champion_as_of(entries: Sequence[Entry], moment: datetime) -> int | None:
    """The champion of an interval that ends at `moment`: left by what knew about less.

    So history can be replayed as if it were live.
    """
    return standing(_events(known_before(entries, moment))).champion


def champion_before(entries: Sequence[Entry], moment: datetime) -> int | None:
    """The version that the champion of that interval took over from; None: it is the first."""
    crowned = [
        event.version for event in _events(known_before(entries, moment)) if isinstance(event, Promoted | RolledBack)
    ]
    return next((version for version in reversed(crowned) if version != crowned[-1]), None)


def tells_both(entries: Sequence[Entry], moment: datetime) -> bool:
    """Whether some entries, all from one of them on, hold all that tells an interval's champion and the one before
    it."""
    return champion_before(entries, moment) is not None


def reigns(entries: Sequence[Entry]) -> list[Reign]:
    """The champions by the clock, one after the other; between two there is none when one was retired."""
    followed: list[Reign] = []
    now = Standing()
    for entry in entries:
        after = _after(now, entry.event)
        if after.champion != now.champion:
            if now.champion is not None:
                followed[-1] = replace(followed[-1], until=entry.at)
            if isinstance(entry.event, Promoted | RolledBack):
                followed.append(Reign(entry.event.version, entry.at, None, entry.event))
        now = after
    return followed


def champion_at(entries: Sequence[Entry], moment: datetime) -> Reign | None:
    """Who was the champion at a moment of the clock, and why."""
    return next(
        (
            reign
            for reign in reversed(reigns(entries))
            if reign.since <= moment and (reign.until is None or moment < reign.until)
        ),
        None,
    )


def known_before(entries: Sequence[Entry], moment: datetime) -> list[Entry]:
    """The entries whose runs and versions knew about less than `moment`."""
    return [entry for entry in entries if entry.event.as_of is not None and entry.event.as_of < moment]


def versions(entries: Sequence[Entry]) -> list[VersionStory]:
    """Every version that the ledger knows, by number."""
    now = standing(_events(entries))
    stories: dict[int, VersionStory] = {}
    for entry in entries:
        event = entry.event
        if isinstance(event, Registered | Adopted | Promoted) and event.version not in stories:
            family = event.family if isinstance(event, Registered) else ""
            stories[event.version] = VersionStory(
                event.version, event.run_id, family, event.as_of, entry.at, _state(now, event.version, entries), ""
            )
        elif isinstance(event, RolledBack) and event.left in stories:
            stories[event.left] = replace(stories[event.left], left_because=event.reason)
        elif isinstance(event, Retired) and event.version in stories:
            stories[event.version] = replace(stories[event.version], left_because=event.reason)
    return [stories[number] for number in sorted(stories)]


def _state(now: Standing, number: int, entries: Sequence[Entry]) -> State:
    if number in now.retired:
        return "retired"
    if number in now.rolled_back:
        return "rolled back"
    if number == now.champion:
        return "champion"
    if number == now.last_known_good:
        return "last known good"
    promoted = any(isinstance(entry.event, Promoted) and entry.event.version == number for entry in entries)
    return "replaced" if promoted else "registered"


def judgement(entries: Sequence[Entry], run_id: str) -> list[Judged]:
    """The gates of a candidate, as they were decided last."""
    gates = [event for event in _events(entries) if isinstance(event, Judged) and event.run_id == run_id]
    return [gate for gate in gates if gate.judgement == gates[-1].judgement]


def compared(entries: Sequence[Entry]) -> Judged | None:
    """The last comparison of a candidate with a champion; None: there is none with an interval."""
    with_interval = [event for event in _events(entries) if isinstance(event, Judged) and event.rows is not None]
    return with_interval[-1] if with_interval else None


def gates(entries: Sequence[Entry], version: int) -> list[Judged]:
    """The gates that a version passed; none of one whose gates were decided by a release that had no ledger."""
    runs = [
        event.gated or event.run_id
        for event in _events(entries)
        if isinstance(event, Registered) and event.version == version
    ]
    return judgement(entries, runs[0]) if runs else []


def gated(entries: Sequence[Entry]) -> set[str]:
    """The MLflow runs of the fits that gates judged and whose refits are versions."""
    return {event.gated for event in _events(entries) if isinstance(event, Registered) and event.gated is not None}


def decisions(entries: Sequence[Entry]) -> list[Decided]:
    """The decision of each window that stands, by window: the last one that acted, else the last one.

    One that triggered a training or fell back stands when the window is decided again: by then it may be too old to
    do anything, or more may be known of the days before it, but it did.
    """
    standing: dict[datetime, Decided] = {}
    for event in _events(entries):
        if isinstance(event, Decided) and (
            acts(event) or event.start not in standing or not acts(standing[event.start])
        ):
            standing[event.start] = event
    return sorted(standing.values(), key=lambda decided: (decided.end, decided.start))


def acts(decided: Decided) -> bool:
    """Whether a decision changes something: it triggers a training, or another version serves by it."""
    return decided.triggers or decided.falls_back is not None


def timeline(entries: Sequence[Entry]) -> Iterator[tuple[Entry, str]]:
    """Everything that a reader of a model's life wants to know, one line each, in the order in which it was recorded.

    A window that is like the one before it is left out, and so is each gate beside its verdict, and a decision that
    was taken over although it stood there already.
    """
    previous = "none"
    decided: set[str] = set()
    judgements: dict[tuple[str, int], list[Judged]] = {}
    for event in _events(entries):
        if isinstance(event, Judged):
            judgements.setdefault((event.run_id, event.judgement), []).append(event)
    for entry in entries:
        event = entry.event
        if isinstance(event, Judged):
            together = judgements.pop((event.run_id, event.judgement), None)
            if together is not None:
                yield entry, _verdict(together)
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
    failed = "; ".join(f"{gate.gate}: {gate.reason}" for gate in together if gate.verdict != "pass")
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
                f"{learned}{data}"
            )
        case Judged():
            return f"{event.family}, gate {event.gate}: {event.verdict} ({event.reason})"
        case NotBetter():
            cause = f", which decision {event.decision_id} asked for" if event.decision_id else ""
            return f"the training{cause} promotes nothing: {event.reason}"
        case Refitted():
            return f"{event.family}, refitted: {event.reason}"
        case Registered():
            fit = ", the refit" if event.gated else ""
            return f"version {event.version} was registered ({event.family}{fit})"
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
        case Alerted():
            about = f"decision {event.decision_id}" if event.start is None else f"{event.start:%Y-%m-%d}"
            return f"the owner was told of {about}: {event.reason}"
        case Erased():
            learned = ", ".join(f"version {number} ({rows} rows)" for number, rows in event.versions.items())
            return f"erasure {event.erasure} of one entity; learned from it: {learned or 'no version'} ({event.reason})"


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


def next_id(prefix: str, entries: Sequence[Entry]) -> str:
    """An id that no entry has, of what may happen again: the prefix, then the prefix with /2, /3, …"""
    taken = sum(entry.event.id == prefix or entry.event.id.startswith(f"{prefix}/") for entry in entries)
    return prefix if taken == 0 else f"{prefix}/{taken + 1}"


def _events(entries: Sequence[Entry]) -> Iterator[Event]:
    return (entry.event for entry in entries)
