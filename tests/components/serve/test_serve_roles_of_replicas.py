"""Rollouts on several replicas: the same entities on each, and what one of them withdraws is gone everywhere."""

from __future__ import annotations

import pytest

from evergreen.history import ledger
from evergreen.rollout import controller
from evergreen.serve import replicas

from .cable import Cable
from .conftest import CUSTOMERS, ServedModel, Server, at, customer, until
from .rolling import asked_of, canary, opened, stands
from .test_serve_replicas import LATE, replica

pytestmark = pytest.mark.filterwarnings("ignore:invalid value encountered in matmul")


def dealt(alone: ServedModel, server: Server) -> list[int]:
    """The version that answers each customer."""
    entities = [{"customer_id": customer(number)} for number in range(CUSTOMERS)]
    answer = server.predict(alone.name, entities=entities).json()
    return [item.get("version", answer["version"]) for item in answer["predictions"]]


def test_every_replica_deals_alike_says_what_it_serves_and_a_later_one_begins_with_it(alone: ServedModel) -> None:
    servers = [replica(alone) for _ in range(2)]
    for server in servers:
        server.wait()
    alone.champion(3)
    assert alone.registered(5).version == 2
    rollout = opened(alone, 2, canary(30, 60))
    for server in servers:
        stands(alone, server, "challenger", 30)
    first = dealt(alone, servers[0])
    assert dealt(alone, servers[1]) == first and set(first) == {1, 2}
    controller.advance(alone.name, rollout, 0, as_of=at(5), actor="ada", reason="enough seen")
    servers.append(replica(alone))
    servers[2].wait()
    for server in servers:
        stands(alone, server, "challenger", 60)
        grown = dealt(alone, server)
        assert all(after == 2 for before, after in zip(first, grown, strict=True) if before == 2), "who is in stays in"
    until(
        lambda: (
            {each and (each.state, each.role, each.share) for each in replicas.said(alone.name, 2).live.values()}
            == {("serves", "challenger", 60)}
        ),
        "each says so",
    )
    assert len(replicas.said(alone.name, 2).behind) == 3, "which is not to serve it to all"
    controller.roll_back(alone.name, rollout, as_of=at(5), actor="ada", reason="complaints")
    for server in servers:
        until(lambda server=server: set(dealt(alone, server)) == {1}, "it is withdrawn", LATE)


def test_a_guard_that_is_cut_off_withdraws_at_once_and_records_it_when_postgres_is_back(alone: ServedModel) -> None:
    cable = Cable(alone.settings.database_url("evergreen"))
    near, cut = replica(alone), replica(alone, DATABASE_EVERGREEN=cable.url)
    for server in (near, cut):
        server.wait()
    alone.champion(3)
    broken = alone.unanswering(7).version
    bad = [number for number, answer in enumerate(alone.answers(broken)) if answer != answer]  # not a number
    rollout = opened(alone, broken, canary(99))
    for server in (near, cut):
        stands(alone, server, "challenger", 99)
    cable.cut()
    for number in bad:
        answer = cut.predict(alone.name, entity={"customer_id": customer(number)})
        assert (answer.status_code, answer.json()["version"]) == (200, 1)
    stands(alone, cut, None)
    now = ledger.standing(alone.name).rollout
    assert now is not None and now.id == rollout, "nobody else knows"
    stands(alone, near, "challenger", 99)
    cable.mend()
    until(lambda: ledger.standing(alone.name).rollout is None, "it is recorded", 20)
    until(lambda: near.describe(alone.name)["beside"] is None, "the other replica follows", LATE)
    (ended,) = [entry.event for entry in ledger.entries(alone.name, "rollout ended")]
    assert f":{cut.url.rpartition(':')[2]}/{cut.pid}" in ended.actor
    until(lambda: len([row for row in asked_of(alone, rollout) if row.failed]) == 5, "its rows are in the log", 20)
