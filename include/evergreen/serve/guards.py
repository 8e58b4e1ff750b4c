"""The server's own guards of versions beside a champion: to act they need neither Airflow nor Postgres.

The version is withdrawn here first. Then the ledger has it, by the same transaction as the rollout's controller, and
every other replica follows. While Postgres is away it stays withdrawn here, and is recorded afterwards.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from evergreen.errors import NoSuchRollout, TransientError
from evergreen.rollout import controller
from evergreen.rollout.guarding import Seen, withdraws
from evergreen.serve.beside import Beside

log = logging.getLogger(__name__)

WINDOW = 60.0  # seconds that a guard looks back
_MOST = 2_000  # requests of a version that it looks back at
_EVERY = 0.25  # seconds between two looks at how long answers take
_AGAIN = 1.0  # seconds until it is tried again to record what was withdrawn


@dataclass
class _Recent:
    """The newest requests of one version."""

    requests: deque[tuple[float, float | None]] = field(default_factory=lambda: deque(maxlen=_MOST))  # when, seconds

    def seen(self, now: float) -> Seen:
        while self.requests and self.requests[0][0] < now - WINDOW:
            self.requests.popleft()
        seconds = [took for _, took in self.requests if took is not None]
        return Seen(len(self.requests), len(self.requests) - len(seconds), seconds)


@dataclass
class _Rollout:
    champion: _Recent = field(default_factory=_Recent)
    version: _Recent = field(default_factory=_Recent)
    looked: float = 0.0
    withdrawn: bool = False


@dataclass(frozen=True)
class _Withdrawn:
    model: str
    rollout: str
    as_of: datetime
    reason: str


class Guards:
    """Of all models of a server; thread-safe.

    Args:
        actor: who is said to have withdrawn a version.
        withdraw: takes the version of a model's rollout out of this server.
    """

    def __init__(self, actor: str, withdraw: Callable[[str, str], None]) -> None:
        self._actor, self._withdraw = actor, withdraw
        self._lock = threading.Lock()
        self._rollouts: dict[str, tuple[str, _Rollout]] = {}  # by model, with the rollout's id
        self._to_record: deque[_Withdrawn] = deque()
        self._wake, self._stopped = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._record, name="guards", daemon=True)

    def start(self) -> None:
        """Begin to record."""
        self._thread.start()

    def stop(self) -> None:
        """End; what could not be recorded is said in the log."""
        self._stopped.set()
        self._wake.set()
        self._thread.join(10)
        for each in self._to_record:
            log.error("%s: the withdrawal of %s was not recorded: %s", each.model, each.rollout, each.reason)

    def saw(self, beside: Beside, *, champion: bool, seconds: float | None, as_of: datetime) -> None:
        """A request was answered by the champion, or by the version beside it.

        Args:
            seconds: that its client waited; None: the version failed.
            as_of: the moment of the request.
        """
        model, second, now = beside.loaded.spec.model, beside.second, time.monotonic()
        with self._lock:
            known = self._rollouts.get(model)
            if known is None or known[0] != second.rollout:
                known = self._rollouts[model] = (second.rollout, _Rollout())
            rollout = known[1]
            recent = rollout.champion if champion else rollout.version
            recent.requests.append((now, seconds))
            if rollout.withdrawn or champion or (seconds is not None and now - rollout.looked < _EVERY):
                return
            rollout.looked = now
            reason = withdraws(rollout.champion.seen(now), rollout.version.seen(now))
            if reason is None:
                return
            rollout.withdrawn = True
        log.warning("%s: version %d is withdrawn: %s", model, second.version, reason)
        self._to_record.append(_Withdrawn(model, second.rollout, as_of, reason))
        self._wake.set()
        self._withdraw(model, second.rollout)

    def _record(self) -> None:
        while not self._stopped.is_set():
            self._wake.wait()
            self._wake.clear()
            while self._to_record and not self._stopped.is_set():
                each = self._to_record.popleft()
                try:
                    controller.withdraw(
                        each.model, each.rollout, as_of=each.as_of, actor=self._actor, reason=each.reason
                    )
                except NoSuchRollout:
                    log.info("%s: %s ended before its guard could record it", each.model, each.rollout)
                except TransientError as error:
                    log.warning("%s: %s is withdrawn, and not recorded yet: %s", each.model, each.rollout, error.found)
                    self._to_record.append(each)  # behind those of other models
                    self._stopped.wait(_AGAIN)
                except Exception:  # whatever it is, the other models' guards go on
                    log.exception("%s: %s is withdrawn here, and could not be recorded", each.model, each.rollout)
