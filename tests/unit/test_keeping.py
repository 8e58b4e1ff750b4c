"""What a process keeps from one interval to the next, where it works on many."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from evergreen import keeping


@pytest.fixture(autouse=True)
def nothing_is_kept() -> Iterator[None]:
    yield
    keeping._keeping.clear()


def test_a_process_of_one_interval_does_everything_each_time() -> None:
    done: list[int] = []
    for number in range(3):
        keeping.once("it", lambda number=number: done.append(number))
    assert done == [0, 1, 2] and keeping.current() is None


def test_a_process_of_many_does_it_once_and_again_only_where_it_failed() -> None:
    keeping.begin(0)
    done: list[str] = []
    with pytest.raises(ZeroDivisionError):
        keeping.once("it", lambda: done.append("failed") or 1 / 0)
    for each in ("it", "it", "other"):
        keeping.once(each, lambda each=each: done.append(each))
    assert done == ["failed", "it", "other"]


def test_what_was_used_longest_ago_makes_room() -> None:
    keeping.begin(10)
    held = keeping.current()
    held.hold("a", 1, 4)
    held.hold("b", 2, 4)
    assert held.held("a") == 1
    held.hold("c", 3, 4)
    assert [held.held(each) for each in "abc"] == [1, None, 3]
    held.hold("a", 4, 1)  # in place of the one before
    held.hold("d", 5, 5)
    assert [held.held(each) for each in "acd"] == [4, 3, 5]
    held.hold("e", 6, 11)  # more than there is room for
    assert [held.held(each) for each in "acde"] == [None] * 4


def test_a_forked_process_keeps_nothing() -> None:
    keeping.begin(10)
    if (child := os.fork()) == 0:
        os._exit(0 if keeping.current() is None else 1)
    assert os.waitpid(child, 0)[1] == 0
