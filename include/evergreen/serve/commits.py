"""Commits of the prediction log by the event loop's own thread: what small requests wait for, without a change of
threads.

Whatever waits when a connection is free goes with one statement, which commits by itself, so that the rows are in the
log when the answer is sent. There are two connections: while one group is written the next one forms and goes by the
other. Only what goes well is done here. Whatever does not (Postgres is away or slow, a value is refused, a day has no
table yet, a row is there already) goes to `PredictionLog`, whose rules stand once.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import psycopg
from psycopg import pq

from evergreen.errors import EvergreenError
from evergreen.serve.admission import too_busy
from evergreen.serve.drafts import days_of
from evergreen.serve.predictions import TABLE, Prediction, PredictionLog, connected, encoded

log = logging.getLogger(__name__)

_CONNECTIONS = 2
_ROWS_A_COMMIT = 1_000
_REQUESTS_WAITING = 200  # beyond it the others take the long way, where they are refused if that is full too
_PATIENCE = 5.0  # seconds until a group that is not committed is tried by `PredictionLog`
_REST = 25.0  # seconds that `PredictionLog` has for it then
_AGAIN = 1.0  # seconds until a connection is tried again
_STATEMENT, _TEXT, _BINARY = b"predictions", 0, 1
_NUMBERS = itertools.count(1)
NUMBERED = re.sub("%b", lambda _: f"${next(_NUMBERS)}", TABLE.inserting)


@dataclass(slots=True, frozen=True)
class _Waiting:
    rows: Sequence[Prediction]
    done: asyncio.Future[None]


class _Connection:
    """One connection, with at most one group under way."""

    def __init__(self, commits: Commits, connection: psycopg.Connection) -> None:
        self._commits, self._connection = commits, connection
        self._pg, self._loop = connection.pgconn, asyncio.get_running_loop()
        self._group: list[_Waiting] = []
        self._days: set[tuple[str, date]] = set()
        self._failed = False
        self._timer: asyncio.TimerHandle | None = None
        self._socket = self._pg.socket
        self._loop.add_reader(self._socket, self._readable)

    @property
    def idle(self) -> bool:
        return not self._group

    def commit(self, group: list[_Waiting], rows: Sequence[Prediction], days: set[tuple[str, date]]) -> None:
        """Begin; raises what a value raises that cannot be sent, or `psycopg.OperationalError`."""
        arrays = encoded(rows)
        self._pg.send_query_prepared(_STATEMENT, arrays, [_BINARY] * len(arrays), _TEXT)
        self._group, self._days, self._failed = group, days, False
        self._timer = self._loop.call_later(_PATIENCE, self.close)
        self._flush()

    def close(self) -> None:
        """End; what is under way is tried elsewhere."""
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._connection.close()
        self._end(failed=True)
        self._commits.lost(self)

    def _flush(self) -> None:
        if self._pg.flush():  # the rest once the socket takes it
            self._loop.add_writer(self._socket, self._writable)

    def _writable(self) -> None:
        try:
            if not self._pg.flush():
                self._loop.remove_writer(self._socket)
        except psycopg.OperationalError as error:
            log.debug("a connection to the prediction log ended: %s", error)
            self.close()

    def _readable(self) -> None:
        try:
            self._pg.consume_input()
            while self._group and not self._pg.is_busy():
                result = self._pg.get_result()
                if result is None:
                    self._end(failed=self._failed)
                    self._commits.go_on()
                elif result.status != pq.ExecStatus.COMMAND_OK:
                    log.debug("a group goes the long way: %s", result.error_message.decode(errors="replace").strip())
                    self._failed = True
        except psycopg.OperationalError as error:
            log.debug("a connection to the prediction log ended: %s", error)
            self.close()

    def _end(self, *, failed: bool) -> None:
        group, self._group = self._group, []
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if group:
            self._commits.ended(group, self._days, failed=failed)


class Commits:
    """The connections, and what waits for one; of the event loop's thread alone.

    Args:
        otherwise: logs what cannot be logged here.
    """

    def __init__(self, otherwise: PredictionLog) -> None:
        self._otherwise = otherwise
        self._waiting: deque[_Waiting] = deque()
        self._connections: list[_Connection] = []
        self._taken: set[tuple[str, date]] = set()  # models and days that are known to have a table
        self._sending = self._stopped = False
        self._opener: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None  # kept: to ask for it is a call of the system's

    @property
    def open(self) -> bool:
        """Whether rows may be appended now."""
        return bool(self._connections) and len(self._waiting) < _REQUESTS_WAITING

    @property
    def busy(self) -> bool:
        """Whether somebody waits."""
        return bool(self._waiting) or not all(each.idle for each in self._connections)

    def start(self) -> None:
        """Open the connections, and again whenever one was lost."""
        self._loop = asyncio.get_running_loop()
        if not self._stopped and (self._opener is None or self._opener.done()):
            self._opener = self._loop.create_task(self._connect())

    def stop(self) -> None:
        """End, once nobody waits."""
        self._stopped = True
        if self._opener is not None:
            self._opener.cancel()
        for connection in [*self._connections]:
            connection.close()

    def append(self, rows: Sequence[Prediction]) -> asyncio.Future[None]:
        """Log a request's rows; done when they are committed, or, while Postgres is away, kept on disk. Fails as
        `PredictionLog.append` does."""
        assert self._loop is not None, "it is started first"
        done: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(_Waiting(rows, done))
        self.go_on()
        return done

    def go_on(self) -> None:
        """Send what waits, once the requests that arrived together have all been worked on."""
        if self._waiting and not self._sending and self._loop is not None:
            self._sending = True
            self._loop.call_soon(self._send)

    def ended(self, group: Sequence[_Waiting], days: set[tuple[str, date]], *, failed: bool) -> None:
        """A group was committed, or was not for all that is known."""
        if failed:
            self._taken -= days
            self._elsewhere(group)
            return
        for each in group:
            if not each.done.done():
                each.done.set_result(None)

    def lost(self, connection: _Connection) -> None:
        """A connection ended."""
        if connection in self._connections:
            self._connections.remove(connection)
        if not self._connections:
            group = [*self._waiting]
            self._waiting.clear()
            self._elsewhere(group)
        self.start()

    def _send(self) -> None:
        self._sending = False
        while self._waiting:
            connection = next((each for each in self._connections if each.idle), None)
            if connection is None:
                return
            group: list[_Waiting] = []
            rows: list[Prediction] = []
            while self._waiting and len(rows) < _ROWS_A_COMMIT:
                group.append(self._waiting.popleft())
                rows += group[-1].rows
            days = days_of(rows)
            if not days <= self._taken:
                self._elsewhere(group, days)
                continue
            try:
                connection.commit(group, rows, days)
            except psycopg.OperationalError as error:
                log.debug("a connection to the prediction log ended: %s", error)
                self._elsewhere(group)
                connection.close()
            except Exception as error:  # noqa: BLE001  a value that cannot be sent: the long way says whose it is
                log.debug("a group goes the long way: %s", error)
                self._elsewhere(group)

    def _elsewhere(self, group: Sequence[_Waiting], days: set[tuple[str, date]] | None = None) -> None:
        assert self._loop is not None
        for each in group:
            logged = asyncio.wrap_future(self._otherwise.append(each.rows), loop=self._loop)
            logged.add_done_callback(lambda ended, each=each: self._told(each, ended, days))  # type: ignore[misc]
            self._loop.call_later(_REST, self._give_up, each)

    @staticmethod
    def _give_up(each: _Waiting) -> None:
        if not each.done.done():
            each.done.set_exception(too_busy(f"the prediction log did not commit within {_PATIENCE + _REST:.0f} s", 1))

    def _told(self, each: _Waiting, ended: asyncio.Future[object], days: set[tuple[str, date]] | None) -> None:
        error = ended.exception()
        if error is None and days is not None:
            self._taken |= days
        if each.done.done():  # nobody waits any more
            return
        if error is None:
            each.done.set_result(None)
        else:
            each.done.set_exception(error)

    async def _connect(self) -> None:
        while len(self._connections) < _CONNECTIONS:
            try:
                connection = await asyncio.to_thread(_opened)
            except (psycopg.Error, EvergreenError) as error:
                log.debug("no connection to the prediction log: %s", error)
                await asyncio.sleep(_AGAIN)
                continue
            self._connections.append(_Connection(self, connection))
            self.go_on()


def _opened() -> psycopg.Connection:
    connection = connected()
    prepared = connection.pgconn.prepare(_STATEMENT, NUMBERED.encode())
    if prepared.status != pq.ExecStatus.COMMAND_OK:
        raise psycopg.OperationalError(prepared.error_message.decode(errors="replace"))
    connection.pgconn.nonblocking = 1
    return connection
