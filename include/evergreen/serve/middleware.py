"""Around every endpoint: the request's id, what is refused before any route sees
it, and the count of what was answered."""

from __future__ import annotations

import logging
import random
import secrets
import time
from urllib.parse import urlsplit

from fastapi import Request, Response
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from evergreen.quoting import shown
from evergreen.serve.door import Limits
from evergreen.serve.hosts import Hosts
from evergreen.serve.metrics import Metrics
from evergreen.serve.refusals import refusal

log = logging.getLogger(__name__)

_MAX_BYTES = Limits.body_bytes  # told before the body is read, where its size is stated
_ANY_HOST = frozenset({"/healthz", "/readyz"})  # probes ask by whatever address they know
_HUNG_UP = 499  # never sent: counts requests whose client went away


class RequestIds:
    """An id for each request, ours alone: the log's rows are keyed by it."""

    def __init__(self) -> None:
        # Begun by the system's, and no call of the system's for each: it gives the interpreter's lock away.
        self._random = random.Random(secrets.randbits(256))

    def next(self) -> str:
        """One that nobody had."""
        return f"{self._random.getrandbits(128):032x}"


class Exchange:
    """One request and its answer. Whatever goes wrong within is answered and counted like everything else."""

    def __init__(self, app: ASGIApp, metrics: Metrics, hosts: Hosts) -> None:
        self._app = app
        self._metrics = metrics
        self._hosts = hosts
        self._ids = RequestIds()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0
        if scope["method"] == "HEAD":  # whatever can be got has a head, of which the protocol sends no content
            scope = {**scope, "method": "GET"}
        request = Request(scope)
        request.state.id = self._ids.next()

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = request.state.id
            await send(message)

        try:
            await (self._refused(request) or self._app)(scope, receive, answer)
        except ClientDisconnect:
            status = status or _HUNG_UP
        except Exception:  # a defect
            log.exception("request %s: %s %s", request.state.id, request.method, shown(request.url.path))
            if status:
                raise  # half an answer was sent: the connection is closed
            failed = refusal(request, 500, "an unforeseen error; the server's log has it under the request_id")
            await failed(scope, receive, answer)
        finally:
            self._metrics.answered(request, status, time.perf_counter() - started)

    def _refused(self, request: Request) -> Response | None:
        """The answer of a request that no route needs to see."""
        stranger = self._hosts.refusal(request.headers.getlist("host"), request.scope["http_version"])
        if stranger and not (stranger[0] == 421 and request.scope["path"] in _ANY_HOST):
            return refusal(request, *stranger)
        if request.method not in ("GET", "HEAD") and _of_another_page(request):
            return refusal(request, 403, "a page of another origin may not ask: its server should")
        if int(request.headers.get("content-length") or 0) > _MAX_BYTES:
            return refusal(request, 413, f"the body is larger than {_MAX_BYTES:,} bytes")
        if "transfer-encoding" in request.headers:
            return refusal(request, 411, "send the body with its length (Content-Length), not in chunks")
        return None


def _of_another_page(request: Request) -> bool:
    """Whether a browser says that a page sent this which came from elsewhere: such requests carry the person's place in
    the network, and nobody's intent."""
    if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return True
    origin = request.headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != request.headers.get("host")
