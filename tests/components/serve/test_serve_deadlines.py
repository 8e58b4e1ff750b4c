"""A request's deadline, in a running server."""

from __future__ import annotations

import time

from evergreen.serve.deadlines import ENVOY, GRPC

from .conftest import ServedModel, customer


def test_a_request_is_answered_by_its_deadline_or_not_at_all(served: ServedModel) -> None:
    served.champion(3)
    path, body = f"/models/{served.name}/predict", {"entity": {"customer_id": customer(1)}}
    for headers in ({GRPC: "30S"}, {ENVOY: "30000"}):
        assert served.server.post(path, json=body, headers=headers).status_code == 200
    before = len(served.logged())
    passed = served.server.post(path, json=body, headers={GRPC: "0m"})
    assert passed.status_code == 504 and "deadline" in passed.json()["detail"]
    assert len(served.logged()) == before, "nothing was worked out, and nothing logged"
    assert served.server.post(path, json=body, headers={GRPC: "soon"}).status_code == 400
    with served.blocked_log():
        started = time.monotonic()
        late = served.server.post(path, json=body, headers={GRPC: "300m"})
        assert late.status_code == 504 and 0.25 < time.monotonic() - started < 3.0
    other = served.server.post(
        f"/v1/models/{served.name}:predict", json={"instances": [customer(1)]}, headers={GRPC: "0m"}
    )
    assert other.status_code == 504 and "deadline" in other.json()["error"]
    assert served.server.post(path, json=body).status_code == 200, "the next one has none"
