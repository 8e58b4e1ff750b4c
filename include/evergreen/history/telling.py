"""A model's life for a reader at a terminal: what `evergreen history` prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from pydantic import JsonValue

from evergreen.history import story, timeline
from evergreen.history.events import Decided, MadeFrom, Promoted
from evergreen.history.story import Entry, Reign, VersionStory
from evergreen.interval import from_to


def whole(model: str, entries: Sequence[Entry]) -> Iterator[str]:
    """Versions, champions, and everything that happened."""
    if not entries:
        yield f"{model}: nothing has happened yet"
        return
    now = story.standing(entry.event for entry in entries)
    yield f"{model}: {_champion(now.champion)}"
    if now.pending is not None:
        yield (
            f"  {now.pending.actor} began a {now.pending.purpose} to version {now.pending.version}, and did not end it"
        )
    yield ""
    yield "Versions"
    yield from (f"  {_version(version)}" for version in story.versions(entries))
    yield ""
    yield "Champions, by the clock"
    yield from (f"  {_reign(reign)}" for reign in story.reigns(entries))
    yield ""
    yield "What happened (recorded at; as of; what; who)"
    for entry, line in timeline.lines(entries):
        as_of = "-" if entry.event.as_of is None else f"{entry.event.as_of:%Y-%m-%d}"
        mark = " [taken over]" if entry.event.taken_over else ""
        yield f"  {entry.at:%Y-%m-%d %H:%M:%S}  {as_of:10}  {line}  [{entry.event.actor}]{mark}"
        if isinstance(entry.event, Decided):
            yield from (f"      {numbers}" for numbers in evidence(entry.event))


def at(model: str, entries: Sequence[Entry], moment: datetime) -> Iterator[str]:
    """Who was the champion at a moment of the clock, and why."""
    reign = story.champion_at(entries, moment)
    yield from _who(model, f"at {moment:%Y-%m-%d %H:%M:%S %Z}", reign, entries)


def as_of(model: str, entries: Sequence[Entry], moment: datetime) -> Iterator[str]:
    """Who was the champion of the interval that ends at a moment of the data, and why: as if history had been live."""
    number = story.champion_as_of(entries, moment)
    reigns = story.reigns(story.known_before(entries, moment))
    reign = reigns[-1] if reigns and number is not None else None
    yield from _who(model, f"as of {moment:%Y-%m-%d %H:%M:%S %Z}", reign, entries)


def evidence(decided: Decided) -> Iterator[str]:
    """The numbers that a decision was made from, a line for each part of the monitor that measured them; and the
    tables."""
    for part, content in decided.evidence.items():
        if numbers := ", ".join(_numbers(content)):
            yield f"{part}: {numbers}"
    for table, read in (decided.made_from or {}).items():
        yield f"read: {part_of(table, read)}"


def part_of(table: str, read: MadeFrom) -> str:
    """What was read of a table."""
    partitions = f"{read.partitions} partition{'' if read.partitions == 1 else 's'}"
    between = from_to(read.first, read.last)
    return f"{table}, version {read.version}: {between} ({partitions}), content hash {read.content_hash}"


def _numbers(content: JsonValue, name: str = "") -> Iterator[str]:
    """The numbers within a piece of evidence, each by its name; words and what was not measured are left out."""
    if isinstance(content, Mapping):
        for inner, value in content.items():
            yield from _numbers(value, f"{name}.{inner}" if name else inner)
    elif isinstance(content, int | float) and not isinstance(content, bool):
        yield f"{name} {content:.4g}".lstrip() if isinstance(content, float) else f"{name} {content}".lstrip()


def _who(model: str, when: str, reign: Reign | None, entries: Sequence[Entry]) -> Iterator[str]:
    if reign is None:
        yield f"{model} {when}: no champion"
        return
    cause = reign.cause
    yield f"{model} {when}: version {reign.version}"
    yield f"  {timeline.describe(cause)}"
    yield (
        f"  by {cause.actor}, recorded at "
        f"{reign.since:%Y-%m-%d %H:%M:%S}{', taken over from the release before' if cause.taken_over else ''}"
    )
    if isinstance(cause, Promoted):
        if decided := next((each for each in story.decisions(entries) if each.decision_id == cause.decision_id), None):
            yield f"  {timeline.describe(decided)}"
            yield from (f"    {numbers}" for numbers in evidence(decided))
        for gate in story.gates(entries, reign.version):
            yield f"  gate {gate.gate}: {gate.verdict} ({gate.reason})"


def _champion(number: int | None) -> str:
    return "no champion" if number is None else f"version {number} is the champion"


def _version(version: VersionStory) -> str:
    known = "" if version.as_of is None else f"as of {version.as_of:%Y-%m-%d}, "
    why = f" ({version.left_because})" if version.left_because else ""
    return (
        f"{version.number}: {version.state}{why}; {known}{version.family or 'family not recorded'}, MLflow run "
        f"{version.run_id}"
    )


def _reign(reign: Reign) -> str:
    until = "now" if reign.until is None else f"{reign.until:%Y-%m-%d %H:%M:%S}"
    return (
        f"{reign.since:%Y-%m-%d %H:%M:%S} to {until}: version {reign.version} ({reign.cause.event} by "
        f"{reign.cause.actor})"
    )
