"""The clients of a benchmark: many connections, kept open, asked without pause by one thread, which takes some
microseconds for a request. Nothing of an HTTP library, and no thread for each: what a client costs a request would be
measured with every side, on the processors that they share."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Load:
    """What came of it."""

    seconds: list[float]  # of each request
    took: float  # seconds, all of it
    client: float  # seconds of the processor that the clients used

    @property
    def rate(self) -> float:
        """Requests per second."""
        return len(self.seconds) / self.took


def in_turns(
    sides: Mapping[str, tuple[str, Sequence[bytes]]], clients: int, seconds: float, rounds: int
) -> dict[str, Load]:
    """What came of each side, by its address and requests: asked one after the other, in so many rounds."""
    loads: dict[str, list[Load]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, (url, requests) in sides.items():
            loads[name].append(run(url, requests, clients, seconds))
    return {
        name: Load(
            [took for each in of for took in each.seconds],
            sum(each.took for each in of),
            sum(each.client for each in of),
        )
        for name, of in loads.items()
    }


class _Connection:
    def __init__(self, address: tuple[str, int], requests: Sequence[bytes], first: int) -> None:
        self.socket = socket.create_connection(address, timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._requests, self._next = requests, first
        self._answer = b""
        self._sent = 0.0

    def send(self) -> None:
        self._next += 1
        self._answer, self._sent = b"", time.perf_counter()
        self.socket.sendall(self._requests[self._next % len(self._requests)])

    def received(self) -> float | None:
        """Seconds that the request took; None: its answer is not whole yet."""
        piece = self.socket.recv(1 << 18)
        if not piece:
            raise ConnectionError("the server closed the connection")
        self._answer += piece
        head, separator, body = self._answer.partition(b"\r\n\r\n")
        if not separator:
            return None
        size = int(head[head.lower().index(b"content-length:") + 15 :].split(b"\r\n", 1)[0])
        if len(body) < size:
            return None
        assert head.startswith(b"HTTP/1.1 200 "), self._answer[:500]
        return time.perf_counter() - self._sent


def request(url: str, path: str, body: bytes, headers: str = "") -> bytes:
    """A request to send again and again."""
    head = f"POST {path} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\nContent-Type: application/json\r\n{headers}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def run(url: str, requests: Sequence[bytes], clients: int, seconds: float) -> Load:
    """Ask a server without pause by so many connections for so long."""
    place, times = urlsplit(url), list[float]()
    assert place.hostname and place.port
    with selectors.DefaultSelector() as selector:
        connections = [_Connection((place.hostname, place.port), requests, 13 * number) for number in range(clients)]
        started, used = time.perf_counter(), time.thread_time()
        for each in connections:
            selector.register(each.socket, selectors.EVENT_READ, each)
            each.send()
        waiting = clients
        while waiting:
            for key, _ in selector.select():
                took = key.data.received()
                if took is None:
                    continue
                times.append(took)
                if time.perf_counter() - started < seconds:
                    key.data.send()
                else:
                    waiting -= 1
        ended = time.perf_counter()
        for each in connections:
            each.socket.close()
    return Load(times, ended - started, time.thread_time() - used)
