"""Steps that are taken by other threads, one at a time for each model."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)

Step = Callable[[], object]


class Steps:
    """Takes the newest step of each model as soon as its last one has ended; thread-safe. A step that hangs keeps no
    process from ending."""

    def __init__(self, name: str, threads: int) -> None:
        self._name = name
        self._idle = threads  # not begun yet
        self._lock = threading.Lock()
        self._next: dict[str, Step | None] = {}  # model whose step is taken, or waits → the one after it
        self._queue: queue.SimpleQueue[tuple[str, Step]] = queue.SimpleQueue()

    @property
    def busy(self) -> bool:
        """Some step is taken, or waits."""
        return bool(self._next)

    def take(self, model: str, step: Step) -> None:
        """Take a step, and not before the one that is taken now; the newest of those that wait stands for all."""
        with self._lock:
            if model in self._next:
                self._next[model] = step
                return
            self._next[model] = None
            if self._idle:
                self._idle -= 1
                threading.Thread(target=self._work, name=self._name, daemon=True).start()
        self._queue.put((model, step))

    def _work(self) -> None:
        while True:
            model, step = self._queue.get()
            following: Step | None = step
            while following is not None:
                try:
                    following()
                except Exception:  # whatever it is, the next step is taken
                    log.exception("%s: following the ledger", model)
                with self._lock:
                    following = self._next[model]
                    if following is None:
                        del self._next[model]
                    else:
                        self._next[model] = None
