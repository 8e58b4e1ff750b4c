"""Who is let in: one client has limits, large requests have a lane of their own,
and nothing waits in a line without end.

All of it happens on the event loop's thread, but for what a lane's threads do.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import ParamSpec, TypeVar

from starlette.exceptions import HTTPException

from evergreen.serve import deadlines

SMALL = 50  # entities of a request, at most, that does not wait behind large ones
PATIENCE = 10.0  # seconds that a request waits for its features and its prediction, most of it for a free thread
_BURST_SECONDS = 10.0  # of a client's rate that it may use at once after a rest
_LARGE_OF_A_CLIENT = (
    8  # large requests of one client under way: less than the lane has places, so that there are some for others
)
_LOOKUPS_OF_A_CLIENT = 2  # at a time, for the answers to its retries: the others wait, and take no place that all share
_BYTES_OF_AN_ENTITY = 1_000  # of a body, by which reading it is charged
_CLIENTS_KNOWN = 10_000  # some 10 MB; beyond it who was seen longest ago begins anew

P = ParamSpec("P")
T = TypeVar("T")


def too_many(detail: str, seconds: float) -> HTTPException:
    """429: the client asks for more than its share."""
    return HTTPException(429, detail, headers=after(seconds))


def too_busy(detail: str, seconds: float) -> HTTPException:
    """503: the server has more to do than it can."""
    return HTTPException(503, detail, headers=after(seconds))


def no_answer(seconds: float) -> HTTPException:
    """503: a prediction was not there within `PATIENCE`."""
    why = f"no prediction within {PATIENCE:.0f} s: the server is too busy, or its database does not answer"
    return too_busy(why, seconds)


async def within(done: asyncio.Future[T]) -> T:
    """What becomes of a prediction; `TimeoutError` when it is not there within `PATIENCE`, 504 when not by its
    request's deadline."""
    return await deadlines.wait(done, PATIENCE)


def after(seconds: float) -> dict[str, str]:
    """The header that tells a client when to come again."""
    return {"Retry-After": str(max(1, math.ceil(seconds)))}


@dataclass(slots=True)
class Client:
    """What one client may still ask for."""

    entities: float  # that it may ask for now; negative: it owes them
    at: float  # seconds of the monotonic clock when that was counted
    requests: int = 0  # under way
    large: int = 0  # of them
    lookups: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_LOOKUPS_OF_A_CLIENT))


class Clients:
    """The limits of each client; its memory is bounded by the number of clients it knows.

    Args:
        rate: entities per second of one client, after a burst of ten seconds' worth.
        requests: of one client, under way at once.
        clock: seconds that only grow.
    """

    def __init__(self, rate: int, requests: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._requests, self._clock = rate, requests, clock
        self._burst = rate * _BURST_SECONDS
        self._known: OrderedDict[str, Client] = OrderedDict()

    @contextmanager
    def request(self, address: str) -> Iterator[Client]:
        """A request of a client, by its key, its address or its network, is under way during the block.

        Raises:
            HTTPException: 429, it has too many of them, or still owes entities.
        """
        client = self._client(address)
        if client.requests >= self._requests:
            raise too_many(f"{self._requests} requests of yours are under way; at most as many at once", 1)
        self._refuse_debt(client)
        client.requests += 1
        try:
            yield client
        finally:
            client.requests -= 1

    def read(self, client: Client, size: int) -> int:
        """A body of so many bytes is looked at, which is paid for whatever becomes
        of it: mistakes and replays cost as well.

        Returns:
            what was paid, in entities.

        Raises:
            HTTPException: 429, the client asked for too much within a short time.
        """
        self._refuse_debt(client)
        paid = max(1, size // _BYTES_OF_AN_ENTITY)
        client.entities -= paid
        return paid

    @asynccontextmanager
    async def lookup(self, client: Client) -> AsyncIterator[None]:
        """The answer to a retry is looked for during the block.

        Raises:
            HTTPException: 503, the client's other retries took too long.
        """
        try:
            await deadlines.wait(client.lookups.acquire(), PATIENCE)
        except TimeoutError:
            why = (
                f"other retries of yours took {PATIENCE:.0f} s: the server is too busy, or its database does not answer"
            )
            raise too_busy(why, 1) from None
        try:
            yield
        finally:
            client.lookups.release()

    @contextmanager
    def entities(self, client: Client, count: int, paid: int = 0) -> Iterator[None]:
        """A request of so many entities is worked on during the block; a part of
        them was paid for when its body was read.

        Raises:
            HTTPException: 429, the client has too many large requests under way.
        """
        large = count > SMALL
        if large and client.large >= _LARGE_OF_A_CLIENT:
            why = (
                f"{_LARGE_OF_A_CLIENT} requests of more than {SMALL} entities of yours are under way; at most as "
                "many at once"
            )
            raise too_many(why, 1)
        client.entities -= max(0, count - paid)
        client.large += large
        try:
            yield
        finally:
            client.large -= large

    def _refuse_debt(self, client: Client) -> None:
        now = self._clock()
        client.entities = min(self._burst, client.entities + (now - client.at) * self._rate)
        client.at = now
        # A request that is larger than what is left is let in, and paid for by those
        # after it: any size is possible at any rate.
        if client.entities <= 0:
            why = f"more than {self._rate:,} entities per second of yours"
            raise too_many(why, -client.entities / self._rate)

    def _client(self, address: str) -> Client:
        client = self._known.get(address)
        if client is None:
            if len(self._known) >= _CLIENTS_KNOWN:
                self._forget()
            client = self._known[address] = Client(self._burst, self._clock())
        self._known.move_to_end(address)
        return client

    def _forget(self) -> None:
        """Who was seen longest ago, but for those who are being answered: they are as few as there are connections."""
        resting = (address for address, client in self._known.items() if not client.requests)
        if (oldest := next(resting, None)) is not None:
            del self._known[oldest]


class Lane:
    """Threads for requests of one kind, and so many places for those that wait and are worked on.

    Args:
        name: of its threads, and in messages.
        threads: that work side by side.
        places: of requests, of all clients together.
    """

    def __init__(self, name: str, threads: int, places: int) -> None:
        self._name, self._threads, self._places = name, threads, places
        self._workers = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._counting = threading.Lock()
        self._taken = 0
        self._seconds = 0.05  # that one takes, on average of late

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the work returns.

        Raises:
            HTTPException: 503, all places are taken, or it was not done within `PATIENCE`. One that has not begun by
                then never does: nobody waits for it.
        """
        with self._counting:
            full, wait = self._taken >= self._places, self._taken * self._seconds / self._threads
            self._taken += not full
        if full:
            raise too_busy(f"{self._places} {self._name} wait already: the server is too busy", wait)
        done = self._workers.submit(self._timed, partial(work, *args, **kwargs))
        done.add_done_callback(self._leave)
        try:
            return await within(asyncio.wrap_future(done))
        except TimeoutError:
            raise no_answer(wait) from None

    def close(self) -> None:
        """End the threads after what they are doing."""
        self._workers.shutdown()

    def _timed(self, work: Callable[[], T]) -> T:
        started = time.perf_counter()
        try:
            return work()
        finally:
            self._seconds += 0.1 * (time.perf_counter() - started - self._seconds)

    def _leave(self, _: Future[T]) -> None:
        with self._counting:
            self._taken -= 1
