"""What happens to three replicas under load, each act from one champion to a state in which the next one may begin."""

from __future__ import annotations

import time

from evergreen.history import ledger
from evergreen.rollout import controller

from .conftest import ServedModel, Server, at, until
from .rolling import SHADOW, asked_of, canary, opened, stands
from .test_serve_load import Clients
from .test_serve_replicas import LATE, replica, version_of

ENOUGH = 200  # answers to clients, that each state of an act is left for
DAYS = 5  # of training moments that a turn of all acts takes


def everywhere(served: ServedModel, servers: list[Server], role: str | None, share: int = 0) -> None:
    for server in servers:
        stands(served, server, role, share)


def leads(served: ServedModel, servers: list[Server], number: int) -> None:
    until(lambda: {version_of(served, server) for server in servers} == {number}, f"version {number} has all requests")


def swapped(served: ServedModel, servers: list[Server], clients: Clients, day: int) -> None:
    """A version that has all requests at once."""
    leads(served, servers, served.champion(day))
    clients.more(ENOUGH)


def shadowed(served: ServedModel, servers: list[Server], clients: Clients, day: int) -> None:
    """A version that is asked beside the champion first, then promoted."""
    number = served.registered(day).version
    rollout = opened(served, number, SHADOW)
    everywhere(served, servers, "shadow")
    clients.more(ENOUGH)
    until(lambda: any(row.role == "shadow" for row in asked_of(served, rollout)), "the shadow was asked")
    controller.advance(served.name, rollout, 0, as_of=at(day), actor="ada", reason="enough seen")
    leads(served, servers, number)


def grown(served: ServedModel, servers: list[Server], clients: Clients, day: int) -> None:
    """A version whose share grows, then all."""
    number = served.registered(day).version
    rollout = opened(served, number, canary(5, 25, 50))
    for step, share in enumerate((5, 25, 50)):
        everywhere(served, servers, "challenger", share)
        clients.more(ENOUGH)
        controller.advance(served.name, rollout, step, as_of=at(day), actor="ada", reason="enough seen")
    leads(served, servers, number)


def withdrawn(served: ServedModel, servers: list[Server], clients: Clients, day: int) -> None:
    """A version that fails for many customers: a guard takes it back while clients see nothing of it."""
    number = served.unanswering(day).version
    rollout = opened(served, number, canary(50))
    until(lambda: ledger.standing(served.name).rollout is None, "its guard withdrew it", 60)
    everywhere(served, servers, None)
    failed = [row for row in asked_of(served, rollout) if row.failed]
    assert failed and {row.version for row in failed} == {number}
    clients.more(ENOUGH)


def taken_back(served: ServedModel, servers: list[Server], clients: Clients, day: int) -> None:
    """A version that a person rolls back while half of the customers are given its answers."""
    number = served.registered(day).version
    rollout = opened(served, number, canary(50))
    everywhere(served, servers, "challenger", 50)
    clients.more(ENOUGH)
    controller.roll_back(served.name, rollout, as_of=at(day), actor="ada", reason="complaints")
    over = time.monotonic() + LATE
    until(lambda: time.monotonic() > over, "what may be late has come")
    clients.more(ENOUGH)
    late = [each for each in clients.answered if each["sent"] > over and number in versions(each)]
    assert not late, (
        f"{len(late)} answers of version {number} to requests sent {LATE:.0f} s after its rollback and later"
    )


def replaced(served: ServedModel, servers: list[Server], clients: Clients) -> None:
    """One replica is killed while it answers; then another one takes its place."""
    servers[-1].stop()
    clients.more(ENOUGH)
    servers[-1] = replica(served)
    servers[-1].wait()
    clients.more(ENOUGH)


def versions(answer: dict) -> set[int]:
    """That answered a request's entities."""
    return {item.get("version", answer["version"]) for item in answer["predictions"]}
