"""Replays a day's customers as live HTTP traffic against the model server.

Whoever is active as the day begins is asked about once, at a moment within that day (`as_of`; the server must be in replay
mode): one in ten in a request of their own, the others in batches.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx

from evergreen.errors import PermanentError
from evergreen_simulator.delivery import World
from evergreen_simulator.landing import MODEL

BATCH = 50  # customers of one batch request
CONNECTIONS = 4
CONNECT_RETRIES = 5  # with growing pauses, 8 s in all; only while no connection could be made
TIMEOUT = 30.0  # seconds


class TrafficFailed(PermanentError):
    """The server did not answer a request as it should."""


@dataclass
class Replay:
    """What came back."""

    requests: int = 0
    answered: int = 0  # customers with a prediction
    unknown: list[str] = field(default_factory=list)  # customers whom the server has no features of
    versions: Counter[str] = field(default_factory=Counter)  # predictions by model version


def replay_day(world: World, day: date, server_url: str) -> Replay:
    """Ask about every customer of the day once.

    Raises:
        TrafficFailed: a request was not answered, or not with what was asked for.
    """
    return asyncio.run(_replay(list(requests_of_day(world, day)), server_url))


def requests_of_day(world: World, day: date) -> Iterator[dict[str, Any]]:
    """The bodies of the day's requests in their order, always the same for a world and a day."""
    customers = world.active_on(day)
    order = random.Random(f"{world.seed} {day}")
    order.shuffle(customers)
    alone = len(customers) // 10
    groups = [[customer] for customer in customers[:alone]]
    groups += [customers[at : at + BATCH] for at in range(alone, len(customers), BATCH)]
    order.shuffle(groups)
    begins = datetime(day.year, day.month, day.day, tzinfo=UTC)
    for number, group in enumerate(groups):
        moment = begins + timedelta(seconds=int(86_400 * (number + 0.5) / len(groups)))
        entities = [{"customer_id": customer} for customer in group]
        yield ({"entity": entities[0]} if len(group) == 1 else {"entities": entities}) | {"as_of": moment.isoformat()}


async def _replay(bodies: list[dict[str, Any]], server_url: str) -> Replay:
    replay, waiting = Replay(), iter(bodies)
    transport = httpx.AsyncHTTPTransport(retries=CONNECT_RETRIES)
    async with httpx.AsyncClient(base_url=server_url, transport=transport, timeout=TIMEOUT) as client:

        async def ask() -> None:
            for body in waiting:  # shared: each connection takes the next request
                _count(replay, body, await _answer(client, body))

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(CONNECTIONS):
                    group.create_task(ask())
        except* (TrafficFailed, httpx.HTTPError) as failures:
            first = failures.exceptions[0]
            done = f"after {replay.requests} of {len(bodies)} requests to {server_url}/models/{MODEL}/predict"
            found = first.found if isinstance(first, TrafficFailed) else f"{type(first).__name__}: {first}"
            raise _failed(f"{done}: {found}") from first
    return replay


def _failed(found: str) -> TrafficFailed:
    return TrafficFailed(
        "replaying a day's customers", found=found, expected="a prediction for each customer",
        next_step="look at the model server's log (`.evergreen/logs/server.log` on the local stack)",
    )  # fmt: skip


async def _answer(client: httpx.AsyncClient, body: dict[str, Any]) -> list[dict[str, Any]]:
    """The server's answer, one item a customer asked for; an unknown customer's has no prediction."""
    response = await client.post(f"/models/{MODEL}/predict", json=body)
    if response.status_code == httpx.codes.NOT_FOUND and "entity" in body:
        return [body["entity"] | {"prediction": None}]
    if response.status_code != httpx.codes.OK:
        raise _failed(f"{response.status_code} for {str(body)[:200]}: {response.text[:500]}")
    answer = response.json()
    return [item | {"version": answer["version"]} for item in answer["predictions"]]


def _count(replay: Replay, body: dict[str, Any], items: list[dict[str, Any]]) -> None:
    asked = [entity["customer_id"] for entity in body.get("entities", [body.get("entity")])]
    if [item["customer_id"] for item in items] != asked:
        raise _failed(
            f"asked for {len(asked)} customers, answered {len(items)}, or in another order: {str(items)[:200]}"
        )
    replay.requests += 1
    for item in items:
        if item.get("prediction") is None:
            replay.unknown.append(item["customer_id"])
        else:
            replay.answered += 1
            replay.versions[str(item["version"])] += 1
