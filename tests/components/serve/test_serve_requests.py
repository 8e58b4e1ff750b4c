"""Prediction requests: what is answered, what is refused and how, and that every answered prediction is in the log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import httpx
import numpy as np
import pandas as pd
import psycopg
import pyarrow as pa
import pytest

from evergreen.features import online_rows, online_tables, online_values, repository
from evergreen.model.rows import inputs
from evergreen.registry import loading

from .conftest import _TYPES, ServedModel, SharedServer, at, customer, put_online, until


@pytest.fixture(scope="module", params=[False, True], ids=["pipeline", "graph"])
def open_shop(shared_server: SharedServer, request: pytest.FixtureRequest) -> ServedModel:
    """A model whose version 1 serves, by its pipeline or by a graph, which plain requests take another way to."""
    served = shared_server.next_model()
    served.graphs = request.param
    served.champion(3)
    return served


def entities(*keys: Any) -> list[dict[str, Any]]:
    return [{"customer_id": key} for key in keys]


def test_one_entity_is_answered_with_the_version_and_the_request_id(open_shop: ServedModel) -> None:
    response = open_shop.server.predict(
        open_shop.name, entity={"customer_id": customer(1)}, as_of="2026-01-05T03:00:00+02:00"
    )
    assert response.status_code == 200, response.text
    answer = response.json()
    assert answer == {
        "request_id": response.headers["x-request-id"],
        "model": open_shop.name,
        "version": 1,
        "as_of": "2026-01-05T01:00:00+00:00",
        "predictions": [
            {
                "customer_id": customer(1),
                "prediction": answer["predictions"][0]["prediction"],
                "class": open_shop.spec.problem.classes_of(np.array([answer["predictions"][0]["prediction"]]))[0],
                "features_at": at(0).isoformat(),
            }
        ],
    }
    assert answer["predictions"][0]["prediction"] == pytest.approx(open_shop.answers(1)[1], abs=1e-12)


def test_a_batch_is_answered_in_its_order_and_unknown_entities_with_an_error_each(open_shop: ServedModel) -> None:
    customers = [customer(7), "nobody", customer(2), customer(7)]
    response = open_shop.server.predict(open_shop.name, entities=entities(*customers))
    assert response.status_code == 200, response.text
    answer, expected = response.json(), open_shop.answers(1)
    assert [item["customer_id"] for item in answer["predictions"]] == customers
    assert [item["prediction"] for item in answer["predictions"]] == [
        pytest.approx(expected[7], abs=1e-12),
        None,
        pytest.approx(expected[2], abs=1e-12),
        pytest.approx(expected[7], abs=1e-12),
    ]
    assert [("nobody" in item.get("error", "")) for item in answer["predictions"]] == [False, True, False, False]
    threshold = open_shop.server.get(f"/models/{open_shop.name}").json()["threshold"]
    assert threshold == pytest.approx(4 / 45), "where a call breaks even: the version has no threshold of its own"
    assert [item.get("class") for item in answer["predictions"]] == [
        None if item["prediction"] is None else int(item["prediction"] >= threshold) for item in answer["predictions"]
    ]
    logged = {
        position: row for (request, position), row in open_shop.logged().items() if request == answer["request_id"]
    }
    assert {position: row.entity for position, row in logged.items()} == {
        0: customer(7),
        2: customer(2),
        3: customer(7),
    }, "exactly the answered predictions are logged, an entity asked twice twice"


def test_the_log_has_the_features_that_the_prediction_was_made_from(open_shop: ServedModel) -> None:
    before = datetime.now(UTC)
    answer = open_shop.server.predict(open_shop.name, entity={"customer_id": customer(4)}).json()
    row = open_shop.logged()[answer["request_id"], 0]
    assert row.features == online_rows.read(open_shop.spec, [{"customer_id": customer(4)}])[0]["features"]
    assert (row.version, row.entity, row.features_at) == (1, customer(4), at(0))
    assert row.prediction == answer["predictions"][0]["prediction"]
    assert row.decided == str(answer["predictions"][0]["class"])
    assert row.as_of == datetime.fromisoformat(answer["as_of"])
    assert before <= row.as_of <= datetime.now(UTC), "without its own as_of a prediction is made now"
    again = loading.load(open_shop.name, 1).predict(inputs(open_shop.spec.feature_types, pd.DataFrame([row.features])))
    assert again[0] == pytest.approx(row.prediction, abs=1e-12), "a logged prediction can be made again from its row"


def test_an_entity_of_which_only_a_part_is_known_is_answered_and_logged_as_it_is(open_shop: ServedModel) -> None:
    put_online(open_shop.spec, 1, ["half-known"], views=["account"])
    response = open_shop.server.predict(open_shop.name, entity={"customer_id": "half-known"})
    assert response.status_code == 200, response.text
    row = open_shop.logged()[response.json()["request_id"], 0]
    assert row.features["plan"] is not None
    assert row.features["sessions_7d"] is None


def test_a_prediction_is_committed_before_it_is_answered(open_shop: ServedModel) -> None:
    with ThreadPoolExecutor(1) as pool:
        with open_shop.blocked_log() as waits:
            pending = pool.submit(open_shop.server.predict, open_shop.name, entity={"customer_id": customer(1)})
            until(lambda: waits() or pending.done(), "the server writes its log")
            assert not pending.done(), f"answered while its row was not committed: {pending.result().text}"
        response = pending.result()
    assert response.status_code == 200, response.text
    assert (response.json()["request_id"], 0) in open_shop.logged()


def test_a_prediction_that_cannot_be_logged_is_kept_on_disk_and_one_under_a_key_not_answered(
    open_shop: ServedModel,
) -> None:
    """A retry under the key may reach another server, which would not know the answer."""
    before = open_shop.server.predict(open_shop.name, entity={"customer_id": customer(1)})
    assert before.status_code == 200, before.text  # the first prediction makes the table
    asked = {"json": {"entity": {"customer_id": customer(1)}}, "headers": {"Idempotency-Key": "cannot-be-logged"}}
    with psycopg.connect(open_shop.settings.database_url("evergreen"), autocommit=True) as connection:
        connection.execute("alter table predictions rename to hidden")
        try:
            kept = open_shop.server.predict(open_shop.name, entity={"customer_id": customer(1)})
            response = open_shop.server.post(f"/models/{open_shop.name}/predict", **asked)
        finally:
            connection.execute("alter table hidden rename to predictions")
    assert kept.status_code == 200, kept.text
    assert response.status_code == 503, response.text
    assert "prediction log" in response.json()["detail"]["doing"]
    assert response.json()["detail"]["next_step"] == "send the request again in a few seconds", "it speaks to a client"
    assert response.headers["retry-after"] == "5"
    until(lambda: (kept.json()["request_id"], 0) in open_shop.logged(), "what was kept is in the log", 20)
    after = open_shop.server.post(f"/models/{open_shop.name}/predict", **asked)
    assert after.status_code == 200, "the server answers again once its log can be written"


def test_an_unknown_entity_alone_is_not_found_and_not_logged(open_shop: ServedModel) -> None:
    before = len(open_shop.logged())
    response = open_shop.server.predict(open_shop.name, entity={"customer_id": "nobody"})
    assert response.status_code == 404, response.text
    assert "customer_id 'nobody'" in response.json()["detail"]
    assert len(open_shop.logged()) == before


REFUSED = {
    "unknown key of the entity": ({"entity": {"customer_id": "c-001", "plan": "a"}}, "plan"),
    "unknown key of the request": ({"entity": {"customer_id": "c-001"}, "asof": "2026-01-01"}, "asof"),
    "missing key": ({"entity": {}}, "customer_id"),
    "wrong type": ({"entity": {"customer_id": 5}}, "customer_id"),
    "wrong type in a batch": ({"entities": [{"customer_id": "c-001"}, {"customer_id": None}]}, "customer_id"),
    "empty key": ({"entity": {"customer_id": ""}}, "customer_id"),
    "endless key": ({"entity": {"customer_id": "c" * 201}}, "customer_id"),
    "empty list": ({"entities": []}, "entities"),
    "both forms": ({"entity": {"customer_id": "c-001"}, "entities": [{"customer_id": "c-001"}]}, "entity"),
    "neither form": ({}, "entity"),
    "moment without a zone": ({"entity": {"customer_id": "c-001"}, "as_of": "2026-01-05T00:00:00"}, "as_of"),
    "not a number": ({"entity": {"customer_id": float("nan")}}, "customer_id"),
    "unknown key that is no text": ({"entity": {"customer_id": "c-001"}, "\ud800": 1}, "body"),
    "half a character": ({"entity": {"customer_id": "\ud800"}}, "body"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_a_malformed_request_is_refused_with_the_field_that_is_wrong(open_shop: ServedModel, why: str) -> None:
    body, field = REFUSED[why]
    # json.dumps as it is: it writes NaN and lone surrogates, which careless clients send too.
    headers = {"content-type": "application/json"}
    response = open_shop.server.post(f"/models/{open_shop.name}/predict", content=json.dumps(body), headers=headers)
    assert response.status_code == 422, response.text
    answer = response.json()
    named = {part for error in answer["detail"] for part in [*error["loc"], *error["msg"].split("`")]}
    assert field in named, answer
    assert answer["request_id"] == response.headers["x-request-id"]


@pytest.mark.parametrize(
    ("content_type", "content", "status"),
    [
        ("application/json", b"\xff{", 422),
        ("application/json; charset=utf-8", b"", 422),
        ("Application/JSON;Charset=UTF-8", b'{"entity": {"customer_id": "c-001"}}', 200),
        # What any web page may send to this machine without asking.
        ("text/plain", b'{"entity": {"customer_id": "c-001"}}', 415),
    ],
)
def test_only_a_body_that_is_said_to_be_json_is_read(
    open_shop: ServedModel, content_type: str, content: bytes, status: int
) -> None:
    path, headers = f"/models/{open_shop.name}/predict", {"content-type": content_type}
    response = open_shop.server.post(path, content=content, headers=headers)
    assert response.status_code == status, response.text
    assert response.json()["request_id"] == response.headers["x-request-id"]


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/models", "/docs"])
def test_what_can_be_got_has_a_head(open_shop: ServedModel, path: str) -> None:
    head = httpx.head(f"{open_shop.server.url}{path}", timeout=30)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == open_shop.server.get(path).headers["content-type"]


def test_a_request_full_of_mistakes_gets_a_short_answer(open_shop: ServedModel) -> None:
    response = open_shop.server.predict(open_shop.name, entities=entities(*range(1_000)))
    assert response.status_code == 422
    assert len(response.content) < 10_000


def test_a_key_that_the_database_cannot_hold_is_refused(open_shop: ServedModel) -> None:
    response = open_shop.server.predict(open_shop.name, entity={"customer_id": "c-\0"})
    assert response.status_code == 422, response.text


@pytest.mark.parametrize(("count", "status"), [(1_000, 200), (1_001, 413), (10_000, 413)])
def test_more_than_a_thousand_entities_are_refused(open_shop: ServedModel, count: int, status: int) -> None:
    response = open_shop.server.predict(open_shop.name, entities=entities(*map(customer, range(count))))
    assert response.status_code == status, response.text[:500]
    if status == 413:
        assert response.json()["detail"] == f"{count:,} entities; at most 1,000 a request"


def in_pieces(size: int) -> Iterator[bytes]:
    yield from (b" " * 10_000 for _ in range(size // 10_000))


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_too_large_is_refused_before_it_is_read(open_shop: ServedModel, announced: bool) -> None:
    content: Any = b" " * 1_000_001 if announced else in_pieces(1_100_000)
    response = open_shop.server.post(f"/models/{open_shop.name}/predict", content=content)
    # A body that comes in pieces does not say its size: it is not taken at all.
    assert response.status_code == (413 if announced else 411), response.text
    assert response.headers["x-request-id"]


def test_an_unknown_model_is_not_found(open_shop: ServedModel) -> None:
    for response in (
        open_shop.server.predict("chrun", entity={"customer_id": customer(1)}),
        open_shop.server.get("/models/chrun"),
    ):
        assert response.status_code == 404, response.text
        assert "unknown model 'chrun'" in response.json()["detail"]


def test_a_model_without_a_version_is_unavailable_and_holds_nobody_up(served: ServedModel) -> None:
    response = served.server.predict(served.name, entity={"customer_id": customer(1)})
    assert response.status_code == 503, response.text
    assert served.name in response.json()["detail"]
    assert served.server.get("/readyz").status_code == 200, "a model that was never trained is nothing to wait for"
    assert (served.server.describe(served.name)["version"], served.server.describe(served.name)["role"]) == (None, None)


def test_every_answer_has_a_request_id_that_no_client_can_choose(open_shop: ServedModel) -> None:
    chosen = {"x-request-id": "mine"}
    path, body = f"/models/{open_shop.name}/predict", {"entity": {"customer_id": customer(1)}}
    responses = [open_shop.server.post(path, json=body, headers=chosen) for _ in range(2)]
    responses += [open_shop.server.get(path) for path in ("/healthz", "/readyz", "/metrics", "/nowhere", "/models")]
    ids = [response.headers["x-request-id"] for response in responses]
    assert len({*ids}) == len(ids), ids
    assert {(ids[0], 0), (ids[1], 0)} <= open_shop.logged().keys(), "the same request twice is two predictions"


def test_a_request_that_fails_unforeseen_carries_its_id_and_is_counted(open_shop: ServedModel) -> None:
    """Here: a stored value that no one can decode. On-call must see such failures in the counters."""
    put_online(open_shop.spec, 1, ["corrupt"], views=["account"])
    view = online_tables.view_name(open_shop.spec.model, "account")
    table = f"{repository.feature_store().config.project}_{view}"
    with psycopg.connect(open_shop.settings.database_url("feast")) as connection:
        connection.execute(
            psycopg.sql.SQL("update {} set features = '\\xff' where event_ts = %s").format(
                psycopg.sql.Identifier(table)
            ),
            [at(1)],
        )
        online_tables.tell(connection, view)  # as whoever writes does
    sample = f'evergreen_requests_total{{path="/models/{open_shop.name}/predict",status="500"}}'
    before = open_shop.server.metric(sample)
    response = open_shop.server.predict(open_shop.name, entity={"customer_id": "corrupt"})
    assert response.status_code == 500, response.text
    assert response.json()["request_id"] == response.headers["x-request-id"]
    assert "Traceback" not in response.text
    assert response.headers["x-request-id"] in open_shop.server.log.read_text(), "the server's log names the request"
    assert open_shop.server.metric(sample) == before + 1


def test_a_server_that_does_not_replay_history_refuses_a_moment(
    alone: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERGREEN_REPLAY", "0")
    server = alone.serve()
    alone.champion(3)
    body = {"entity": {"customer_id": customer(1)}}
    refused = server.predict(alone.name, **body, as_of="2026-01-05T00:00:00Z")
    assert refused.status_code == 422, refused.text
    assert [error["loc"] for error in refused.json()["detail"]] == [["body", "as_of"]]
    assert "replay" in refused.json()["detail"][0]["msg"]
    assert server.predict(alone.name, **body).status_code == 200
    assert len(alone.logged()) == 1


def test_the_server_is_alive_and_ready(open_shop: ServedModel) -> None:
    assert open_shop.server.get("/healthz").json() == {"status": "alive"}
    readiness = open_shop.server.readiness()
    assert readiness["ready"] and open_shop.name not in readiness["missing"]


def test_asking_for_readiness_opens_no_connection(open_shop: ServedModel) -> None:
    names = [open_shop.settings.database_url(name).rpartition("/")[2] for name in ("evergreen", "feast")]
    with psycopg.connect(open_shop.settings.database_url("evergreen"), autocommit=True) as connection:

        def backends() -> set[tuple[int, datetime]]:
            cursor = connection.execute(
                "select pid, backend_start from pg_stat_activity"
                " where datname = any(%s) and backend_type = 'client backend'",
                [names],
            )
            return set(cursor.fetchall())

        def opened() -> int:
            before = backends()
            assert {open_shop.server.get("/readyz").status_code for _ in range(20)} == {200}
            return len(backends() - before)

        # The server's own look at the ledger, each ten seconds, may fall into one round.
        assert 0 in {opened() for _ in range(5)}


def test_metrics_count_requests_predictions_and_unknown_entities(open_shop: ServedModel) -> None:
    server, name = open_shop.server, open_shop.name
    samples = {
        f'evergreen_requests_total{{path="/models/{name}/predict",status="200"}}': 1,
        f'evergreen_request_seconds_count{{path="/models/{name}/predict"}}': 1,
        f'evergreen_predictions_total{{model="{name}",version="1"}}': 2,
        f'evergreen_unknown_entities_total{{model="{name}"}}': 1,
        'evergreen_requests_total{path="other",status="404"}': 1,
    }
    before = {sample: server.metric(sample) for sample in samples}
    assert server.predict(name, entities=entities(customer(1), "nobody", customer(2))).status_code == 200
    assert server.get("/made-up-by-a-client").status_code == 404
    assert {sample: server.metric(sample) - before[sample] for sample in samples} == samples
    assert server.metric(f'evergreen_serving_version{{model="{name}"}}') == 1
    assert server.metric(f'evergreen_serving_last_known_good{{model="{name}"}}') == 0
    assert "made-up-by-a-client" not in server.get("/metrics").text, "clients cannot make up labels"
    assert server.get("/metrics").headers["content-type"].startswith("text/plain")


def test_an_unknown_entity_that_is_asked_for_alone_is_counted(open_shop: ServedModel) -> None:
    sample = f'evergreen_unknown_entities_total{{model="{open_shop.name}"}}'
    before = open_shop.server.metric(sample)
    assert open_shop.server.predict(open_shop.name, entity={"customer_id": "nobody"}).status_code == 404
    assert open_shop.server.metric(sample) == before + 1


def test_categories_that_the_version_never_saw_are_counted_by_feature(open_shop: ServedModel) -> None:
    """The version was trained with a, b and c; null is a value that is missing, not one that was never seen."""
    server, name = open_shop.server, open_shop.name
    feature = "plan"
    view = next(view for view, declared in open_shop.spec.features.items() if feature in declared.features)
    put_online(open_shop.spec, 1, ["seen", "new", "null"])
    for key, value in (("seen", "b"), ("new", "<script>"), ("null", None)):
        columns = {
            "customer_id": pa.array([key]),
            "event_timestamp": pa.array([at(2)], pa.timestamp("us", "UTC")),
            "known_at": pa.array([at(2)], pa.timestamp("us", "UTC")),
        }
        kinds = open_shop.spec.features[view].features
        values = {each: pa.array([value if each == feature else None], _TYPES[kind]) for each, kind in kinds.items()}
        online_values.write(open_shop.spec, view, pa.table(columns | values))
    sample = f'evergreen_unseen_categories_total{{feature="{feature}",model="{name}"}}'
    before = server.metric(sample)
    assert server.predict(name, entities=entities("seen", "new", "null", "new")).status_code == 200
    assert server.metric(sample) == before + 2
    assert "script" not in server.get("/metrics").text, "clients cannot make up labels"


def test_the_documentation_names_the_models_key(open_shop: ServedModel) -> None:
    document = open_shop.server.get("/openapi.json").json()
    operation = document["paths"][f"/models/{open_shop.name}/predict"]["post"]
    assert operation["summary"] == open_shop.spec.description
    request = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    schemas = document["components"]["schemas"]
    entity = schemas[schemas[request]["properties"]["entity"]["anyOf"][0]["$ref"].rpartition("/")[2]]
    assert entity["properties"]["customer_id"]["type"] == "string"
    assert (entity["required"], entity["additionalProperties"]) == (["customer_id"], False)
    assert "/models/{model}/predict" not in document["paths"], "each model that serves has its own entry"
    assert httpx.get(f"{open_shop.server.url}/docs", timeout=10).status_code == 200
