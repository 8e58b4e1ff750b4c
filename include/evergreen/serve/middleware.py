"""Around every endpoint: the request's id, what is refused before any route sees it, and the count of what was answered."""

from __future__ import annotations

import logging
import time
import uuid

from fastapi import Request, Response
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from evergreen.serve.metrics import Metrics
from evergreen.serve.refusals import refusal

log = logging.getLogger(__name__)

MAX_BYTES = 1_000_000  # of a request's body; a larger one is refused before it is read


class Exchange:
    """One request and its answer. Whatever goes wrong within is answered and counted like everything else."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0
        request = Request(scope)
        request.state.id = uuid.uuid4().hex  # ours alone: the log's rows are keyed by it

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = request.state.id
            await send(message)

        try:
            refused = _refused(request)
            await (refused or self._app)(scope, receive, answer)
        except Exception:  # a defect
            log.exception("request %s: %s %s", request.state.id, request.method, request.url.path)
            if status:
                raise  # half an answer was sent: the connection is closed
            failed = refusal(request, 500, "an unforeseen error; the server's log has it under the request_id")
            await failed(scope, receive, answer)
        finally:
            self._metrics.answered(request, status, time.perf_counter() - started)


def _refused(request: Request) -> Response | None:
    """The answer of a request that no route needs to see."""
    if int(request.headers.get("content-length") or 0) > MAX_BYTES:
        return refusal(request, 413, f"the body is larger than {MAX_BYTES:,} bytes")
    if "transfer-encoding" in request.headers:
        return refusal(request, 411, "send the body with its length (Content-Length), not in chunks")
    return None
