"""Looking through the whole ledger for what was changed since it was added."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from evergreen import database
from evergreen.history import chain, events
from evergreen.history.chain import Link, Witness
from evergreen.history.ledger import TABLE, reason

_PAGE = 1000  # entries that are held at a time


@dataclass(frozen=True)
class Verification:
    """What came of looking through the whole chain."""

    entries: int
    last: (
        Witness | None
    )  # of the last entry; None: there is none. Keep it elsewhere: it shows later whether the end was cut off
    flaws: tuple[str, ...]


def verify(witnesses: Sequence[Witness] = ()) -> Verification:
    """Look through all entries for what was changed, removed, put in or put elsewhere since they were added."""
    last: Link | None = None
    count, unreadable = 0, []

    def looked_at() -> Iterator[Link]:
        nonlocal last, count
        for last in _pages():
            count += 1
            if problem := _unlike(last):
                unreadable.append(f"entry {last.number} cannot be read: {problem}")
            yield last

    flaws = (*chain.flaws(looked_at(), witnesses), *unreadable)
    return Verification(count, None if last is None else Witness(last.number, last.hash), flaws)


def _pages() -> Iterator[Link]:
    number = None
    while True:
        with database.connect() as connection:
            page = (
                TABLE.select(connection, "order by number limit %s", [_PAGE])
                if number is None
                else TABLE.select(connection, "where number > %s order by number limit %s", [number, _PAGE])
            )
        yield from page
        if len(page) < _PAGE:
            return
        number = page[-1].number


def _unlike(link: Link) -> str:
    """What is wrong with the event of a row; empty: nothing."""
    try:
        event = events.from_text(link.body)
    except ValidationError as error:
        return reason(error)
    named = (event.id, event.model, event.event)
    return (
        ""
        if named == (link.id, link.model, link.event)
        else f"its row names it {(link.id, link.model, link.event)}, its text {named}"
    )
