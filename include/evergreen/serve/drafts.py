"""The rows of one large request on their way to the prediction log while the rest of its answer is still being made.

Postgres takes them as they come and commits them once they are said to stand. Until then nothing of them is in the log:
what is refused meanwhile, or answered anew by another version, is withdrawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import date, datetime
from queue import SimpleQueue
from typing import Generic, Protocol, TypeVar

from evergreen.interval import in_utc
from evergreen.serve.idempotency import Answer


class _OfDay(Protocol):
    model: str
    as_of: datetime


R = TypeVar("R", bound=_OfDay)  # a row of the log


def days_of(rows: Iterable[_OfDay]) -> set[tuple[str, date]]:
    """The models of rows, each with the days that have a table of their own."""
    moments = {(row.model, row.as_of) for row in rows}  # one of each request
    return {(model, in_utc(moment).date()) for model, moment in moments}


class Withdrawn(Exception):
    """The rows are not to be logged."""


class Draft(Generic[R]):
    """The rows. One thread adds them, one takes them, and the event loop's says what becomes of them.

    Args:
        as_of: of all rows.
        most: rows that there will be.
        begin: called with the first ones: hands the draft to the thread that takes them; whether that has room.
    """

    def __init__(self, model: str, as_of: datetime, most: int, begin: Callable[[Draft[R]], bool]) -> None:
        self.model, self.as_of, self.most = model, as_of, most
        self.done: Future[Answer | None] = Future()  # as of `PredictionLog.append`
        self.begun = False  # there was room for them: they are being sent
        self._begin = begin
        self._pieces: SimpleQueue[Sequence[R] | None] = SimpleQueue()  # None: there are no more
        self._taken: list[R] = []
        self._offered = self._ended = self._whole = self._stands = False

    def add(self, rows: Sequence[R]) -> None:
        """The next rows, which may already be sent."""
        self._pieces.put(rows)
        if not self._offered:
            self._offered, self.begun = True, self._begin(self)

    def commit(self) -> None:
        """There are no more rows, and they stand."""
        self._end(stands=True)

    def withdraw(self) -> None:
        """None is to be logged; without effect on those that stand."""
        self._end(stands=False)

    def _end(self, *, stands: bool) -> None:
        if not self._ended:
            self._ended, self._stands = True, stands
            self._pieces.put(None)

    def pieces(self) -> Iterator[Sequence[R]]:
        """The rows as they come, also those that were taken before; waits for the end.

        Raises:
            Withdrawn: they are not to be logged.
        """
        if self._taken:
            yield [*self._taken]
        while not self._whole:
            piece = self._pieces.get()
            if piece is None:
                self._whole = True
            else:
                self._taken += piece
                yield piece
        if not self._stands:
            raise Withdrawn


@dataclass(frozen=True)
class Waiting(Generic[R]):
    """A request's rows, and who waits for them."""

    given: Sequence[R] | Draft[R]
    answer: Answer | None  # to remember
    done: Future[Answer | None]  # the answer that stands under the key

    @property
    def most(self) -> int:
        """So many rows, at most."""
        return self.given.most if isinstance(self.given, Draft) else len(self.given)

    @property
    def days(self) -> set[tuple[str, date]]:
        """The model, with the days that its rows are of."""
        return days_of([self.given] if isinstance(self.given, Draft) else self.given)

    @property
    def pieces(self) -> Iterable[Sequence[R]]:
        """The rows as they come; raises `Withdrawn`."""
        return self.given.pieces() if isinstance(self.given, Draft) else [self.given]

    @property
    def rows(self) -> Sequence[R]:
        """All of them, once they are there; raises `Withdrawn`."""
        return [row for piece in self.pieces for row in piece]
