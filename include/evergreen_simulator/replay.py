"""Requests to the model server as clients send them: several connections, and every answer is looked at."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from evergreen.errors import PermanentError
from evergreen.serve import client

CONNECTIONS = 4
CONNECT_RETRIES = 5  # with growing pauses, 8 s in all; only while no connection could be made
TIMEOUT = 30.0  # seconds


class TrafficFailed(PermanentError):
    """The server did not answer a request as it should."""


@dataclass
class Replay:
    """What came back."""

    requests: int = 0
    answered: int = 0  # entities with a prediction
    unknown: list[Any] = field(default_factory=list)  # keys of entities of which the server has no features
    versions: Counter[str] = field(default_factory=Counter)  # predictions by model version


def replay(bodies: Sequence[Mapping[str, Any]], model: str, key: str, server_url: str) -> Replay:
    """Send every body once; `key` is the column that names an entity.

    Raises:
        TrafficFailed: a request was not answered, or not with what was asked for.
    """
    return asyncio.run(_replay(bodies, model, key, server_url))


async def _replay(bodies: Sequence[Mapping[str, Any]], model: str, key: str, server_url: str) -> Replay:
    counts, waiting = Replay(), iter(bodies)
    path = f"/models/{model}/predict"
    transport = httpx.AsyncHTTPTransport(retries=CONNECT_RETRIES)
    login = client.key()
    async with httpx.AsyncClient(base_url=server_url, transport=transport, timeout=TIMEOUT, headers=login) as asking:

        async def ask() -> None:
            for body in waiting:  # shared: each connection takes the next request
                _count(counts, key, body, await _answer(asking, path, body))

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(CONNECTIONS):
                    group.create_task(ask())
        except* (TrafficFailed, httpx.HTTPError) as failures:
            first = failures.exceptions[0]
            done = f"after {counts.requests} of {len(bodies)} requests to {server_url}{path}"
            reason = first.found if isinstance(first, TrafficFailed) else f"{type(first).__name__}: {first}"
            raise _failed(f"{done}: {reason}") from first
    return counts


async def _answer(asking: httpx.AsyncClient, path: str, body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The server's answer, one item per entity asked for; an unknown entity's has no prediction."""
    response = await asking.post(path, json=dict(body))
    if response.status_code == httpx.codes.NOT_FOUND and "entity" in body:
        return [body["entity"] | {"prediction": None}]
    if response.status_code != httpx.codes.OK:
        raise _failed(f"{response.status_code} for {str(body)[:200]}: {response.text[:500]}")
    answer = response.json()
    return [item | {"version": answer["version"]} for item in answer["predictions"]]


def _count(counts: Replay, key: str, body: Mapping[str, Any], items: list[dict[str, Any]]) -> None:
    keys = [entity[key] for entity in body.get("entities", [body.get("entity")])]
    if [item[key] for item in items] != keys:
        raise _failed(f"asked for {len(keys)} entities, answered {len(items)}, or in another order: {str(items)[:200]}")
    counts.requests += 1
    for item in items:
        if item.get("prediction") is None:
            counts.unknown.append(item[key])
        else:
            counts.answered += 1
            counts.versions[str(item["version"])] += 1


def _failed(problem: str) -> TrafficFailed:
    return TrafficFailed(
        "asking the model server",
        found=problem,
        expected="a prediction for each entity asked for",
        next_step="look at the model server's log (`.evergreen/logs/server.log` on the local stack)",
    )
