"""Three replicas under load for minutes: swaps, a shadow, a canary that is promoted, one that its guard withdraws, and
a replica that is killed. No request fails, every acknowledged answer is in the log, and memory stays flat."""

from __future__ import annotations

import psutil
import pytest

from evergreen.history import ledger
from evergreen.rollout import controller
from evergreen.serve import predictions

from .conftest import ServedModel, Server, at, until
from .rolling import SHADOW, asked_of, canary, opened, stands
from .test_serve_load import Clients, sending
from .test_serve_replicas import one_address, replica, version_of

TURNS = 3  # of everything
GROWTH = 1.15  # of a replica's memory, from the end of the first turn to that of the last


def everywhere(served: ServedModel, servers: list[Server], role: str | None, share: int = 0) -> None:
    for server in servers:
        stands(served, server, role, share)


def shadowed_and_promoted(served: ServedModel, servers: list[Server], clients: Clients, day: int) -> None:
    """A version that is asked beside the champion first, then promoted."""
    number = served.registered(day).version
    rollout = opened(served, number, SHADOW)
    everywhere(served, servers, "shadow")
    clients.more(200)
    until(lambda: any(row.role == "shadow" for row in asked_of(served, rollout)), "the shadow was asked")
    controller.advance(served.name, rollout, 0, as_of=at(day), actor="ada", reason="enough seen")
    until(lambda: {version_of(served, server) for server in servers} == {number}, "it has all requests")


def grown_and_promoted(served: ServedModel, servers: list[Server], clients: Clients, day: int) -> None:
    """A version whose share grows, then all."""
    number = served.registered(day).version
    rollout = opened(served, number, canary(5, 25, 50))
    for step, share in enumerate((5, 25, 50)):
        everywhere(served, servers, "challenger", share)
        clients.more(200)
        controller.advance(served.name, rollout, step, as_of=at(day), actor="ada", reason="enough seen")
    until(lambda: {version_of(served, server) for server in servers} == {number}, "it has all requests")


def withdrawn(served: ServedModel, servers: list[Server], clients: Clients, day: int) -> None:
    """A version that fails for many customers: a guard takes it back while clients see nothing of it."""
    number = served.unanswering(day).version
    rollout = opened(served, number, canary(50))
    until(lambda: ledger.standing(served.name).rollout is None, "its guard withdrew it", 60)
    everywhere(served, servers, None)
    failed = [row for row in asked_of(served, rollout) if row.failed]
    assert failed and {row.version for row in failed} == {number}
    clients.more(200)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:invalid value encountered in matmul")
def test_rollouts_under_load_fail_no_request_and_lose_no_answer(alone: ServedModel) -> None:
    alone.graphs = True
    servers = [replica(alone) for _ in range(3)]
    for server in servers:
        server.wait()
    alone.champion(3)
    sizes: list[dict[int, int]] = []
    with one_address(servers) as url, sending(alone, url) as clients:
        clients.more(200)
        for turn in range(TURNS):
            day = 10 * (turn + 1)
            alone.champion(day)
            clients.more(200)
            shadowed_and_promoted(alone, servers, clients, day + 1)
            grown_and_promoted(alone, servers, clients, day + 2)
            withdrawn(alone, servers, clients, day + 3)
            sizes.append({server.pid: psutil.Process(server.pid).memory_info().rss for server in servers})
        killed = servers[1]
        killed.stop()
        rest = [server for server in servers if server is not killed]
        clients.more(200)
        shadowed_and_promoted(alone, rest, clients, 90)
        clients.more(200)
    assert clients.failed == []
    logged = {
        (row.request_id, row.position): (row.version, row.prediction)
        for row in predictions.between(alone.name, at(-10_000), at(10_000))
    }
    for answer in clients.answered:
        for place, item in enumerate(answer["predictions"]):
            told = (item.get("version", answer["version"]), item["prediction"])
            assert logged.get((answer["request_id"], place)) == told, "every answer is in the log"
    for pid, first in sizes[0].items():
        assert sizes[-1][pid] < GROWTH * first, f"{first:,} bytes grew to {sizes[-1][pid]:,}"
    print(f"{len(clients.answered):,} requests; memory after each turn: {[[*each.values()] for each in sizes]}")
