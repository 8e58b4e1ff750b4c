"""A request's deadline, in a running server."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace

from evergreen.serve import deadlines, dealing
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


def test_a_client_that_waits_no_more_is_no_failure_of_the_version_beside_the_champion() -> None:
    """Else whoever sends short deadlines would have a challenger withdrawn."""
    seen: list[object] = []

    async def worked_beside(_: object) -> None:
        await deadlines.wait(asyncio.sleep(5), 10.0)

    asked = SimpleNamespace(part=lambda _: asked, as_of=None)
    beside = SimpleNamespace(asked=lambda *_: asked)
    server = SimpleNamespace(worked_beside=worked_beside, guards=SimpleNamespace(saw=lambda *_, **__: seen.append(1)))

    async def ask() -> tuple[object, float]:
        deadlines.begin({GRPC: "200m"})
        tried = await dealing._other(server, asked, beside, [0], b"")  # type: ignore[arg-type]  # what it looks at is there
        return tried, deadlines.left()

    tried, left = asyncio.run(ask())
    assert tried == [] and not seen
    assert left > 0.05, "the champion has time to answer in its place"
