"""The chain that holds a ledger's entries together: what each one's hash is of, and what is wrong with a chain. Pure.

Whoever can write to the database can compute every hash anew, and whoever can delete can cut off the end. Both are seen
by who kept an earlier hash elsewhere: a witness.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from evergreen.quoting import shown

BEGINNING = "0" * 64  # the hash that the first entry goes on from


@dataclass(frozen=True)
class Link:
    """One row of the ledger, as it stands in the database."""

    number: int  # from 1, without gaps
    id: str  # names the event; the same id is never added twice
    at: datetime  # when it was recorded, by the database's clock
    model: str  # the model's name
    event: str  # its kind, such as `promoted`
    body: str  # JSON: the whole event
    previous: str  # the hash of the entry before it
    hash: str  # sha256 of all the other columns, 64 hexadecimal digits

    @property
    def content_hash(self) -> str:
        """What `hash` must be."""
        return digest(self.number, self.id, self.at, self.model, self.event, self.body, self.previous)


@dataclass(frozen=True)
class Witness:
    """An entry's number and hash, as somebody kept them outside of the database."""

    number: int
    hash: str

    @classmethod
    def parse(cls, text: str) -> Witness:
        """Of `120:9f3c…`, at least eight digits of the hash; raises ValueError."""
        number, _, digits = text.partition(":")
        if not number.isdecimal() or len(digits) < 8 or not set(digits) <= set("0123456789abcdef"):
            raise ValueError(
                f"{shown(text)} is not an entry's number and hash, as `evergreen audit verify` prints them"
            )
        return cls(int(number), digits)

    def __str__(self) -> str:
        return f"{self.number}:{self.hash}"


def digest(number: int, id: str, at: datetime, model: str, event: str, body: str, previous: str) -> str:
    """The hash of an entry: of everything that stands in its row, and of the entry before it."""
    content = [number, id, at.astimezone(UTC).isoformat(timespec="microseconds"), model, event, body, previous]
    return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()


def flaws(links: Iterable[Link], witnesses: Iterable[Witness] = ()) -> Iterator[str]:
    """What is wrong with a chain, in its order: what was changed, removed, put in or put elsewhere.

    Args:
        links: all rows, by number.
        witnesses: what must be in it.
    """
    wanted = {witness.number: witness for witness in witnesses}
    number, previous = 0, BEGINNING
    for link in links:
        named = f"entry {link.number} ({shown(link.id)} of {shown(link.model)})"
        if link.number != number + 1:
            missing = (
                f"entry {number + 1} is"
                if link.number == number + 2
                else f"entries {number + 1} to {link.number - 1} are"
            )
            yield f"{missing} missing"
        elif link.previous != previous:
            yield (
                f"{named} does not follow the entry before it: one of them was changed, removed, put in or put "
                "elsewhere"
            )
        if link.hash != link.content_hash:
            yield f"{named} is not what was recorded"
        witness = wanted.pop(link.number, None)
        if witness is not None and not link.hash.startswith(witness.hash):
            yield f"{named} is not the one of the witness {witness}: the chain was written anew from there or before"
        number, previous = link.number, link.hash
    for witness in wanted.values():
        yield f"entry {witness.number}, of the witness {witness}, is missing: the chain ends with entry {number}"
