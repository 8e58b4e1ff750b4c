"""Limits of one client, lanes with places: who is let in, who is told to come again, and when."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from starlette.exceptions import HTTPException

from evergreen.serve import admission
from evergreen.serve.admission import SMALL, Clients, Lane


class Clock:
    """Stands still until it is moved."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def refused(status: int, retry_after: int) -> Iterator[None]:
    with pytest.raises(HTTPException) as caught:
        yield
    answer = (caught.value.status_code, caught.value.headers)
    assert answer == (status, {"Retry-After": str(retry_after)}), caught.value.detail


def ask(clients: Clients, address: str, count: int) -> None:
    with clients.request(address) as client, clients.entities(client, count):
        pass


def test_a_client_may_ask_for_a_burst_then_for_its_rate_and_is_told_when() -> None:
    clock = Clock()
    clients = Clients(rate=100, requests=8, clock=clock)
    for _ in range(4):
        ask(clients, "10.0.0.1", 300)  # 1,000 are the burst: the fourth is let in, and owes 200
    with refused(429, 2):
        ask(clients, "10.0.0.1", 1)
    with refused(429, 2):
        clients.request("10.0.0.1").__enter__()  # before its body is read
    ask(clients, "10.0.0.2", 300)  # nobody else is concerned
    clock.now += 2.1
    ask(clients, "10.0.0.1", 1)


def test_a_job_of_thousands_of_entities_a_minute_never_meets_the_default_limits() -> None:
    clock = Clock()
    clients = Clients(rate=2_000, requests=64, clock=clock)
    for _ in range(120):  # 60,000 entities per minute, for two minutes
        clock.now += 1.0
        ask(clients, "10.0.0.1", 1_000)


def test_what_is_refused_or_only_repeated_costs_its_client_too() -> None:
    """A body that is no request, and a replay, are paid for by their size, whatever becomes of them."""
    clients = Clients(rate=100, requests=8, clock=Clock())
    for _ in range(200):
        with clients.request("10.0.0.1") as client:
            clients.read(client, 9_999)  # 9 entities each, of 1,000 in a burst
            if client.entities <= 0:
                break
    else:
        pytest.fail("it may go on for ever")
    with refused(429, 1):
        clients.request("10.0.0.1").__enter__()
    with clients.request("10.0.0.2") as client:
        clients.read(client, 10)
        assert client.entities == 999, "the smallest body costs one"


def test_a_request_that_is_answered_costs_its_entities_and_not_its_body_as_well() -> None:
    clients = Clients(rate=100, requests=8, clock=Clock())
    with clients.request("10.0.0.1") as client:
        for size, count in ((20, 1), (5_000, 100), (700_000, 898)):
            paid = clients.read(client, size)
            with clients.entities(client, count, paid):
                pass
        assert client.entities == 1
        with clients.entities(client, 1, clients.read(client, 10)):
            pass  # the last one is let in as well: it has paid


def test_one_clients_retries_leave_room_for_everybody_elses() -> None:
    """Of one client two look for their answers at a time; the others wait, and take no place."""

    async def scenario(lane: Lane) -> None:
        clients, release, done = Clients(rate=1_000, requests=64, clock=Clock()), threading.Event(), list[str]()

        async def retry(address: str) -> None:
            with clients.request(address) as client:
                async with clients.lookup(client):
                    await lane.run(wait, release)
                done.append(address)

        many = [asyncio.ensure_future(retry("10.0.0.1")) for _ in range(40)]
        await asyncio.sleep(0)
        other = asyncio.ensure_future(retry("10.0.0.2"))
        await asyncio.sleep(0)
        release.set()
        await asyncio.gather(other, *many)
        assert len(done) == 41 and done.index("10.0.0.2") < 5, done

    of_lane(4, scenario)


def test_a_retry_that_waits_too_long_for_its_turn_is_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "PATIENCE", 0.02)

    async def scenario() -> None:
        clients = Clients(rate=1_000, requests=64, clock=Clock())
        with clients.request("10.0.0.1") as client:
            async with clients.lookup(client), clients.lookup(client):
                with refused(503, 1):
                    async with clients.lookup(client):
                        pass
            async with clients.lookup(client):
                pass

    asyncio.run(scenario())


def test_a_client_has_a_bound_of_requests_under_way() -> None:
    clients = Clients(rate=1_000, requests=3, clock=Clock())
    with ExitStack() as under_way:
        for _ in range(3):
            under_way.enter_context(clients.request("10.0.0.1"))
        with refused(429, 1):
            clients.request("10.0.0.1").__enter__()
        ask(clients, "10.0.0.2", 1)
    ask(clients, "10.0.0.1", 1)


def test_a_client_leaves_places_of_large_requests_to_others() -> None:
    clients = Clients(rate=100_000, requests=64, clock=Clock())
    with ExitStack() as under_way:
        for _ in range(admission._LARGE_OF_A_CLIENT):
            client = under_way.enter_context(clients.request("10.0.0.1"))
            under_way.enter_context(clients.entities(client, SMALL + 1))
        with refused(429, 1):
            ask(clients, "10.0.0.1", SMALL + 1)
        ask(clients, "10.0.0.1", SMALL)
        ask(clients, "10.0.0.2", SMALL + 1)
    ask(clients, "10.0.0.1", SMALL + 1)


def test_memory_is_bounded_and_who_is_being_answered_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "_CLIENTS_KNOWN", 50)
    clients = Clients(rate=1_000, requests=1, clock=Clock())
    with clients.request("first"):
        for number in range(500):
            ask(clients, f"10.0.{number}", 1)
        assert len(clients._known) <= 50
        with refused(429, 1):
            clients.request("first").__enter__()


def wait(release: threading.Event) -> str:
    assert release.wait(10)
    return "done"


def of_lane(places: int, scenario: Callable[[Lane], object]) -> None:
    lane = Lane("test", 1, places)
    try:
        asyncio.run(scenario(lane))  # type: ignore[arg-type]
    finally:
        lane.close()


def test_a_lane_refuses_what_has_no_place_and_takes_it_when_one_is_free() -> None:
    async def scenario(lane: Lane) -> None:
        release = threading.Event()
        inside = [asyncio.ensure_future(lane.run(wait, release)) for _ in range(3)]
        await asyncio.sleep(0)
        with refused(503, 1):
            await lane.run(wait, release)
        release.set()
        assert await asyncio.gather(*inside) == ["done"] * 3
        assert await lane.run(wait, release) == "done"

    of_lane(3, scenario)


def test_what_waits_too_long_never_begins_and_leaves_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "PATIENCE", 0.05)
    begun: list[int] = []

    async def scenario(lane: Lane) -> None:
        release = threading.Event()
        first = asyncio.ensure_future(lane.run(wait, release))
        await asyncio.sleep(0)
        with refused(503, 1):
            await lane.run(begun.append, 1)
        with pytest.raises(HTTPException, match="503"):
            await first
        release.set()
        monkeypatch.setattr(admission, "PATIENCE", 10)
        assert [await lane.run(str, n) for n in range(3)] == ["0", "1", "2"]
        assert begun == []

    of_lane(2, scenario)


def test_the_work_s_own_error_is_passed_on() -> None:
    async def scenario(lane: Lane) -> None:
        for _ in range(5):
            with pytest.raises(ZeroDivisionError):
                await lane.run(divmod, 1, 0)

    of_lane(2, scenario)
