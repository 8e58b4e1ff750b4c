"""KServe: the suite against an API that keeps InferenceServices as Kubernetes does, refuses what the schema does not
know, and deals out traffic as KServe's documentation says that its controller does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jsonschema
import pytest

from evergreen.errors import DeployRefused, RequestRefused, ServiceUnavailable
from evergreen.settings import PROJECT
from evergreen.targets.kserve import Cluster, KServe
from evergreen.targets.protocol import Packaged, Target
from evergreen.targets.rules import Placed

from .conformance import Conformance, Versions

SCHEMA = json.loads((PROJECT / "tests" / "stored" / "kserve" / "inferenceservice.json").read_text())
PATH = "/apis/serving.kserve.io/v1beta1/namespaces/models/inferenceservices"
TOKEN = "a-service-accounts-token"


class Api:
    """What the cluster has."""

    def __init__(self) -> None:
        self.object: dict[str, Any] | None = None
        self.calls: list[tuple[str, str, Any]] = []
        self.unready: set[str] = set()  # addresses of models that do not start
        self.rolled_out = ""  # the revision that has answered all requests last
        self.conflicts = 0  # that are still to come

    def write(self, sent: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        jsonschema.validate(sent, SCHEMA)
        before = self.object
        if before is not None and (
            self.conflicts or sent["metadata"].get("resourceVersion") != before["metadata"]["resourceVersion"]
        ):
            self.conflicts -= 1
            return 409, {"kind": "Status", "reason": "Conflict"}
        number = 1 if before is None else int(before["metadata"]["resourceVersion"]) + 1
        changed = before is None or before["spec"] != sent["spec"]
        generation = 1 if before is None else before["metadata"]["generation"] + changed
        made = deepcopy(sent)
        made["metadata"] |= {"resourceVersion": str(number), "generation": generation, "uid": "u"}
        made["status"] = self.controlled(made, generation)
        self.object = made
        return (201 if before is None else 200), made

    def controlled(self, made: dict[str, Any], generation: int) -> dict[str, Any]:
        """The status that the controller writes."""
        predictor = made["spec"]["predictor"]
        model, canary = predictor["model"]["storageUri"], predictor.get("canaryTrafficPercent")
        ready = model not in self.unready
        if canary is None or not self.rolled_out:
            traffic = [{"latestRevision": True, "percent": 100, "revisionName": model}]
            self.rolled_out = model if ready else self.rolled_out
        else:
            traffic = [
                {"latestRevision": True, "percent": canary, "revisionName": model},
                {"latestRevision": False, "percent": 100 - canary, "revisionName": self.rolled_out, "tag": "prev"},
            ]
        if not ready:
            traffic = [{"latestRevision": False, "percent": 100, "revisionName": self.rolled_out}]
        condition = {"type": "PredictorReady", "status": str(ready), "message": "" if ready else "CrashLoopBackOff"}
        return {
            "observedGeneration": generation,
            "conditions": [condition, {"type": "Ready", "status": str(ready)}],
            "components": {"predictor": {"traffic": traffic}},
        }


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def cluster(api: Api) -> Iterator[Cluster]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(*((404, {}) if api.object is None else (200, api.object)))

        def do_POST(self) -> None:
            self.answer(*api.write(self.sent()))

        do_PUT = do_POST

        def sent(self) -> Any:
            sent = json.loads(self.rfile.read(int(self.headers["content-length"])))
            api.calls.append((self.command, self.path, sent))
            return sent

        def answer(self, status: int, body: Any) -> None:
            if self.headers["authorization"] != f"Bearer {TOKEN}":
                status, body = 401, {"kind": "Status"}
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield Cluster(f"http://127.0.0.1:{server.server_port}", "models", TOKEN, wait=0.01, patience=5.0)
    server.shutdown()
    server.server_close()


@pytest.fixture
def packaged() -> Versions:
    return lambda number: Packaged("no_show", number, f"s3://models/no_show/{number}")


class TestSuite(Conformance):
    shadows = False

    @pytest.fixture
    def target(self, cluster: Cluster) -> Target:
        return KServe("no_show", cluster)


def test_a_canary_is_the_newest_predictor_with_its_share(cluster: Cluster, api: Api, packaged: Versions) -> None:
    target = KServe("no_show", cluster)
    target.put(packaged(1), "champion")
    target.put(packaged(2), "challenger")
    target.route({1: 90, 2: 10})
    assert [(method, path) for method, path, _ in api.calls] == [
        ("POST", PATH),
        ("PUT", f"{PATH}/no-show"),
        ("PUT", f"{PATH}/no-show"),
    ]
    model = {"modelFormat": {"name": "mlflow"}, "protocolVersion": "v2", "storageUri": "s3://models/no_show/2"}
    assert api.calls[-1][2]["spec"]["predictor"] == {"minReplicas": 1, "model": model, "canaryTrafficPercent": 10}
    target.put(packaged(2), "champion")
    assert api.calls[-1][2]["spec"]["predictor"] == {"minReplicas": 1, "model": model}


def test_what_the_schema_does_not_know_is_refused() -> None:
    """The vendored schema would notice a key that KServe does not have."""
    sent = {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "metadata": {}}
    predictor = {"model": {"modelFormat": {"name": "mlflow"}}, "canaryTrafficPercent": 10}
    jsonschema.validate(sent | {"spec": {"predictor": predictor}}, SCHEMA)
    for wrong in (
        {"predictor": predictor | {"canaryTraffic": 10}},
        {"predictor": predictor | {"canaryTrafficPercent": "10"}},
        {"predictor": {"model": {"storageUri": "s3://m"}}},
        {},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(sent | {"spec": wrong}, SCHEMA)


def test_a_version_that_does_not_start_is_told_and_what_was_there_is_wanted_again(
    cluster: Cluster, api: Api, packaged: Versions
) -> None:
    target = KServe("no_show", cluster)
    target.put(packaged(1), "champion")
    api.unready.add(packaged(2).location)
    for role in ("challenger", "champion"):
        with pytest.raises(DeployRefused, match="PredictorReady: CrashLoopBackOff"):
            target.put(packaged(2), role)  # type: ignore[arg-type]  # a text of two
        assert target.serving() == {1: Placed("champion", 100)}
        assert api.object is not None
        assert api.object["spec"]["predictor"]["model"]["storageUri"] == packaged(1).location


def test_other_annotations_stay_and_who_wrote_in_between_is_not_overwritten(
    cluster: Cluster, api: Api, packaged: Versions
) -> None:
    target = KServe("no_show", cluster)
    target.put(packaged(1), "champion")
    assert api.object is not None
    api.object["metadata"]["annotations"]["team"] = "retail"
    target.put(packaged(2), "challenger")
    assert api.object["metadata"]["annotations"]["team"] == "retail"
    api.conflicts = 1
    with pytest.raises(ServiceUnavailable, match="in between"):
        target.route({1: 50, 2: 50})
    target.route({1: 50, 2: 50})


def test_a_token_that_is_not_good_and_an_api_that_is_away_are_told(cluster: Cluster) -> None:
    with pytest.raises(RequestRefused, match="401") as refused:
        KServe("no_show", replace(cluster, token="t0p-secret")).serving()
    assert "t0p-secret" not in str(refused.value)
    with pytest.raises(ServiceUnavailable):
        KServe("no_show", replace(cluster, url="http://127.0.0.1:9")).serving()
