"""Asks the shadow of a model what its champion was asked, after the client has its answer.

One thread does this from a bounded queue. While clients wait it does nothing, and what does not fit into the queue is
left out and counted: a shadow that is slow, fails or hangs costs only its own rows.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from evergreen.errors import TransientError
from evergreen.serve.answering import Asked, Made, answer_together, failures
from evergreen.serve.beside import Beside
from evergreen.serve.guards import Guards
from evergreen.serve.idempotency import Answer
from evergreen.serve.predictions import Prediction, PredictionLog

log = logging.getLogger(__name__)

PLACES = 2_000  # entities that wait
_AT_ONCE = 8  # requests
_YIELDING = 0.001  # seconds between two looks at whether clients wait
_PATIENCE = 0.25  # seconds that clients go first: after it a busy server takes one batch all the same


@dataclass(frozen=True)
class _Waiting:
    beside: Beside
    asked: Asked  # of the champion
    content: bytes  # of the request


class Shadows:
    """The thread and its queue.

    Args:
        busy: whether clients wait for answers.
        guards: hear of every request that a shadow is asked.
        left_out: counts the entities that did not fit, or whose rows were not logged.
    """

    def __init__(self, busy: Callable[[], bool], guards: Guards, left_out: Callable[[int], None]) -> None:
        self._busy, self._guards, self._left_out = busy, guards, left_out
        self._log: PredictionLog | None = None  # with a connection of its own, made when it is first needed
        self._waiting: deque[_Waiting] = deque()
        self._entities = 0
        self._lock = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="shadows", daemon=True)
        self._thread.start()

    def offer(self, beside: Beside, asked: Asked, content: bytes) -> None:
        """Let a shadow be asked what the champion was, when there is time; returns at once.

        Args:
            content: the request's body.
        """
        count = len(asked.entities)
        with self._lock:
            if self._closed or self._entities + count > PLACES:
                self._left_out(count)
                return
            self._entities += count
            self._waiting.append(_Waiting(beside, asked, b"" if beside.alike else content))
            self._lock.notify()

    def close(self) -> None:
        """End after what is being asked; what waits is left out."""
        with self._lock:
            self._closed = True
            self._lock.notify()
        self._thread.join(10)
        if self._log is not None:
            self._log.close()

    def _run(self) -> None:
        while taken := self._take():
            until = time.monotonic() + _PATIENCE
            while self._busy() and time.monotonic() < until:
                time.sleep(_YIELDING)
            try:
                self._ask(taken)
            except Exception:  # whatever it is, the thread must live
                log.exception("asking a shadow")
                self._left_out(sum(len(each.asked.entities) for each in taken))

    def _take(self) -> list[_Waiting]:
        """What waits, at least one; nothing once it was closed."""
        with self._lock:
            while not self._waiting and not self._closed:
                self._lock.wait()
            if self._closed:
                self._left_out(self._entities)
                return []
            taken = [self._waiting.popleft() for _ in range(min(_AT_ONCE, len(self._waiting)))]
            self._entities -= sum(len(each.asked.entities) for each in taken)
            return taken

    def _ask(self, taken: Sequence[_Waiting]) -> None:
        started = time.perf_counter()
        rows: list[Prediction] = []
        for each, answer in zip(taken, _answers(taken), strict=True):
            if isinstance(answer, TransientError):  # of the store: no fault of the version
                self._left_out(len(each.asked.entities))
                continue
            failed, seconds = isinstance(answer, Exception), (time.perf_counter() - started) / len(taken)
            rows += (
                failures(each.beside.asked(each.asked), each.asked.loaded, answer, seconds)
                if isinstance(answer, Exception)
                else answer.rows
            )
            # Nobody waits for it, so how long it takes is no guard's affair.
            self._guards.saw(each.beside, champion=False, seconds=None if failed else 0.0, as_of=each.asked.as_of)
        if rows:
            self._log = self._log or PredictionLog()
            self._log.append(rows).add_done_callback(lambda done: self._logged(done, len(rows)))

    def _logged(self, done: Future[Answer | None], rows: int) -> None:
        if done.exception() is not None:
            self._left_out(rows)


def _answers(taken: Sequence[_Waiting]) -> list[Made | Exception]:
    """What the shadow answers to each request, or fails with."""
    answers: dict[int, Made | Exception] = {}
    asked: dict[int, Asked] = {}
    for at, each in enumerate(taken):
        try:
            asked[at] = each.beside.asked(each.asked, each.content)
        except Exception as error:  # noqa: BLE001  whatever it is, it is of this request alone
            answers[at] = error
    answers |= dict(zip(asked, answer_together([*asked.values()]), strict=True))
    return [answers[at] for at in range(len(taken))]
