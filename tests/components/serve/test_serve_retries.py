"""A retry with the same `Idempotency-Key` is answered alike and logged once:
at once, after a swap, after a restart, beside another server."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import httpx
import psycopg
import pytest

from evergreen.errors import ServiceUnavailable
from evergreen.serve.idempotency import Answer, Memory, digest
from evergreen.serve.predictions import Prediction, PredictionLog, between
from evergreen.settings import Settings

from .conftest import ServedModel, SharedServer, at, customer, put_online, until

BODY = {"entities": [{"customer_id": customer(1)}, {"customer_id": "nobody"}, {"customer_id": customer(2)}]}


@pytest.fixture(scope="module")
def open_shop(shared_server: SharedServer) -> ServedModel:
    """A model whose version 1 serves."""
    served = shared_server.next_model()
    served.champion(3)
    return served


def ask(served: ServedModel, key: str, body: dict[str, Any] = BODY) -> httpx.Response:
    return served.server.post(f"/models/{served.name}/predict", json=body, headers={"Idempotency-Key": f'"{key}"'})


def logged(served: ServedModel, response: httpx.Response) -> int:
    """Rows of the answer's request."""
    return sum(request == response.json()["request_id"] for request, _ in served.logged())


def test_a_retry_gets_the_same_answer_and_is_logged_once(open_shop: ServedModel) -> None:
    key, before = uuid.uuid4().hex, len(open_shop.logged())
    replayed = f'evergreen_replayed_answers_total{{model="{open_shop.name}"}}'
    count = open_shop.server.metric(replayed)
    first, again = ask(open_shop, key), ask(open_shop, key)
    assert (first.status_code, again.status_code, again.content) == (200, 200, first.content), again.text
    assert first.headers["x-request-id"] == again.headers["x-request-id"] == first.json()["request_id"]
    assert ("idempotent-replayed" in first.headers, again.headers["idempotent-replayed"]) == (False, "true")
    assert len(open_shop.logged()) - before == logged(open_shop, first) == 2
    assert open_shop.server.metric(replayed) == count + 1


def test_a_key_belongs_to_its_body_and_its_model(open_shop: ServedModel, shared_server: SharedServer) -> None:
    key = uuid.uuid4().hex
    assert ask(open_shop, key).status_code == 200
    other = ask(open_shop, key, {"entity": {"customer_id": customer(3)}})
    assert (other.status_code, "another body" in other.json()["detail"]) == (422, True), other.text
    neighbour = shared_server.next_model()
    neighbour.champion(3)
    elsewhere = ask(neighbour, key)
    assert (elsewhere.status_code, logged(neighbour, elsewhere)) == (200, 2), "another model's keys are others"
    refused = ask(open_shop, "with a space")
    assert (refused.status_code, "Idempotency-Key" in refused.json()["detail"]) == (400, True), refused.text


def test_a_retry_while_the_first_is_under_way_is_told_so_and_then_gets_its_answer(open_shop: ServedModel) -> None:
    key = uuid.uuid4().hex
    with ThreadPoolExecutor(1) as pool:
        with open_shop.blocked_log() as waits:
            pending = pool.submit(ask, open_shop, key)
            until(lambda: waits() or pending.done(), "the first request is under way")
            early = ask(open_shop, key)
            assert (early.status_code, early.headers["retry-after"]) == (409, "1"), early.text
        first = pending.result()
    again = ask(open_shop, key)
    assert (again.status_code, again.content) == (200, first.content)
    assert logged(open_shop, first) == 2


def test_a_refusal_is_not_remembered(open_shop: ServedModel) -> None:
    key, late = uuid.uuid4().hex, {"entity": {"customer_id": "late"}}
    assert ask(open_shop, key, late).status_code == 404
    put_online(open_shop.spec, 1, ["late"])
    assert ask(open_shop, key, late).status_code == 200


def test_answers_outlive_a_swap_and_a_restart_and_expire(alone: ServedModel) -> None:
    alone.serve()
    alone.champion(3)
    key = uuid.uuid4().hex
    first = ask(alone, key)
    alone.champion(5)
    assert (alone.server.describe(alone.name)["version"], ask(alone, key).content) == (2, first.content)
    alone.server.stop()
    alone.serve()
    assert (ask(alone, key).content, logged(alone, first)) == (first.content, 2)
    with psycopg.connect(alone.settings.database_url("evergreen")) as connection:
        connection.execute(
            "update answers set at = now() - interval '25 hours' where model = %s and key = %s", [alone.name, key]
        )
    anew = ask(alone, key, {"entity": {"customer_id": customer(1)}})
    assert (anew.status_code, anew.json()["version"]) == (200, 2), "an expired key is a new one"


def row(request: str, value: object = 1.0) -> Prediction:
    return Prediction("shop", 1, request, 0, "c-1", at(0), at(0), {"minutes": value}, 0.5)


def answer(key: str, request: str) -> Answer:
    return Answer("shop", key, digest(b"{}"), request, f"answer of {request}".encode())


def of_log() -> set[str]:
    return {row.request_id for row in between("shop", at(0), at(0) + timedelta(seconds=1))}


def test_of_two_servers_the_first_one_s_answer_stands(home: Settings) -> None:
    one, other = PredictionLog(), PredictionLog()
    first = one.append([row("first")], answer("k", "first")).result(timeout=30)
    late = other.append([row("late")], answer("k", "late"))
    beside = other.append([row("beside")])
    assert first == late.result(timeout=30) == answer("k", "first")
    beside.result(timeout=30)
    one.close(), other.close()
    assert of_log() == {"first", "beside"}, "what was not answered is not logged"


def test_an_answer_is_remembered_with_its_rows_or_neither_is_there(home: Settings) -> None:
    log, memory = PredictionLog(), Memory()
    with pytest.raises(ServiceUnavailable):
        log.append([row("a", float("inf"))], answer("k", "a")).result(timeout=30)  # rows that cannot be written
    assert memory.find("shop", "k") is None
    with pytest.raises(ServiceUnavailable):
        log.append([row("b")], answer("\0", "b")).result(timeout=30)  # an answer that cannot
    assert of_log() == set()
    log.append([row("c")], answer("k", "c")).result(timeout=30)
    assert (memory.find("shop", "k"), of_log()) == (answer("k", "c"), {"c"})
    log.close(), memory.close()


def test_expired_answers_are_deleted(home: Settings) -> None:
    log, memory = PredictionLog(), Memory()
    for number in range(3):
        log.append([row(str(number))], answer(f"k{number}", str(number))).result(timeout=30)
    with psycopg.connect(home.database_url("evergreen"), autocommit=True) as connection:
        connection.execute("update answers set at = now() - interval '25 hours' where key < 'k2'")
        assert (memory.find("shop", "k1"), memory.find("shop", "k2")) == (None, answer("k2", "2"))
        assert connection.execute("select key from answers").fetchall() == [("k2",)]
    log.close(), memory.close()


def test_a_log_of_an_earlier_release_takes_answers_too(home: Settings) -> None:
    """The table as it was made before there were keys, with a row that was logged then."""
    with psycopg.connect(home.database_url("evergreen")) as connection:
        connection.execute(
            """
            create table predictions (
                model text not null, version bigint not null, request_id text not null, position int not null,
                entity text not null, as_of timestamptz not null, features_at timestamptz, features jsonb not null,
                prediction double precision not null, logged_at timestamptz not null default now(),
                primary key (request_id, position)
            )
            """
        )
        connection.execute("insert into predictions values ('shop', 1, 'old', 0, 'c-1', %s, null, '{}', 0.5)", [at(0)])
    log, memory = PredictionLog(), Memory()
    log.append([row("new")], answer("k", "new")).result(timeout=30)
    assert (memory.find("shop", "k"), of_log()) == (answer("k", "new"), {"old", "new"})
    log.close(), memory.close()


def test_connections_from_before_the_database_s_last_start_are_not_used(home: Settings) -> None:
    memory = Memory()
    assert memory.find("shop", "k") is None
    with psycopg.connect(home.database_url("evergreen"), autocommit=True) as connection:
        others = (
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )
        connection.execute(others)
    assert memory.find("shop", "k") is None
    memory.close()
