"""What was compared of a version that was made once more, what moved since, and what both say. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

Of = Literal["gated fit", "refit"]
Outcome = Literal["identical", "different", "not repeated"]

_SHORT = 12  # digits of a digest that people read
_SOURCES = "sources "  # before the hash of our code, where its version names one


@dataclass(frozen=True)
class Compared:
    """One thing of a fit, as it was recorded and as it came out.

    Attributes:
        of: which fit of the version; one without a refit has the gated one alone.
        then, now: digests, or values; None: there is none to compare with.
        told: how they differ, or why there is nothing to compare.
    """

    what: str
    of: Of
    then: str | None
    now: str | None
    told: str = ""

    @property
    def same(self) -> bool:
        return self.then is not None and self.then == self.now


@dataclass(frozen=True)
class Moved:
    """An input that is another one than it was.

    Attributes:
        what: the file, key, table, package or property of the machine.
        then, now: digests, versions, or values.
        used: a repetition uses it as it is now, so that it may be why something differs; what is pinned is used as
            it was.
    """

    what: str
    then: str
    now: str
    used: bool


@dataclass(frozen=True)
class Reproduction:
    """What came of making a version once more.

    Attributes:
        run_id: its MLflow run.
        missing: why it could not be made at all; empty: it was.
        searched: the search was run again too.
        clocked: gates that measure time, which are never the same.
        unlooked: inputs of which nothing can be said, and why.
    """

    model: str
    version: int
    run_id: str
    as_of: datetime
    compared: tuple[Compared, ...] = ()
    moved: tuple[Moved, ...] = ()
    missing: str = ""
    searched: bool = False
    clocked: tuple[str, ...] = ()
    unlooked: tuple[str, ...] = ()

    @property
    def outcome(self) -> Outcome:
        """What can be said of it; what cannot be compared is not identical."""
        if self.missing or not self.compared:
            return "not repeated"
        return "identical" if all(each.same for each in self.compared) else "different"

    @property
    def reason(self) -> str:
        """The outcome in a line, with what moved."""
        if self.missing:
            return self.missing
        if self.outcome == "identical":
            return f"{len(self.compared)} of {len(self.compared)} comparisons are identical to the last bit"
        apart = [f"{each.what} of the {each.of}" for each in self.compared if not each.same]
        moved = [each.what for each in self.moved if each.used]
        why = f"moved: {', '.join(moved)}" if moved else "nothing moved that is recorded"
        return f"different: {', '.join(apart)}; {why}"


def digest(content: object) -> str:
    """The sha256 of a value as JSON."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def environment(then: Mapping[str, str], now: Mapping[str, str]) -> Iterator[Moved]:
    """What is otherwise than it was in what a fit depends on; what was not recorded then is left out."""
    for name, was in then.items():
        became = now.get(name, "not installed")
        if name == "code":
            if _sources(was) != _sources(became):
                yield Moved("the code of Evergreen", was, became, used=True)
        elif was != became:
            yield Moved(name, was, became, used=True)


def _sources(version: str) -> str:
    """The hash of the sources: a commit that changes none of them makes no other model."""
    return version.partition(_SOURCES)[2] or version


def queries(then: Mapping[str, str], now: Mapping[str, str]) -> Iterator[Moved]:
    """The files of queries that are others: by the digests of their texts."""
    for file in sorted({*then, *now}):
        was, became = (_of_text(texts.get(file)) for texts in (then, now))
        if was != became:
            yield Moved(f"the query {file}", was, became, used=False)


def _of_text(text: str | None) -> str:
    return "no such file" if text is None else f"sha256 {hashlib.sha256(text.encode()).hexdigest()[:_SHORT]}"


def spec(then: Mapping[str, Any], now: Mapping[str, Any], file: str) -> Iterator[Moved]:
    """The keys of a spec whose values are others.

    Args:
        file: that has the keys now.
    """
    for path, was, became in _differing(then, now, ()):
        yield Moved(f"{'.'.join(path)} in {file}", _value(was), _value(became), used=False)


_ABSENT = object()


def _differing(then: Any, now: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for key in [*then, *(key for key in now if key not in then)]:
            yield from _differing(then.get(key, _ABSENT), now.get(key, _ABSENT), (*path, str(key)))
    elif then != now:
        yield path, then, now


def _value(value: Any) -> str:
    if value is _ABSENT:
        return "absent"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"sha256 {digest(value)[:_SHORT]}"


def values(what: str, of: Of, then: Mapping[str, Any], now: Mapping[str, Any]) -> Compared:
    """Named values, with those that differ in words."""
    differing = [
        f"{'.'.join(path)} {_value(was)} → {_value(became)}" for path, was, became in _differing(then, now, ())
    ]
    more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
    return Compared(what, of, digest(then), digest(now), f"{'; '.join(differing[:3])}{more}")


def lines(found: Reproduction) -> Iterator[str]:
    """What came of it, for people."""
    if found.missing:
        yield f"version {found.version} of {found.model} cannot be made once more: {found.missing}"
    else:
        searched = "searched and fitted" if found.searched else "fitted"
        whose = f"version {found.version} of {found.model}, {searched} once more"
        yield f"{whose}: {'IDENTICAL' if found.outcome == 'identical' else 'DIFFERENT'}"
    for each in found.compared:
        yield f"  {'same     ' if each.same else 'DIFFERENT'}  {each.of}: {each.what}{_told(each)}"
    if found.clocked:
        yield f"  not compared, since they measure time: {', '.join(found.clocked)}"
    for used, heading in (
        (True, "Moved since, and used as it is now:"),
        (False, "Moved since, and used as it was then:"),
    ):
        moved = [each for each in found.moved if each.used is used]
        if moved:
            yield heading
            yield from (f"  {each.what}: {each.then} → {each.now}" for each in moved)
    if found.outcome == "different" and not any(each.used for each in found.moved):
        yield "Nothing that is recorded of it moved: look at who else may change files or rows."
    yield from (f"Not looked at: {each}" for each in found.unlooked)


def _told(each: Compared) -> str:
    if each.same:
        return f" {_shortened(each.then)}"
    hashes = "" if each.then is None else f" {_shortened(each.then)} → {_shortened(each.now)}"
    return f"{hashes}{f': {each.told}' if each.told else ''}"


def _shortened(value: str | None) -> str:
    if value is None:
        return "none"
    return value[:_SHORT] if len(value) in (32, 64) and set(value) <= set("0123456789abcdef") else value


def as_json(found: Reproduction) -> dict[str, Any]:
    """All of it, for programs."""
    return {
        "model": found.model,
        "version": found.version,
        "run_id": found.run_id,
        "as_of": found.as_of.isoformat(),
        "outcome": found.outcome,
        "reason": found.reason,
        "searched": found.searched,
        "compared": [
            {
                "of": each.of,
                "what": each.what,
                "then": each.then,
                "now": each.now,
                "same": each.same,
                "told": each.told or None,
            }
            for each in found.compared
        ],
        "moved": [{"what": each.what, "then": each.then, "now": each.now, "used": each.used} for each in found.moved],
        "not_compared": list(found.clocked),
        "not_looked_at": list(found.unlooked),
    }
