"""Plain requests take the event loop's own way and are answered as by any other; all others take the long one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from starlette.types import Receive, Scope, Send

from evergreen.errors import ServiceUnavailable
from evergreen.features import online_copy
from evergreen.registry import artifacts
from evergreen.serve import answering
from evergreen.serve.admission import SMALL
from evergreen.serve.app import create_serving_app
from evergreen.serve.drafts import Draft
from evergreen.serve.hosts import Hosts
from evergreen.serve.hot import BYTES, Hot
from evergreen.serve.models import Models
from evergreen.serve.predictions import Prediction, of_request
from evergreen.serve.state import ServingState

from .conftest import CUSTOMERS, ServedModel, at, customer, put_online, until

LONG = {"grpc-timeout": "20S"}  # a header that changes nothing here, and is for the long way to look at


@dataclass
class Shop:
    """A server in this process, and which of its requests took the long way."""

    served: ServedModel
    client: TestClient
    state: ServingState
    long: list[str] = field(default_factory=list)

    def ask(self, content: str | bytes, **headers: str) -> httpx.Response:
        headers = {"content-type": "application/json", **headers}
        return self.client.post(f"/models/{self.served.name}/predict", content=content, headers=headers)

    def hot(self, content: str | bytes, **headers: str) -> httpx.Response:
        """Ask, and see that it took the event loop's own way."""
        before = len(self.long)
        response = self.ask(content, **headers)
        assert len(self.long) == before, "it took the long way"
        return response

    def slow(self, content: str | bytes, **headers: str) -> httpx.Response:
        """Ask, and see that it took the long way."""
        before = len(self.long)
        response = self.ask(content, **headers)
        assert len(self.long) == before + 1, "it did not take the long way"
        return response


@pytest.fixture
def shop(alone: ServedModel, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    monkeypatch.setattr(online_copy, "FRESH", 60.0)  # also on a busy machine
    alone.graphs = True
    server = alone.serve()
    alone.champion(3)
    server.stop()
    models = Models([alone.name])
    app = create_serving_app(models, Hosts())
    assert isinstance(app, Hot)
    with TestClient(app) as client:
        shop = Shop(alone, client, app.app.state.server)  # type: ignore[attr-defined]  # FastAPI's application
        beyond = app.app

        async def watched(scope: Scope, receive: Receive, send: Send) -> None:
            shop.long.append(scope["path"])
            await beyond(scope, receive, send)

        app.app = watched
        slot = models.slots[alone.name]
        until(lambda: slot.current is not None and shop.state.copy.fresh(slot.current.online.tables), "it serves")
        until(lambda: shop.state.commits.open, "the log is open")
        yield shop


def body(*numbers: int) -> str:
    asked = [{"customer_id": customer(number)} for number in numbers]
    return json.dumps({"entity": asked[0]} if len(asked) == 1 else {"entities": asked})


def test_a_plain_request_is_answered_and_logged_as_by_the_long_way(shop: Shop) -> None:
    rows: list[Any] = []
    for numbers in ((1,), (1, 2, 3), (1, 1), tuple(range(SMALL))):
        ours, other = shop.hot(body(*numbers)), shop.slow(body(*numbers), **LONG)
        assert (ours.status_code, other.status_code) == (200, 200), (ours.text, other.text)
        for response in (ours, other):
            assert response.headers["x-request-id"] == response.json()["request_id"]
        assert {*ours.headers} == {*other.headers}
        mine, theirs = (each.json() | {"request_id": "", "as_of": ""} for each in (ours, other))
        assert mine == theirs and [*mine] == [*theirs]
        logged = shop.served.logged()
        for position in range(len(numbers)):
            rows = [logged[each.json()["request_id"], position] for each in (ours, other)]
            same = [{**vars(row), "request_id": "", "as_of": "", "logged_at": "", "seconds": ""} for row in rows]
            assert same[0] == same[1]
            assert rows[0].as_of.isoformat() == ours.json()["as_of"]
    requests = f'evergreen_requests_total{{path="/models/{shop.served.name}/predict",status="200"}}'
    predictions = f'evergreen_predictions_total{{model="{shop.served.name}",version="1"}}'
    told = shop.client.get("/metrics").text.splitlines()
    assert f"{requests} 8.0" in told and f"{predictions} {2 * (1 + 3 + 2 + SMALL)}.0" in told


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (body(*range(SMALL + 1)), {}, 200),
        (body(1), {"content-type": "application/json; charset=utf-8"}, 200),
        (body(1), {"idempotency-key": "a-key"}, 200),
        (body(1) + " " * BYTES, {}, 200),
        ('{"entity": {"customer_id": "nobody"}}', {}, 404),
        ('{"entities": [{"customer_id": "nobody"}, {"customer_id": "c-001"}]}', {}, 200),
        ('{"entity": {"customer_id": 7}}', {}, 422),
        ('{"entity": {"customer_id": "c-001", "customer_id": "c-002"}}', {}, 422),
        ('{"entity": {"customer_id": "c-001"}, "entity": {"customer_id": "c-002"}}', {}, 422),
        ('{"entity": {"customer_id": "c-001", "more": 1}}', {}, 422),
        ('{"entity": {"customer_id": "c-001"}, "as_of": "2026-01-05T00:00:00Z"}', {}, 200),
        ("no json", {}, 422),
        ("", {}, 422),
        (body(1), {"content-type": "text/plain"}, 415),
        (body(1), {"sec-fetch-site": "cross-site"}, 403),
        (body(1), {"origin": "http://elsewhere.example"}, 403),
        (body(1), {"grpc-timeout": "soon"}, 400),
    ],
)
def test_whatever_is_not_plain_takes_the_long_way(
    shop: Shop, content: str, headers: dict[str, str], status: int
) -> None:
    response = shop.slow(content, **headers)
    assert response.status_code == status, response.text
    for client in shop.state.clients._known.values():
        assert client.entities > 19_900 - SMALL, "what the fast way charged was given back"


def test_an_unknown_model_a_lost_copy_and_a_log_that_is_away_take_the_long_way(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.hot(body(1))
    assert shop.client.post("/models/none/predict", json={}).status_code == 404
    with monkeypatch.context() as patch:
        patch.setattr(shop.state.copy, "_heard", 0.0)
        assert shop.ask(body(1)).status_code == 200
    for connection in [*shop.state.commits._connections]:
        shop.client.portal.call(connection.close)  # type: ignore[union-attr]  # within the block it has one
    assert shop.ask(body(1)).status_code == 200
    until(lambda: shop.state.commits.open, "it connects again")
    shop.hot(body(1))


def test_a_client_that_is_over_its_limit_is_refused_by_either_way(shop: Shop) -> None:
    shop.hot(body(1))
    (client,) = shop.state.clients._known.values()
    client.entities = -1_000.0
    response = shop.slow(body(1))
    assert response.status_code == 429 and response.headers["retry-after"]


def test_what_is_written_to_the_store_is_answered_within_a_moment(shop: Shop) -> None:
    before = shop.hot(body(1)).json()["predictions"][0]
    put_online(shop.served.spec, 3, [customer(number) for number in range(CUSTOMERS)][::-1])
    until(lambda: shop.ask(body(1)).json()["predictions"][0]["features_at"] == at(3).isoformat(), "newer", 5)
    assert shop.ask(body(1)).json()["predictions"][0]["prediction"] != before["prediction"]


def test_what_the_inputs_contributed_is_in_the_answer_where_it_is_asked_for(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = shop.hot(json.dumps({"entity": {"customer_id": customer(1)}})).json()
    asked = {"entities": [{"customer_id": customer(1)}, {"customer_id": "nobody"}], "explain": True}
    written: list[Any] = []
    encode = answering._JSON
    monkeypatch.setattr(answering, "_JSON", lambda content: written.append(content) or encode(content))
    answered = shop.slow(json.dumps(asked))
    assert len(written) == 1, "it is written once"
    first, nobody = answered.json()["predictions"]
    made = first.pop("explanation")
    assert (first["prediction"], nobody["prediction"]) == (plain["predictions"][0]["prediction"], None)
    assert "explanation" not in nobody
    assert made["scale"] == "probability" and made["score"] == pytest.approx(first["prediction"])
    assert made["usual"] + sum(part["contribution"] for part in made["parts"]) == pytest.approx(made["score"], abs=1e-6)
    assert {part["input"] for part in made["parts"]} == set(shop.served.spec.feature_types)
    logged = of_request(shop.served.name, answered.json()["request_id"])
    assert [row.answered for row in logged] == [first["prediction"]], "in the log it is a prediction as any other"

    many = shop.slow(json.dumps({"entities": [{"customer_id": customer(at)} for at in range(11)], "explain": True}))
    assert many.status_code == 422 and "at most 10 entities" in many.text


def test_an_answer_without_the_versions_reference_says_so(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise ServiceUnavailable("reading it", found="MLflow is away", expected="it", next_step="ask again")

    monkeypatch.setattr(artifacts, "load", away)
    body = {"entity": {"customer_id": customer(1)}, "explain": True}
    (item,) = shop.slow(json.dumps(body)).json()["predictions"]
    assert item["prediction"] is not None
    assert item["explanation"] == {
        "scale": "probability",
        "reason": "the version's reference cannot be read: MLflow is away",
    }


def test_a_large_request_is_answered_and_logged_whole(shop: Shop) -> None:
    numbers = [*range(CUSTOMERS), *range(CUSTOMERS)]
    asked = [{"customer_id": customer(number)} for number in numbers]
    asked[7] = {"customer_id": "nobody"}
    large = shop.slow(json.dumps({"entities": asked})).json()
    few = {item["customer_id"]: item for item in shop.hot(body(*range(CUSTOMERS))).json()["predictions"]}
    assert [item for at, item in enumerate(large["predictions"]) if at != 7] == [
        few[customer(number)] for at, number in enumerate(numbers) if at != 7
    ]
    assert "the online store has no features of it" in large["predictions"][7]["error"]
    logged = shop.served.logged()
    rows = {place: row for (request, place), row in logged.items() if request == large["request_id"]}
    assert [*sorted(rows)] == [at for at in range(len(asked)) if at != 7]
    first, again = rows[0], rows[CUSTOMERS]
    assert (first.entity, first.features, first.prediction) == (again.entity, again.features, again.prediction)
    assert first.seconds == again.seconds, "of the whole request"


def test_a_large_request_during_which_the_version_is_replaced_is_logged_by_the_one_that_answers(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    slot, drafts = shop.state.models.slots[shop.served.name], list[Draft[Prediction]]()
    assert slot.current is not None
    other = replace(slot.current, version=replace(slot.current.version, number=2))
    add = Draft.add

    def swapped(draft: Draft[Prediction], rows: Sequence[Prediction]) -> None:
        add(draft, rows)
        drafts.append(draft)
        slot.current = other

    monkeypatch.setattr(Draft, "add", swapped)
    asked = {"entities": [{"customer_id": customer(number)} for number in range(CUSTOMERS)] * 2}
    answer = shop.slow(json.dumps(asked)).json()
    assert drafts and drafts[0].begun and answer["version"] == 2
    versions = [row.version for (request, _), row in shop.served.logged().items() if request == answer["request_id"]]
    assert versions == [2] * 2 * CUSTOMERS
