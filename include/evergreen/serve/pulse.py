"""Whether the databases answer without which there are no predictions. Asked all the time by one thread on connections
that stay open, so that a probe of `/readyz` costs nothing, and one of a database that hangs does not hang either."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence

import psycopg

from evergreen.settings import settings

log = logging.getLogger(__name__)

_EVERY = 1.0  # seconds between two questions
_PATIENCE = 5.0  # seconds after its last answer for which a database counts as there


class Pulse:
    """The last answer of each database; thread-safe.

    Args:
        names: the databases, as `Settings.database_url` names them.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._answered: dict[str, float | None] = dict.fromkeys(names)  # when, on the monotonic clock; None: not now
        self._stopped = threading.Event()
        for name in names:  # a thread each: one that hangs says nothing of the other
            threading.Thread(target=self._ask, args=(name,), name=f"pulse of {name}", daemon=True).start()

    def silent(self) -> list[str]:
        """The databases that do not answer."""
        oldest = time.monotonic() - _PATIENCE
        return [name for name, answered in self._answered.items() if answered is None or answered < oldest]

    def stop(self) -> None:
        """Ask no more."""
        self._stopped.set()

    def _ask(self, name: str) -> None:
        unforeseen = ""  # what was told last
        while not self._stopped.is_set():
            try:
                with psycopg.connect(
                    settings().database_url(name), autocommit=True, connect_timeout=5, tcp_user_timeout=5_000
                ) as connection:
                    while not self._stopped.wait(_EVERY if self._answered[name] else 0):
                        connection.execute("select 1")
                        self._answered[name] = time.monotonic()
            except Exception as error:  # whatever it is, the asking goes on
                self._answered[name] = None
                # Of a database that is away whoever predicts or logs tells; here it only counts.
                if not isinstance(error, psycopg.Error) and repr(error) != unforeseen:
                    unforeseen = repr(error)
                    log.exception("asking the database %s", name)
                self._stopped.wait(_EVERY)
