"""Steps that are taken by other threads, one at a time for each model."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

log = logging.getLogger(__name__)


class Steps:
    """Takes the newest step of each model as soon as its last one has ended; thread-safe."""

    def __init__(self, name: str, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._lock = threading.Lock()
        self._next: dict[str, Callable[[], object] | None] = {}  # model whose step is taken → the one after it

    @property
    def busy(self) -> bool:
        """Some step is taken, or waits."""
        return bool(self._next)

    def take(self, model: str, step: Callable[[], object]) -> None:
        """Take a step, and not before the one that is taken now; the newest of those that wait stands for all."""
        with self._lock:
            if model in self._next:
                self._next[model] = step
                return
            self._next[model] = None
        self._pool.submit(self._taken, model, step)

    def _taken(self, model: str, step: Callable[[], object]) -> None:
        following: Callable[[], object] | None = step
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
