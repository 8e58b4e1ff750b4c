"""How wrong passwords are slowed, the same at every login: a pure rule, which each
server asks before it looks at a password.

A try is refused, not held: no connection and no thread waits. It counts as wrong until `passed` says otherwise, so that
tries sent all at once are no way around it. Nobody is locked out for good: a source waits 30 s at most, and what other
addresses do does not concern one that has given the right password before.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from math import ceil
from threading import Lock
from typing import Any

from evergreen.addresses import source_of

FREE = 10  # wrong passwords from one source that cost nothing: people mistype
LONGEST = 30.0  # seconds that a source waits between two tries, at most; the wait doubles from one second
REMEMBERED = 3600.0  # seconds after its last try for which a source is known
ALL_BURST, ALL_RATE = 60.0, 1.0  # wrong passwords from all unknown sources together: at once, and then per second
SOURCES = 10_000  # known at once; the one that tried longest ago is forgotten first

Scope = MutableMapping[str, Any]  # ASGI's
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass
class _Source:
    tried: float  # when, last
    wrong: int = 0  # wrong tries in a row, those that are still looked at among them
    until: float = 0.0  # no try before this moment
    known: bool = False  # it has given the right password


class Throttle:
    """The tries of one login. Safe to share between threads.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._sources: OrderedDict[str, _Source] = OrderedDict()
        self._left, self._refilled = ALL_BURST, clock()

    def attempt(self, source: str) -> float:
        """Seconds that `source` has to wait (for `Retry-After`); 0: its password may be looked at
        now, and counts as wrong until `passed`."""
        with self._lock:
            now = self._clock()
            record = self._record(source, now)
            if record.until > now:
                return record.until - now
            self._left = min(ALL_BURST, self._left + ALL_RATE * (now - self._refilled))
            self._refilled = now
            if not record.known:
                if self._left < 1.0:
                    return (1.0 - self._left) / ALL_RATE
                self._left -= 1.0
            record.tried = now
            record.wrong += 1
            if record.wrong >= FREE:
                record.until = now + min(LONGEST, 2.0 ** min(record.wrong - FREE, 10))
            self._keep(source, record)
            return 0.0

    def passed(self, source: str) -> None:
        """The password was right: the source's wrong tries are forgotten."""
        with self._lock:
            now = self._clock()
            if not self._record(source, now).known:
                self._left = min(ALL_BURST, self._left + 1.0)
            self._keep(source, _Source(tried=now, known=True))

    def _record(self, name: str, now: float) -> _Source:
        record = self._sources.get(name)
        return record if record is not None and now - record.tried <= REMEMBERED else _Source(tried=now)

    def _keep(self, name: str, source: _Source) -> None:
        """Only tries that were looked at are kept: made-up addresses push nobody out."""
        self._sources[name] = source
        self._sources.move_to_end(name)
        if len(self._sources) > SOURCES:
            self._sources.popitem(last=False)


_under_way: ContextVar[Callable[[], None] | None] = ContextVar("the try that is being answered", default=None)


def was_right() -> None:
    """Said where a slowed login has looked at the password of the request under way, and found it right."""
    if passed := _under_way.get():
        passed()


class SlowedLogin:
    """ASGI middleware around somebody else's login; answers 429 with `Retry-After` while a source has to wait.

    Args:
        tries: whether a request brings a password to be looked at.
        right: whether an answer's status says that a password was looked at and right. A status says so only where
            nothing answers before the login does, no redirect and no check of hosts; elsewhere the login says it
            itself, by `was_right`.
    """

    def __init__(
        self, app: App, tries: Callable[[Scope], bool], right: Callable[[int], bool] = lambda status: False
    ) -> None:
        self._app, self._tries, self._right = app, tries, right
        self._throttle = Throttle()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._tries(scope):
            await self._app(scope, receive, send)
            return
        source = source_of((scope.get("client") or ("",))[0])
        if wait := self._throttle.attempt(source):
            headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"retry-after", str(ceil(wait)).encode())]
            await send({"type": "http.response.start", "status": 429, "headers": headers})
            await send(
                {"type": "http.response.body", "body": f"too many wrong passwords: wait {ceil(wait)} s".encode()}
            )
            return

        async def watched(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start" and self._right(message["status"]):
                self._throttle.passed(source)
            await send(message)

        token = _under_way.set(partial(self._throttle.passed, source))
        try:
            await self._app(scope, receive, watched)
        finally:
            _under_way.reset(token)
