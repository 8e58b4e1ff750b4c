"""The protocol's bounds below any application: here one whose answers are large, or slow."""

from __future__ import annotations

import asyncio
import functools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import uvicorn

from evergreen.serve.door import Door, Limits
from evergreen.serve.protocol import BoundedProtocol

ASKED = b"GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Answers 20 MB, or after a second, or at once."""
    if scope["path"] == "/slow":
        await asyncio.sleep(1)
    size = 20_000_000 if scope["path"] == "/large" else 1
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(size).encode())]})
    await send({"type": "http.response.body", "body": b"a" * size})


@dataclass
class Listening:
    door: Door
    port: int

    def ask(self, *paths: bytes) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.port), 10)
        client.sendall(b"".join(ASKED % path for path in paths))
        return client

    def ends(self, client: socket.socket, seconds: float = 10) -> float:
        """Seconds until the server has no connection more."""
        started = time.monotonic()
        while self.door._connections:
            assert time.monotonic() - started < seconds, "the connection is still held"
            time.sleep(0.02)
        client.close()
        return time.monotonic() - started


@pytest.fixture
def listening() -> Iterator[Callable[[Limits], Listening]]:
    servers = []

    def start(limits: Limits) -> Listening:
        door = Door(limits)
        protocol: Any = functools.partial(BoundedProtocol, door=door)
        server = uvicorn.Server(
            uvicorn.Config(application, port=0, http=protocol, ws="none", lifespan="off", log_level="warning")
        )
        threading.Thread(target=server.run, daemon=True).start()
        servers.append(server)
        while not server.started:
            time.sleep(0.01)
        return Listening(door, server.servers[0].sockets[0].getsockname()[1])

    yield start
    for server in servers:
        server.should_exit = True


def test_a_client_that_does_not_take_its_answer_is_let_go(listening: Callable[[Limits], Listening]) -> None:
    server = listening(Limits(body_seconds=0.5, drain_seconds=0.5))
    client = server.ask(b"large")
    time.sleep(0.2)
    assert server.door._connections
    assert server.ends(client) < 5


def test_an_answer_that_takes_long_outlives_every_limit_of_the_connection(
    listening: Callable[[Limits], Listening],
) -> None:
    """Also the next request's headers, half sent meanwhile, end no earlier one."""
    server = listening(Limits(header_seconds=0.3, body_seconds=0.3, idle_seconds=0.3, drain_seconds=0.3))
    for sent_meanwhile in (b"", b"GET /half HTTP/1.1\r\nHo"):
        client = server.ask(b"slow")
        client.sendall(sent_meanwhile)
        answer = client.recv(1_000)
        assert answer.startswith(b"HTTP/1.1 200"), answer
        assert server.ends(client) < 5


def test_answers_come_in_the_order_of_the_requests(listening: Callable[[Limits], Listening]) -> None:
    server = listening(Limits(idle_seconds=0.5))
    client = server.ask(b"slow", b"large", b"now")
    received = b""
    while piece := client.recv(1_000_000):
        received += piece
    sizes = [int(part.split(b"\r\n")[0]) for part in received.split(b"content-length: ")[1:]]
    assert sizes == [1, 20_000_000, 1]
