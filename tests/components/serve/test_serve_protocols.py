"""The endpoints of other servers' protocols: the same answers, refusals and log as our own endpoint's."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from evergreen.serve import keys
from evergreen.settings import settings
from tests.environments import environment

from .conftest import ServedModel, SharedServer, customer, until


@pytest.fixture(scope="module")
def shop(shared_server: SharedServer) -> ServedModel:
    """A model whose version 1 serves."""
    served = shared_server.next_model()
    served.champion(3)
    return served


ASKED = [customer(1), "nobody", customer(2)]


def told(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    content: dict[str, Any] = answer.json()
    return content


def expected(shop: ServedModel) -> list[dict[str, Any]]:
    """Our own endpoint's items."""
    answer = told(shop.server.predict(shop.name, entities=[{"customer_id": key} for key in ASKED]))
    items: list[dict[str, Any]] = answer["predictions"]
    return items


def test_tensorflow_servings_clients_are_answered_by_row_and_by_column(shop: ServedModel) -> None:
    path, items, before = f"/v1/models/{shop.name}:predict", expected(shop), len(shop.logged())
    for instances in (ASKED, [{"customer_id": key} for key in ASKED]):
        body = {"signature_name": "serving_default", "instances": instances}
        assert told(shop.server.post(path, json=body)) == {"predictions": items}
    for inputs in (ASKED, {"customer_id": ASKED}):
        outputs = told(shop.server.post(path, json={"inputs": inputs}))["outputs"]
        assert outputs["prediction"] == [item["prediction"] for item in items]
        assert outputs["error"] == [None, items[1]["error"], None]
    assert len(shop.logged()) == before + 4 * 2, "each answered prediction is in the log"
    status = told(shop.server.get(f"/v1/models/{shop.name}"))["model_version_status"]
    assert [(each["version"], each["state"]) for each in status] == [("1", "AVAILABLE")]


def test_mlflows_clients_are_answered_in_each_of_its_forms(shop: ServedModel) -> None:
    path, items = f"/models/{shop.name}/invocations", expected(shop)
    rows = [{"customer_id": key} for key in ASKED]
    for body in (
        {"dataframe_split": {"index": [0, 1, 2], "columns": ["customer_id"], "data": [[key] for key in ASKED]}},
        {"dataframe_records": rows},
        {"instances": rows},
        {"inputs": rows},
        {"inputs": {"customer_id": ASKED}},
        {"dataframe_records": rows, "params": {}},
    ):
        assert told(shop.server.post(path, json=body)) == {"predictions": items}, body
    several = shop.server.post("/invocations", json={"instances": rows})
    assert several.status_code == 404 and "/models/<model>/invocations" in several.json()["message"]
    assert shop.server.get("/ping").status_code == 200


def test_open_inference_answers_tensors_and_says_what_they_are(shop: ServedModel) -> None:
    server, items = shop.server, expected(shop)
    tensor = {"name": "customer_id", "shape": [3], "datatype": "BYTES", "data": ASKED}
    answer = told(server.post(f"/v2/models/{shop.name}/infer", json={"id": "7", "inputs": [tensor]}))
    assert (answer["model_name"], answer["model_version"], answer["id"]) == (shop.name, "1", "7")
    outputs = {each["name"]: each for each in answer["outputs"]}
    assert outputs["prediction"]["data"] == [item["prediction"] for item in items]
    assert outputs["class"]["data"] == [str(items[0]["class"]), "", str(items[2]["class"])]
    assert outputs["error"]["data"] == ["", items[1]["error"], ""]
    assert answer["parameters"]["request_id"] in {request for request, _ in shop.logged()}
    only = {"inputs": [tensor | {"shape": [3, 1], "data": [[key] for key in ASKED]}], "outputs": [{"name": "class"}]}
    assert [each["name"] for each in told(server.post(f"/v2/models/{shop.name}/infer", json=only))["outputs"]] == [
        "class"
    ]

    metadata = told(server.get(f"/v2/models/{shop.name}"))
    assert (metadata["name"], metadata["versions"]) == (shop.name, ["1"])
    assert metadata["inputs"] == [{"name": "customer_id", "datatype": "BYTES", "shape": [-1]}]
    assert [each["name"] for each in metadata["outputs"]] == [each["name"] for each in answer["outputs"]]
    assert [server.get(f"/v2/{path}").status_code for path in ("", "health/live", "health/ready")][1:] == [200, 200]
    assert told(server.get(f"/v2/models/{shop.name}/ready"))["ready"] is True


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("/v1/models/{}:predict", {"instances": [{"who": "c"}]}, 422, "customer_id"),
        ("/v1/models/{}:predict", {"instances": [{"customer_id": 7}]}, 422, "entities.0.customer_id"),
        ("/v1/models/{}:predict", {"instances": {"customer_id": "c"}}, 422, "a list"),
        ("/v1/models/{}:predict", {"instances": [], "inputs": []}, 422, "one is needed"),
        ("/v1/models/{}:predict", {"instances": []}, 422, "at least 1"),
        ("/v1/models/{}:predict", {"instances": ["c"] * 1001}, 413, "1,001"),
        ("/v1/models/{}:predict", {"instances": ["c"], "signature_name": "other"}, 422, "serving_default"),
        ("/v1/models/{}:predict", {"instances": ["c"], "more": 1}, 422, "body.more"),
        ("/v1/models/{}:predict", b'{"instances": ["c"], "instances": ["d"]}', 422, "stands 2 times"),
        ("/v1/models/{}:predict", b'{"instances": [NaN]}', 422, "NaN is no number"),
        ("/v1/models/{}:predict", b"[" * 100_000, 422, "nested too deeply"),
        ("/v1/models/{}:predict", b"\xff", 422, "no JSON"),
        ("/v1/models/{}:predict", b"[]", 422, "an object"),
        ("/v1/models/{}s:predict", {"instances": ["c"]}, 404, "unknown model"),
        (
            "/models/{}/invocations",
            {"dataframe_split": {"columns": ["customer_id"], "data": [["c", 1]]}},
            422,
            "1 values",
        ),
        ("/models/{}/invocations", {"dataframe_split": {"columns": ["a", "a"], "data": []}}, 422, "twice"),
        ("/models/{}/invocations", {"dataframe_split": {"data": []}}, 422, "`columns`"),
        ("/models/{}/invocations", {"inputs": {"customer_id": ["c"], "x": []}}, 422, "lists of 0 and 1 values"),
        ("/models/{}/invocations", {"instances": ["c"], "params": {"seed": 1}}, 422, "body.params"),
        ("/v2/models/{}/infer", {"inputs": []}, 422, "list of tensors"),
        ("/v2/models/{}/infer", {"inputs": [{"name": "customer_id", "shape": [2], "data": ["c"]}]}, 422, "[1]"),
        (
            "/v2/models/{}/infer",
            {"inputs": [{"name": "customer_id", "parameters": {"binary_data_size": 5}}]},
            422,
            "binary form",
        ),
        ("/v2/models/{}/infer", {"inputs": [{"name": "customer_id", "shape": [1], "data": ["c"]}] * 2}, 422, "twice"),
    ],
)
def test_what_is_no_request_is_refused_in_the_protocols_words(
    shop: ServedModel, path: str, body: Any, status: int, says: str
) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"content-type": "application/json"}
    answer = shop.server.post(path.format(shop.name), content=content, headers=headers)
    assert answer.status_code == status, answer.text
    refused = answer.json()
    text = refused["message"] if "invocations" in path else refused["error"]
    assert says in text and answer.headers["x-request-id"] in text
    if "invocations" in path:
        assert refused["error_code"] == "BAD_REQUEST"


def test_another_content_and_a_compressed_body_are_refused(shop: ServedModel) -> None:
    path = f"/models/{shop.name}/invocations"
    csv = shop.server.post(path, content=b"customer_id\nc", headers={"content-type": "text/csv"})
    assert csv.status_code == 415 and "text/csv" in csv.json()["message"]
    packed = shop.server.post(
        path, content=b"x", headers={"content-type": "application/json", "content-encoding": "gzip"}
    )
    assert packed.status_code == 415


def test_a_retry_in_another_protocol_is_the_same_request(shop: ServedModel) -> None:
    headers, before = {"idempotency-key": f"{shop.name}-1"}, len(shop.logged())
    body = {"inputs": [{"name": "customer_id", "shape": [1], "datatype": "BYTES", "data": [customer(3)]}]}
    first, again = (shop.server.post(f"/v2/models/{shop.name}/infer", json=body, headers=headers) for _ in range(2))
    assert again.headers["idempotent-replayed"] == "true"
    assert told(first) == told(again) and len(shop.logged()) == before + 1


def test_who_has_no_key_is_refused_before_the_body_is_understood(
    alone: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERGREEN_CLIENT_KEYS", "on")
    settings.cache_clear()
    server = alone.serve()
    alone.champion(3)
    _, key = keys.add("one", [alone.name], "anna")
    body = {"instances": [customer(1)]}
    paths = (f"/v1/models/{alone.name}:predict", f"/models/{alone.name}/invocations", "/invocations")
    allowed = {"authorization": f"Bearer {key}"}
    until(lambda: server.post(paths[0], json=body, headers=allowed).status_code == 200, "the key is known", 5)
    for path in paths:
        for content in (b"no json", json.dumps(body).encode()):
            refused = server.post(path, content=content, headers={"content-type": "application/json"})
            assert refused.status_code == 401 and refused.headers["www-authenticate"] == "Bearer", path
        assert server.post(path, json=body, headers=allowed).status_code == 200, path


@pytest.mark.long
def test_tritons_client_asks_by_the_open_inference_protocol(shop: ServedModel, tmp_path: Path) -> None:
    needed = tmp_path / "requirements.txt"
    needed.write_text("tritonclient[http]==2.73.0\n")
    python = environment(tmp_path / "environment", needed)
    script = Path(__file__).with_name("asked_by_triton.py")
    address = shop.server.url.removeprefix("http://")
    answered = subprocess.run(
        [python, str(script), address, shop.name, *ASKED], capture_output=True, text=True, timeout=120, check=False
    )
    assert answered.returncode == 0, answered.stderr
    found = json.loads(answered.stdout.splitlines()[-1])
    items = expected(shop)
    ours = np.array([each["prediction"] for each in items], float)
    np.testing.assert_array_equal(np.array(found["prediction"], float), ours)
    assert found["class"] == [str(items[0]["class"]), "", str(items[2]["class"])]
    assert found["alive"] and found["ready"] and found["model_ready"]
    assert (found["name"], found["inputs"]) == (shop.name, ["customer_id"])
    assert "unknown model" in found["refused"]


def test_a_page_of_another_origin_may_not_ask(shop: ServedModel) -> None:
    """A browser sends such a request from a person's machine, to whatever that reaches."""
    before, own = len(shop.logged()), shop.server.url
    paths = [f"/models/{shop.name}/predict", f"/v1/models/{shop.name}:predict"]
    bodies = [{"entity": {"customer_id": customer(1)}}, {"instances": [customer(1)]}]
    for path, body in zip(paths, bodies, strict=True):
        for headers in ({"origin": "http://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}):
            assert shop.server.post(path, json=body, headers=headers).status_code == 403, headers
        assert shop.server.post(path, json=body, headers={"origin": own, "sec-fetch-site": "same-origin"}).is_success
    assert len(shop.logged()) == before + 2


def test_a_name_that_is_no_text_is_refused_and_no_defect(shop: ServedModel) -> None:
    for path, body in (
        (f"/v2/models/{shop.name}/infer", '{"\\ud800": 1}'),
        (f"/v2/models/{shop.name}/infer", '{"id": "\\ud800", "inputs": []}'),
        (f"/v1/models/{shop.name}:predict", '{"inputs": {"\\ud800": 1}}'),
    ):
        answer = shop.server.post(path, content=body, headers={"content-type": "application/json"})
        assert answer.status_code in (400, 422), answer.text
