"""What a request says of its deadline, and that nobody works for a client that waits no more."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from starlette.exceptions import HTTPException

from evergreen.serve import deadlines
from evergreen.serve.admission import Lane
from evergreen.serve.batches import Batches
from evergreen.serve.deadlines import ENVOY, GRPC


def left(headers: dict[str, str]) -> float:
    async def ask() -> float:
        deadlines.begin(headers)
        return deadlines.left()

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, float("inf")),
        ({GRPC: "200m"}, 0.2),
        ({GRPC: "2S"}, 2.0),
        ({GRPC: "1M"}, 60.0),
        ({GRPC: "1H"}, 3600.0),
        ({GRPC: "500000u"}, 0.5),
        ({GRPC: "99999999n"}, 0.1),
        ({ENVOY: "1500"}, 1.5),
        ({GRPC: "3S", ENVOY: "1500"}, 1.5),
    ],
)
def test_a_deadline_is_what_grpcs_clients_and_envoy_say(headers: dict[str, str], seconds: float) -> None:
    assert left(headers) == pytest.approx(seconds, abs=0.05)


@pytest.mark.parametrize("stated", ["", "200", "-5m", "1.5S", "123456789m", "5x", "5 m", "m"])
def test_what_is_no_deadline_is_refused(stated: str) -> None:
    with pytest.raises(HTTPException, match="grpc-timeout") as caught:
        left({GRPC: stated})
    assert caught.value.status_code == 400


def test_one_request_does_not_have_the_deadline_of_the_one_before_it() -> None:
    async def ask() -> float:
        deadlines.begin({GRPC: "1m"})
        deadlines.begin({})
        return deadlines.left()

    assert asyncio.run(ask()) == float("inf")


@pytest.mark.parametrize("kind", ["lane", "batches"])
def test_what_waits_beyond_its_deadline_is_never_begun(kind: str) -> None:
    begun, held = [], threading.Event()

    def work(name: str) -> str:
        begun.append(name)
        held.wait(5)
        return name

    async def ask() -> None:
        lane, batches = Lane("requests", 1, 10), Batches[str, str]("requests", 10, 1, lambda asked: [work(asked[0])])

        async def late() -> str:
            deadlines.begin({GRPC: "50m"})
            return await (lane.run(work, "late") if kind == "lane" else batches.run("late"))

        first = asyncio.create_task(lane.run(work, "first") if kind == "lane" else batches.run("first"))
        await asyncio.sleep(0.05)
        before = time.monotonic()
        with pytest.raises(HTTPException) as caught:
            await asyncio.create_task(late())
        assert caught.value.status_code == 504 and time.monotonic() - before < 1.0
        held.set()
        assert await first == "first"
        assert await (lane.run(work, "next") if kind == "lane" else batches.run("next")) == "next"
        lane.close()
        batches.close()

    asyncio.run(ask())
    assert begun == ["first", "next"]
