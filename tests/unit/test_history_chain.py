"""The chain: whatever is changed, removed, put in or put elsewhere is found;
what is cut off at the end, by a witness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen.history import chain
from evergreen.history.chain import BEGINNING, Link, Witness

START = datetime(2026, 1, 1, tzinfo=UTC)


def written(bodies: Sequence[str]) -> list[Link]:
    """A chain of these bodies, as a ledger writes it."""
    links: list[Link] = []
    for number, body in enumerate(bodies, 1):
        previous = links[-1].hash if links else BEGINNING
        at = START + timedelta(seconds=number)
        hashed = chain.digest(number, f"id/{number}", at, "churn", "alerted", body, previous)
        links.append(Link(number, f"id/{number}", at, "churn", "alerted", body, previous, hashed))
    return links


CHAINS = st.lists(st.text(max_size=5), min_size=1, max_size=8).map(written)
OTHER: dict[str, Any] = {
    "number": 99,
    "id": "other",
    "at": START,
    "model": "other",
    "event": "promoted",
    "body": "another body",
    "previous": "1" * 64,
    "hash": "2" * 64,
}


@given(CHAINS)
def test_a_chain_as_it_was_written_has_no_flaw_and_every_entry_is_a_witness(links: list[Link]) -> None:
    assert list(chain.flaws(links)) == []
    witnesses = [Witness.parse(str(Witness(link.number, link.hash))) for link in links]
    assert list(chain.flaws(links, witnesses)) == []


@given(CHAINS, st.data())
def test_whatever_is_changed_in_a_row_is_found(links: list[Link], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(links) - 1))
    column = data.draw(st.sampled_from([field.name for field in fields(Link)]))
    links[place] = replace(links[place], **{column: OTHER[column]})
    assert list(chain.flaws(links))


@given(CHAINS, st.data())
def test_a_row_that_was_changed_with_its_hash_is_found_by_the_one_after_it(
    links: list[Link], data: st.DataObject
) -> None:
    links = written([*(link.body for link in links), "last"])
    place = data.draw(st.integers(0, len(links) - 2))
    changed = replace(links[place], body="another body")
    links[place] = replace(changed, hash=changed.content_hash)
    assert list(chain.flaws(links))


@given(CHAINS, st.data())
def test_a_row_that_was_removed_is_found_whether_the_others_were_numbered_anew_or_not(
    links: list[Link], data: st.DataObject
) -> None:
    links = written([*(link.body for link in links), "last"])
    place = data.draw(st.integers(0, len(links) - 2))
    del links[place]
    assert "missing" in next(chain.flaws(links))
    renumbered = [replace(link, number=number) for number, link in enumerate(links, 1)]
    assert list(chain.flaws(renumbered))
    rehashed = [replace(link, hash=link.content_hash) for link in renumbered]
    assert list(chain.flaws(rehashed))


@given(CHAINS, st.data())
def test_two_rows_that_were_exchanged_are_found(links: list[Link], data: st.DataObject) -> None:
    links = written([*(link.body for link in links), "last"])
    one, other = data.draw(st.lists(st.integers(0, len(links) - 1), min_size=2, max_size=2, unique=True))
    first, second = links[one], links[other]
    links[one] = replace(second, number=first.number)
    links[other] = replace(first, number=second.number)
    assert list(chain.flaws(links))


@given(CHAINS, st.data())
def test_an_end_that_was_cut_off_is_found_by_a_witness_and_by_nothing_else(
    links: list[Link], data: st.DataObject
) -> None:
    kept = data.draw(st.integers(0, len(links) - 1))
    witness = Witness(links[-1].number, links[-1].hash)
    assert list(chain.flaws(links[:kept])) == [], "what docs/security.md says a verification cannot see"
    (flaw,) = chain.flaws(links[:kept], [witness])
    assert f"the chain ends with entry {kept}" in flaw


def test_a_chain_that_was_written_anew_is_found_by_a_witness() -> None:
    before, anew = written(["a", "b", "c"]), written(["a", "B", "c"])
    assert list(chain.flaws(anew)) == []
    (flaw,) = chain.flaws(anew, [Witness(3, before[2].hash[:12])])
    assert "written anew" in flaw
    assert list(chain.flaws(anew, [Witness(1, before[0].hash)])) == [], (
        "only what comes after the change is another chain"
    )


def test_a_flaw_names_its_entry() -> None:
    links = written(["a", "b", "c", "d", "e"])
    links[1] = replace(links[1], body="B")
    del links[2:4]
    assert list(chain.flaws(links)) == [
        "entry 2 ('id/2' of 'churn') is not what was recorded",
        "entries 3 to 4 are missing",
    ]


@pytest.mark.parametrize("text", ["", "12", "12:", "12:abc", "x:0123456789", "12:01234567G9", "-1:0123456789"])
def test_what_is_no_witness_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="evergreen audit verify"):
        Witness.parse(text)
