"""A replica follows the ledger: Postgres tells it when something was recorded, and it asks every second as well. It
shows a sign of life, and says what it has loaded."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time

import psycopg

from evergreen import database
from evergreen.answers import of_postgres
from evergreen.errors import EvergreenError
from evergreen.history import ledger
from evergreen.history.story import Standing
from evergreen.serve import keys, replicas
from evergreen.serve.keyring import Keyring
from evergreen.serve.models import Models
from evergreen.serve.replicas import BEAT_SECONDS, LIVE_SECONDS, Loading
from evergreen.settings import settings
from evergreen.spec.load import names

log = logging.getLogger(__name__)

_SOON = 0.05  # seconds until what is being loaded is looked at again
_LATER = 2.0  # seconds until a version is tried again that waits for what it is loaded from


def name(port: int | None = None) -> str:
    """How this process is known among the replicas."""
    return f"{socket.gethostname()}{'' if port is None else f':{port}'}/{os.getpid()}"


class Following:
    """What lets the models follow, in a thread of its own."""

    def __init__(self, models: Models, replica: str, keyring: Keyring) -> None:
        self.replica = replica
        self._keyring = keyring
        self._models = models
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="following the ledger", daemon=True)
        self._said: dict[tuple[str, int], Loading] = {}  # as it stands in Postgres
        self._number: int | None = None  # of the newest entry of the ledger that was looked at
        self._beaten = self._tried = -LIVE_SECONDS
        self._answered = time.monotonic()  # when Postgres last did

    @property
    def cut_off(self) -> float:
        """Seconds in which nobody could say what should serve; 0: this is known."""
        silent = time.monotonic() - self._answered
        return silent if silent > LIVE_SECONDS else 0.0

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, and say so: nobody waits for this replica any more."""
        self._stopped.set()
        self._thread.join(2 * LIVE_SECONDS)

    def _follow(self) -> None:
        told = ""
        while not self._stopped.is_set():
            try:
                with psycopg.connect(
                    database.url(),
                    autocommit=True,
                    connect_timeout=5,
                    tcp_user_timeout=5_000,
                    options="-c statement_timeout=5s -c lock_timeout=5s",
                ) as connection:
                    connection.execute(f"listen {ledger.CHANNEL}")
                    replicas.enter(connection, self.replica)
                    self._said, self._beaten, told = {}, -LIVE_SECONDS, ""
                    while not self._stopped.is_set():
                        self._turn(connection)
                    replicas.leave(connection, self.replica)
            except Exception as error:  # whatever it is, the following goes on
                ours = _ours(error)
                self._models.tell_silence(ours)
                if str(ours.found) != told:
                    told = str(ours.found)
                    log.warning("the ledger cannot be followed: %s", ours, exc_info=not _foreseen(error))
                self._stopped.wait(BEAT_SECONDS)

    def _turn(self, connection: psycopg.Connection) -> None:
        """Look once, say what changed, and wait for the next thing to happen."""
        busy = self._models.busy
        if time.monotonic() - self._beaten >= BEAT_SECONDS:
            self._beaten = time.monotonic()
            mine = names(settings().models)
            new = self._models.add(mine)
            if new and self._number is not None:
                self._models.stand({model: ledger.standing(model) for model in new})
            replicas.beat(connection, self.replica, mine)
            if self._keyring.needed:
                self._keyring.replace(keys.good(connection))
        self._models.stand(self._moved())
        if time.monotonic() - self._tried >= _LATER:
            self._tried = time.monotonic()
            self._models.go_on()
        self._say(connection)
        self._answered = time.monotonic()
        for notified in connection.notifies(timeout=_SOON if busy else BEAT_SECONDS, stop_after=1):
            if notified.payload:
                self._models.try_again(notified.payload)

    def _moved(self) -> dict[str, Standing]:
        """Where those models stand of which something was recorded since the last look; at first, all."""
        before = self._number
        number, moved = ledger.moved(before or 0)
        if before is None or number < before:  # fewer than before: the database was put back from a copy
            known = ledger.standings()
            standings = {slot.model: known.get(slot.model, Standing()) for slot in self._models.all()}
        else:
            standings = {model: ledger.standing(model) for model in moved if model in self._models.slots}
        self._number = number
        return standings

    def _say(self, connection: psycopg.Connection) -> None:
        now = {(said.model, said.version): said for slot in self._models.all() for said in slot.said(self.replica)}
        changed = [said for key, said in now.items() if self._said.get(key) != said]
        gone = self._said.keys() - now.keys()
        if changed or gone:
            replicas.say(connection, self.replica, changed, gone)
            self._said = now


def _foreseen(error: Exception) -> bool:
    return isinstance(error, EvergreenError | psycopg.OperationalError)


def _ours(error: Exception) -> EvergreenError:
    if isinstance(error, EvergreenError):
        return error
    found = error if isinstance(error, psycopg.OperationalError) else psycopg.OperationalError(f"{error}")
    return of_postgres("following the ledger", found, database.remote(database.connections.OWN))
