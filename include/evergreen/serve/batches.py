"""One thread that takes whatever waits and works on all of it at once: what a round trip to the database or a change of
threads costs is shared by the requests that wait for it anyway, and a request that is alone waits for no other."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from evergreen.serve.admission import no_answer, too_busy, within

A = TypeVar("A")
R = TypeVar("R")


@dataclass(slots=True, frozen=True)
class _Waiting(Generic[A, R]):
    asked: A
    done: asyncio.Future[R]


class Batches(Generic[A, R]):
    """The thread, and so many places for what waits and is worked on.

    Args:
        name: of what it works on, in messages.
        places: of requests, of all clients together.
        most: requests that are worked on at once, at most.
        work: from what was asked to the answers, in its order; an answer may be the error that one of them fails with.
            What it raises fails the one that was alone, and several are tried one by one.
    """

    def __init__(
        self, name: str, places: int, most: int, work: Callable[[Sequence[A]], Sequence[R | Exception]]
    ) -> None:
        self._name, self._places, self._most, self._work = name, places, most, work
        self._waiting: SimpleQueue[_Waiting[A, R] | None] = SimpleQueue()
        self.taken = 0  # of the places; the event loop's thread alone counts
        self._seconds = 0.001  # that one takes, on average of late
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    async def run(self, asked: A) -> R:
        """The answer.

        Raises:
            HTTPException: 503, all places are taken, or it was not done within `PATIENCE`. One that has not begun by
                then never does: nobody waits for it.
        """
        wait = self.taken * self._seconds
        if self.taken >= self._places:
            raise too_busy(f"{self._places} {self._name} wait already: the server is too busy", wait)
        self.taken += 1
        done: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.put(_Waiting(asked, done))
        try:
            return await within(done)
        except TimeoutError:
            raise no_answer(wait) from None

    def close(self) -> None:
        """End the thread after what waits."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        ended = False
        while not ended:
            taken, ended = self._take()
            if taken:
                wanted = [each for each in taken if not each.done.cancelled()]
                started = time.perf_counter()
                answers = self._answers([each.asked for each in wanted])
                self._seconds += 0.1 * ((time.perf_counter() - started) / max(1, len(wanted)) - self._seconds)
                with suppress(RuntimeError):  # the event loop has ended: nobody waits
                    taken[0].done.get_loop().call_soon_threadsafe(self._tell, len(taken), wanted, answers)

    def _take(self) -> tuple[list[_Waiting[A, R]], bool]:
        """What waits, at least one; and whether it was closed after it."""
        taken: list[_Waiting[A, R]] = []
        try:
            item = self._waiting.get()
            while item is not None:
                taken.append(item)
                if len(taken) >= self._most:
                    return taken, False
                item = self._waiting.get_nowait()
        except Empty:
            return taken, False
        return taken, True

    def _answers(self, asked: Sequence[A]) -> Sequence[R | Exception]:
        if not asked:
            return []
        try:
            return self._work(asked)
        except Exception as error:  # noqa: BLE001  whatever it is, the thread must live
            if len(asked) > 1:  # what one of them asks is no fault of the others
                return [answer for each in asked for answer in self._answers([each])]
            return [error]

    def _tell(self, places: int, wanted: Sequence[_Waiting[A, R]], answers: Sequence[R | Exception]) -> None:
        self.taken -= places
        for each, answer in zip(wanted, answers, strict=True):
            if each.done.done():  # nobody waits any more
                continue
            if isinstance(answer, Exception):
                each.done.set_exception(answer)
            else:
                each.done.set_result(answer)
