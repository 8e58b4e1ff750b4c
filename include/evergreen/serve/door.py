"""All connections of a server: what each may take, who holds how many, and which are over their time."""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from evergreen.settings import Network

log = logging.getLogger(__name__)

_LOG_SECONDS = 60.0  # seconds between two lines of the log about refusals


@dataclass(frozen=True)
class Limits:
    """What a request, a connection and a client may take."""

    header_bytes: int = 65_536  # of the request line and all headers
    target_bytes: int = 8_192  # of the path with its query
    headers: int = 100
    body_bytes: int = 1_000_000
    pipelined: int = 16  # requests that wait behind the one that is answered
    header_seconds: float = 10.0  # from the first byte to the end of the headers; also until the first byte
    body_seconds: float = 30.0  # from the end of the headers to the end of the body; also for taking an answer
    idle_seconds: float = 60.0  # between an answer and the next request
    drain_seconds: float = 3.0  # for which a client that was refused while it sends may go on sending
    drain_bytes: int = 16_000_000
    connections: int = 800
    connections_of_a_client: int = 100


class Connection(Protocol):
    """What is asked of a connection."""

    deadline: float  # of the event loop's clock
    loop: asyncio.AbstractEventLoop

    def overdue(self) -> None:
        """The deadline has passed."""


class Door:
    """All connections of one server: who holds how many, and which are over their time."""

    def __init__(self, limits: Limits, trusted: Sequence[Network] = ()) -> None:
        self.limits = limits
        self.trusted = trusted
        self._connections: set[Connection] = set()
        self._held: Counter[str] = Counter()  # by client: connections, or requests through a proxy
        self._refused: Counter[int] = Counter()  # by status, since the log was told
        self._logged_at = -math.inf
        self._ticking = False

    @property
    def full(self) -> bool:
        """No connection more."""
        return len(self._connections) > self.limits.connections

    def add(self, connection: Connection) -> None:
        """Watch a connection's time."""
        self._connections.add(connection)
        if not self._ticking:
            self._ticking = True
            self._tick(connection.loop)

    def remove(self, connection: Connection) -> None:
        """It is closed."""
        self._connections.discard(connection)

    def enter(self, client: str) -> bool:
        """Whether the client may hold one more; if so, it does until `leave`."""
        if self._held[client] >= self.limits.connections_of_a_client:
            return False
        self._held[client] += 1
        return True

    def leave(self, client: str) -> None:
        """The client holds one less."""
        self._held[client] -= 1
        if self._held[client] <= 0:
            del self._held[client]

    def refuse(self, status: int, why: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
        """Headers and content for a request that no application sees; counted for the log."""
        self._refused[status] += 1
        content = json.dumps({"detail": why, "request_id": None}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
        return headers + ([(b"retry-after", b"1")] if status in (429, 503) else []), content

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for connection in [one for one in self._connections if one.deadline <= now]:
            connection.overdue()
        if self._refused and now - self._logged_at >= _LOG_SECONDS:
            statuses = ", ".join(f"{status}: {count:,}" for status, count in sorted(self._refused.items()))
            log.warning("refused before they were read, by status: %s", statuses)
            self._refused.clear()
            self._logged_at = now
        self._ticking = bool(self._connections or self._refused)
        if self._ticking:
            limits = self.limits
            shortest = min(limits.header_seconds, limits.body_seconds, limits.idle_seconds, limits.drain_seconds)
            loop.call_later(min(1.0, shortest / 4), self._tick, loop)
