"""Replays a day's customers as live HTTP traffic against the model server.

Whoever is active as the day begins is asked about once, at a moment within that day (`as_of`; the server must be in
replay mode): one in ten in a request of their own, the others in batches.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

from evergreen_simulator.delivery import World
from evergreen_simulator.landing import MODEL
from evergreen_simulator.replay import Replay, replay

BATCH = 50  # customers of one batch request


def replay_day(world: World, day: date, server_url: str) -> Replay:
    """Ask about every customer of the day once.

    Raises:
        TrafficFailed: a request was not answered, or not with what was asked for.
    """
    return replay(list(requests_of_day(world, day)), MODEL, "customer_id", server_url)


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
