"""HTTP/1.1 within bounds: how large and how slow a request may be, and how many connections a client may hold.

uvicorn's protocol on httptools has no bound of its own: one endless header is copied again with every packet, and a
request that is half-sent stays for ever. The bounds stand here, below every application, so that each of them has them:

- bytes are counted before the parser sees them;
- each connection has a deadline that moves with what it is waited for; one timer looks at all of them, so a byte or a
  request costs no timer;
- an answer to a client that is still sending can be read: what it sends is thrown away for
  a while before the connection is closed.

A connection is its client's from its first byte. One that comes from a trusted proxy carries many clients: there each
request counts for the client that the proxy names, from the end of its headers until its answer; before that only time
bounds it, and the number of all connections.
"""

from __future__ import annotations

import asyncio
import functools
import math
from collections.abc import Sequence
from enum import Enum, auto
from http import HTTPStatus
from typing import Any

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from evergreen.addresses import source_of
from evergreen.serve import clients
from evergreen.serve.door import Door, Limits
from evergreen.settings import Network


class _Reading(Enum):
    """What the connection's next byte belongs to."""

    BETWEEN = auto()  # nothing yet: a next request may begin
    HEADERS = auto()
    BODY = auto()
    NOTHING = auto()  # what else comes is thrown away


class _Refused(Exception):
    """A request that no application sees; raised in one of the parser's callbacks, it ends the parsing."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, door: Door, **options: Any) -> None:
        super().__init__(*args, **options)
        self.deadline = math.inf  # of the event loop's clock
        self._door = door
        self._limits = door.limits
        self._client: str | None = None  # whose connection it is; None: a proxy's, or one too many
        self._reading = _Reading.BETWEEN
        self._counted = 0  # bytes since the end of the last request, while its successor's headers are read
        self._begun = 0  # requests that began in the piece that is parsed
        self._size = 0  # bytes of the request line and the headers
        self._body = 0  # bytes of the body
        self._discarded = 0
        self._running: RequestResponseCycle | None = None  # the request that is answered; `cycle` is the newest
        self._closing = False

    # What the event loop tells

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # asyncio says BaseTransport
        super().connection_made(transport)
        self._door.add(self)
        self._within(self._limits.header_seconds)
        address = self.client[0] if self.client else ""
        if self._door.full:
            self._turn_away(_Refused(503, "the server has as many connections as it can hold"))
        elif not clients.proxied(address, self._door.trusted):
            if self._door.enter(source_of(address)):
                self._client = source_of(address)
            else:
                self._turn_away(
                    _Refused(429, "too many connections at once from one client: use one for many requests")
                )

    def data_received(self, data: bytes) -> None:
        whole = memoryview(data)
        size = self._limits.header_bytes + 1
        for start in range(0, len(whole), size):
            piece = whole[start : start + size]
            if self._reading is _Reading.NOTHING:
                self._discarded += len(piece)
                if self._discarded > self._limits.drain_bytes:
                    self.transport.abort()
            else:
                self._parse(piece)

    def eof_received(self) -> bool:  # type: ignore[override]  # uvicorn gives nothing
        """The client sends no more. One that waits for an answer still gets it."""
        if not self._answering or self.cycle.more_body or self._reading is _Reading.HEADERS:
            return False
        self._reading = _Reading.NOTHING
        self.cycle.keep_alive = False
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._door.remove(self)
        if self._client is not None:
            self._door.leave(self._client)
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._within(self._limits.body_seconds)

    def resume_writing(self) -> None:
        super().resume_writing()
        between = self._reading is _Reading.BETWEEN
        if between and self._answering:
            self.deadline = math.inf
        else:
            self._within(self._limits.idle_seconds if between else self._limits.body_seconds)

    def overdue(self) -> None:
        """The deadline has passed."""
        self.deadline = math.inf
        if self._closing or self._reading is _Reading.NOTHING or self.flow.write_paused:
            self.transport.abort()
        elif self._reading is _Reading.BETWEEN:  # idle: nobody waits for an answer
            self._close()
        elif self._reading is _Reading.HEADERS:
            self._refuse(
                _Refused(408, f"the request's headers did not arrive within {self._limits.header_seconds:g} s")
            )
        else:
            self._refuse(_Refused(408, f"the request's body did not arrive within {self._limits.body_seconds:g} s"))

    # What the parser tells

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= self._limits.pipelined:
            raise _Refused(429, f"more than {self._limits.pipelined} requests sent before the first was answered")
        super().on_message_begin()
        self._begun += 1
        self._size = self._body = 0
        self._reading = _Reading.HEADERS
        self._within(self._limits.header_seconds)

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > self._limits.target_bytes:
            raise _Refused(414, f"the request's target is longer than {self._limits.target_bytes:,} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._reading is not _Reading.HEADERS:
            return  # a trailer: nobody asks for one
        self._size += len(name) + len(value) + 4
        if len(self.headers) >= self._limits.headers:
            raise _Refused(431, f"more than {self._limits.headers} headers")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._size + len(self.url) > self._limits.header_bytes:
            raise self._large()
        if self.parser.should_upgrade() and any(
            name in (b"content-length", b"transfer-encoding") for name, _ in self.headers
        ):
            # The parser would take the body for what the other protocol says.
            raise _Refused(400, "a body with `Upgrade` is not taken: the server speaks HTTP/1.1 alone")
        if not self.url.startswith(b"/") and (named := httptools.parse_url(self.url).host):
            # A target with a host of its own: that is the one that counts.
            self.headers[:] = [(b"host", named), *((name, value) for name, value in self.headers if name != b"host")]
        self._reading = _Reading.BODY
        self.deadline = math.inf
        super().on_headers_complete()
        self.cycle.transport = _AnswerTransport(self)  # type: ignore[assignment]  # it has what the cycle uses of a transport

    def on_body(self, body: bytes) -> None:
        self._body += len(body)
        if self._body > self._limits.body_bytes:
            raise _Refused(413, f"the body is larger than {self._limits.body_bytes:,} bytes")
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._reading = _Reading.BETWEEN
        self.deadline = math.inf

    # What the application tells

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self._closing or self._reading is _Reading.NOTHING or self.transport.is_closing():
            if self.pipeline and not self._closing:
                self._start_asgi_task(*self.pipeline.pop())
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._reading is _Reading.BETWEEN and not self.flow.write_paused:  # else the answer is still to be taken
            self._within(self._limits.idle_seconds)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        if cycle.more_body:
            self._within(self._limits.body_seconds)
        super()._start_asgi_task(cycle, functools.partial(self._answered, cycle, app))

    async def _answered(self, cycle: RequestResponseCycle, app: Any, scope: Any, receive: Any, send: Any) -> None:
        """Run the application for one request."""

        async def answer(message: Any) -> None:
            if message["type"] == "http.response.start" and cycle.more_body:
                cycle.keep_alive = (
                    False  # it answers what it has not read: the rest would be taken for the next request
                )
            await send(message)

        if self._client is not None:
            await app(scope, receive, answer)
            return
        client = clients.source(scope, self._door.trusted)
        if not self._door.enter(client):
            headers, content = self._door.refuse(429, "too many requests at once from one client")
            await answer({"type": "http.response.start", "status": 429, "headers": headers})
            await answer({"type": "http.response.body", "body": content})
            return
        try:
            await app(scope, receive, answer)
        finally:
            self._door.leave(client)

    # What follows from it

    @property
    def _answering(self) -> bool:
        return self._running is not None and not self._running.response_complete

    def _within(self, seconds: float) -> None:
        self.deadline = self.loop.time() + seconds

    def _large(self) -> _Refused:
        return _Refused(431, f"the request's headers are larger than {self._limits.header_bytes:,} bytes")

    def _parse(self, piece: memoryview) -> None:
        before, self._begun = self._reading, 0
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade:  # answered in HTTP/1.1; what follows is another protocol's
            self._reading = _Reading.NOTHING
            self.cycle.keep_alive = False
            return
        except httptools.HttpParserError as error:
            refused = (
                error.__context__ if isinstance(error.__context__, _Refused) else _Refused(400, "no HTTP/1.1 request")
            )
            self._refuse(refused)
            return
        # Where in the piece one part ended and the next began is not known, but
        # that a first request began at its start.
        first = before is _Reading.BETWEEN and self._begun == 1 and self._reading is _Reading.HEADERS
        same = before is self._reading and not self._begun
        self._counted = self._counted + len(piece) if first or same else 0
        if self._reading is _Reading.BODY:
            if self._counted > self._limits.header_bytes + 2 * self._limits.body_bytes:  # sizes of chunks, trailers
                self._refuse(_Refused(413, "the body is sent in pieces too small, or has no end"))
        elif self._counted > self._limits.header_bytes:
            self._refuse(self._large())

    def _refuse(self, refused: _Refused) -> None:
        """Answer the request that is being received, unless others before it wait for
        theirs; in any case it is the last one."""
        self._reading = _Reading.NOTHING
        self.deadline = math.inf
        newest: RequestResponseCycle | None = self.cycle
        if self.pipeline and newest is not None and newest.more_body:
            self.pipeline.popleft()
            newest = self.pipeline[0][0] if self.pipeline else self._running
        if newest is None or newest.response_complete:
            self._end(self._answer(refused))
        elif newest is self._running and newest.more_body and not newest.response_started:
            newest.disconnected = True  # the application need not answer any more
            newest.message_event.set()
            self._end(self._answer(refused))
        else:
            newest.keep_alive = False

    def _answer(self, refused: _Refused) -> bytes:
        headers, content = self._door.refuse(refused.status, refused.why)
        lines = [b"HTTP/1.1 %d %s" % (refused.status, HTTPStatus(refused.status).phrase.encode())]
        lines += [name + b": " + value for name, value in (*headers, (b"connection", b"close"))]
        return b"\r\n".join(lines) + b"\r\n\r\n" + content

    def _turn_away(self, refused: _Refused) -> None:
        """Answer before anything is read, and close at once: a connection too many may not wait."""
        self._reading = _Reading.NOTHING
        self.transport.write(self._answer(refused))
        self._close()

    def _end(self, answer: bytes = b"") -> None:
        """Close so that the answer can be read, also by a client that is still sending: a reset would overtake it."""
        self._reading, self._closing = _Reading.NOTHING, True
        if self.transport.is_closing():
            return
        self.transport.write(answer)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self._within(self._limits.drain_seconds)

    def _close(self) -> None:
        """Close once what was written is sent."""
        self._closing = True
        self._within(self._limits.drain_seconds)
        self.transport.close()


class _AnswerTransport:
    """What a request's cycle sees of the connection: all that it uses. An answer's head goes with its body, where that
    follows at once: a call of the system's takes as long as much else that is done for a request."""

    def __init__(self, connection: BoundedProtocol) -> None:
        self._connection = connection
        self._held = b""

    def write(self, data: bytes) -> None:
        if self._held:
            data, self._held = self._held + data, b""
            self._connection.transport.write(data)
        else:
            self._held = data
            self._connection.loop.call_soon(self._send)

    def _send(self) -> None:
        if self._held:
            data, self._held = self._held, b""
            self._connection.transport.write(data)

    def is_closing(self) -> bool:
        return self._connection._closing or self._connection.transport.is_closing()

    def close(self) -> None:
        """The answer was the connection's last."""
        self._send()
        if not self._connection._closing:
            if self._connection.cycle.more_body or self._connection._reading is not _Reading.BETWEEN:
                self._connection._end()
            else:
                self._connection._close()


def listen(
    app: Any, *, host: str, port: int, limits: Limits | None = None, trusted: Sequence[Network] = (), **options: Any
) -> None:
    """Serve an application until SIGTERM; `options` are `uvicorn.run`'s."""
    door = Door(limits or Limits(), trusted)
    uvicorn.run(
        app,
        host=host,
        port=port,
        http=functools.partial(BoundedProtocol, door=door),  # type: ignore[arg-type]  # called like the class
        ws="none",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        **options,
    )
