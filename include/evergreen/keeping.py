"""What a process keeps from one interval to the next, where it works on many of them (`loops.side_by_side`), or on many
partitions of one (`labels.writing`).

A process of one interval keeps nothing of this: whatever it asks may have changed since the interval before. One that
works on many asks once what stays true for as long as it works, and holds what it reads again and again.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

PART = 4  # of a query's memory, which a process may hold of what it has read, beside it


@dataclass
class Keeping:
    """What a process keeps; its threads may share what is held."""

    room: int  # bytes of what is held
    _done: set[Hashable] = field(default_factory=set)
    _holding: threading.Lock = field(default_factory=threading.Lock)
    _taken: int = 0  # bytes of what is held
    _held: OrderedDict[Hashable, tuple[Any, int]] = field(default_factory=OrderedDict)  # the one used last comes last

    def held(self, key: Hashable) -> Any:
        """What is held under a key; None: nothing."""
        with self._holding:
            if (found := self._held.get(key)) is None:
                return None
            self._held.move_to_end(key)
            return found[0]

    def hold(self, key: Hashable, value: Any, size: int = 0) -> None:
        """Hold a value, for as long as there is room for it and what was used after it.

        Args:
            size: bytes that it takes.
        """
        with self._holding:
            _, before = self._held.pop(key, (None, 0))
            self._held[key] = value, size
            self._taken += size - before
            while self._taken > self.room:
                _, (_, freed) = self._held.popitem(last=False)
                self._taken -= freed

    def once(self, key: Hashable, work: Callable[[], object]) -> None:
        """Do some work, unless it was done under this key."""
        if key not in self._done:
            work()
            self._done.add(key)


_keeping: list[Keeping] = []  # at most one


def begin(room: int) -> None:
    """From now on this process keeps what intervals have in common.

    Args:
        room: bytes that it may hold of what it has read.
    """
    _keeping[:] = [Keeping(room)]


@contextmanager
def reading(room: int) -> Iterator[None]:
    """As `begin`, for as long as the block lasts: for one piece of work that reads the same files again and again."""
    if _keeping:
        yield
        return
    begin(room)
    try:
        yield
    finally:
        _keeping.clear()


def current() -> Keeping | None:
    """What this process keeps; None: it works on one interval."""
    return _keeping[0] if _keeping else None


def once(key: Hashable, work: Callable[[], object]) -> None:
    """Do some work for the first of a process's intervals only. In a process of one interval it is always done.

    Args:
        key: says what it is.
    """
    keeping = current()
    if keeping is None:
        work()
    else:
        keeping.once(key, work)


os.register_at_fork(after_in_child=_keeping.clear)
