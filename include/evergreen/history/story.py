"""What the ledger says of a model: projections of its entries, the oldest first. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, TypeGuard

from evergreen.handovers.gate import Gate, doubts
from evergreen.history import rollouts
from evergreen.history.events import (
    Adopted,
    Approval,
    Decided,
    Deploying,
    Event,
    Judged,
    NotDeployed,
    Promoted,
    Registered,
    Retired,
    RolledBack,
    Validated,
)
from evergreen.history.rollouts import ROLLOUTS, Rollout, RolloutEnded, RolloutOpened

State = Literal[
    "registered",
    "shadow",
    "challenger",
    "champion",
    "last known good",
    "replaced",
    "rejected",
    "rolled back",
    "retired",
]

# The kinds by which a version becomes the champion, and all that `standing` looks at.
CROWNING = ("promoted", "rolled back")
MOVES = ("deploying", "not deployed", *CROWNING, "retired", *ROLLOUTS)


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
    rollout: Rollout | None = None  # the open one; it is open as long as its champion is the champion
    rolled_back: frozenset[int] = frozenset()
    rejected: frozenset[int] = frozenset()  # the versions whose rollouts ended without enough that spoke for them
    retired: frozenset[int] = frozenset()
    fallen_back: frozenset[int] = frozenset()  # the versions that the monitor has fallen back to
    until: datetime | None = None  # the monitor fell back: a training promotes nothing unless it knows as much

    @property
    def to_serve(self) -> Standing:
        """What a server starts with: a rollback that was intended is carried out, a version
        that nobody saw answer is not served."""
        if self.pending is None or self.pending.purpose != "rollback":
            return self
        return replace(self, champion=self.pending.version, last_known_good=self.pending.version, rollout=None)


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
    then = _moved(now, event)
    rollout = rollouts.after(then.rollout, event)
    # A challenger stands beside one champion: whatever takes that one's place, or the challenger out of the line, ends
    # the rollout at that moment.
    if rollout is not None:
        gone = rollout.version in then.retired | then.rolled_back
        rollout = None if gone or then.champion != rollout.opened.champion else rollout
    return replace(then, rollout=rollout)


def _moved(now: Standing, event: Event) -> Standing:
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
        case RolloutOpened():
            ended = now.pending is not None and now.pending.id == event.intent
            return replace(now, pending=None) if ended else now
        case RolloutEnded(outcome="rolled back"):
            return replace(now, rolled_back=now.rolled_back | {event.version})
        case RolloutEnded(outcome="rejected"):
            return replace(now, rejected=now.rejected | {event.version})
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
        elif _taken_out(event) and event.version in stories:
            stories[event.version] = replace(stories[event.version], left_because=event.reason)
    return [stories[number] for number in sorted(stories)]


def _taken_out(event: Event) -> TypeGuard[Retired | RolloutEnded]:
    return isinstance(event, Retired) or (isinstance(event, RolloutEnded) and event.outcome != "promoted")


def _state(now: Standing, number: int, entries: Sequence[Entry]) -> State:
    if number in now.retired:
        return "retired"
    if number in now.rolled_back:
        return "rolled back"
    if number == now.champion:
        return "champion"
    if number == now.last_known_good:
        return "last known good"
    if now.rollout is not None and number == now.rollout.version:
        return now.rollout.step.role
    if number in now.rejected:
        return "rejected"
    promoted = any(isinstance(entry.event, Promoted) and entry.event.version == number for entry in entries)
    return "replaced" if promoted else "registered"


def judgement(entries: Sequence[Entry], run_id: str) -> list[Judged]:
    """The gates of a candidate, as they were decided last."""
    gates = [event for event in _events(entries) if isinstance(event, Judged) and event.run_id == run_id]
    return [gate for gate in gates if gate.judgement == gates[-1].judgement]


def checked(entries: Sequence[Entry], run_id: str) -> tuple[Gate, ...]:
    """The same as gates."""
    return tuple(as_gate(each) for each in judgement(entries, run_id))


def as_gate(of: Judged) -> Gate:
    """The gate that an event records."""
    return Gate(of.gate, of.observed, of.bound, of.verdict, of.reason, of.low, of.high, of.rows, of.enough)


def warnings(entries: Sequence[Entry], run_id: str) -> tuple[str, ...]:
    """What warns of a candidate: the contract of its training set, and gates that chance alone may have let pass. What
    is not recorded warns too.

    Args:
        entries: among others those of the kinds `validated` and `judged`.
    """
    gates = judgement(entries, run_id)
    if not gates:
        return ("no gates of it stand in the ledger",)
    sound = [event for event in _events(entries) if isinstance(event, Validated) and event.key == gates[0].key]
    of_set = sound[-1].warnings if sound else ("whether the contract of its training set warned was not recorded",)
    return (*of_set, *doubts(checked(entries, run_id)))


def approval(entries: Sequence[Entry], run_id: str) -> Approval | None:
    """What was said last about a candidate, of the gates as they were decided last; None: nobody was asked."""
    said = [event for event in _events(entries) if isinstance(event, Approval) and event.run_id == run_id]
    gates = judgement(entries, run_id)
    return said[-1] if said and gates and said[-1].judgement == gates[0].judgement else None


def compared(entries: Sequence[Entry]) -> Judged | None:
    """The last comparison of a candidate with a champion; None: there is none with an interval."""
    with_interval = [event for event in _events(entries) if isinstance(event, Judged) and event.rows is not None]
    return with_interval[-1] if with_interval else None


def gates(entries: Sequence[Entry], version: int) -> list[Judged]:
    """The gates that a version passed; none of one whose gates were decided by a release that had no ledger."""
    run_id = judged_run(entries, version)
    return [] if run_id is None else judgement(entries, run_id)


def judged_run(entries: Sequence[Entry], version: int) -> str | None:
    """The MLflow run of the fit that the gates of a version judged; None: the ledger has no registration of it."""
    for event in _events(entries):
        if isinstance(event, Registered) and event.version == version:
            return event.gated or event.run_id
    return None


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


def next_id(prefix: str, entries: Sequence[Entry]) -> str:
    """An id that no entry has, of what may happen again: the prefix, then the prefix with /2, /3, …"""
    taken = sum(entry.event.id == prefix or entry.event.id.startswith(f"{prefix}/") for entry in entries)
    return prefix if taken == 0 else f"{prefix}/{taken + 1}"


def _events(entries: Sequence[Entry]) -> Iterator[Event]:
    return (entry.event for entry in entries)
