"""Three replicas under load: swaps, a shadow, a canary that is promoted, one that its guard withdraws, one that a
person rolls back, and a replica that is killed. No request fails, every acknowledged answer is in the log, and memory
stays flat.

`make test-long` repeats the acts three times; `make bench SECTION=replicas` goes on for 30 minutes (`LOAD_MINUTES`).
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from . import acts
from .conftest import ServedModel
from .loading import Watch
from .test_serve_load import sending
from .test_serve_replicas import one_address, replica

TURNS = 3  # of all acts, at least
MINUTES = float(os.environ.get("LOAD_MINUTES", "0"))  # that the acts are repeated for, at least
REPORT = os.environ.get("LOAD_REPORT")  # a file for what was seen, as Markdown
GROWTH = 1.15  # of a replica's memory, from the end of the first turn to its end


def told(watch: Watch, turns: int) -> str:
    """What was seen so far, also as a file where one is asked for."""
    text = watch.told(turns)
    if REPORT:
        Path(REPORT).write_text(text)
    return text


@pytest.mark.long
@pytest.mark.timeout(1200 + 90 * MINUTES)
@pytest.mark.filterwarnings("ignore:invalid value encountered in matmul")
def test_rollouts_under_load_fail_no_request_and_lose_no_answer(alone: ServedModel) -> None:
    alone.graphs = True
    servers = [replica(alone) for _ in range(3)]
    for server in servers:
        server.wait()
    alone.champion(3)
    end = time.monotonic() + 60 * MINUTES
    with one_address(servers) as url, sending(alone, url) as clients:
        watch = Watch(alone, servers, clients)
        clients.more(acts.ENOUGH)
        watch.sized("start")
        turn = 0
        while not clients.failed and (turn < TURNS or time.monotonic() < end):
            turn += 1
            day = 10 + acts.DAYS * turn
            with watch.phase("a swap", changes=True):
                acts.swapped(alone, servers, clients, day)
            with watch.phase("a shadow, promoted", changes=True):
                acts.shadowed(alone, servers, clients, day + 1)
            with watch.phase("a canary of 5, 25, 50 %, promoted", changes=True):
                acts.grown(alone, servers, clients, day + 2)
            with watch.phase("a canary that its guard withdraws"):
                acts.withdrawn(alone, servers, clients, day + 3)
            with watch.phase("a canary that a person rolls back"):
                acts.taken_back(alone, servers, clients, day + 4)
            watch.sized("first turn" if turn == 1 else "turn")
            with watch.phase("a replica is killed, another one takes its place"):
                acts.replaced(alone, servers, clients)
            watch.compared()
            told(watch, turn)  # a run that ends early shows what was seen until then
    watch.sized("end")
    watch.compared()
    print(told(watch, turn))
    assert clients.failed == []
    assert watch.missing == [], "every answer is in the log"
    for server in servers[:-1]:  # the third one is another one each turn
        first, last = watch.of(server, "first turn"), watch.of(server, "end")
        assert last < GROWTH * first, f"{first:,} bytes grew to {last:,}"
