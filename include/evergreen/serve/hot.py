"""Plain requests for predictions, answered by the event loop's own thread before any framework sees them: up to 50
entities, to a version with a graph whose features are in memory, and no header that asks for more.

Only what goes well is done here. Whatever else a request is or comes to (a mistake in its body, a limit of its client,
an unknown entity, a rollout beside the champion, a store that has to be read), it goes the long way as if nobody had
looked at it, so that each rule and each refusal stands once. What is answered is the same either way.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from fastapi import Request
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from evergreen.errors import EvergreenError
from evergreen.serve import bodies, deadlines, refusals
from evergreen.serve.admission import SMALL, Client
from evergreen.serve.answering import Asked, Made, answer
from evergreen.serve.clients import source
from evergreen.serve.hosts import Hosts
from evergreen.serve.idempotency import HEADER
from evergreen.serve.loaded import Loaded
from evergreen.serve.messages import Body
from evergreen.serve.middleware import RequestIds
from evergreen.serve.routes.predict import PATH
from evergreen.serve.slot import Slot
from evergreen.serve.state import ServingState
from evergreen.settings import settings

BYTES = 10_000  # of a plain request's body, at most: others wait while it is worked on
_BEFORE, _AFTER = PATH.split("{model}")
_JSON = b"application/json"
# Each asks for something, or says something of the client, that the long way looks at.
_ASKING_FOR_MORE = frozenset(
    name.lower().encode()
    for name in (HEADER, deadlines.GRPC, deadlines.ENVOY, "origin", "sec-fetch-site", "transfer-encoding", "expect")
)
_HOSTS_KNOWN = 100

Headers = Mapping[bytes, bytes]


class Hot:
    """Answers plain requests; the application has everything else."""

    def __init__(self, app: ASGIApp, server: ServingState, hosts: Hosts) -> None:
        self.app, self._server, self._hosts = app, server, hosts
        self._ids = RequestIds()
        self._ours: set[bytes] = set()  # `Host` headers that were looked at and are ours

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = self._plain(scope)
        slot = None if headers is None else self._slot(scope["path"])
        if headers is None or slot is None:
            await self.app(scope, receive, send)
            return
        started, message = time.perf_counter(), await receive()
        answered = await self._answered(scope, headers, slot, message)
        if answered is None:
            await self.app(scope, _once_more(message, receive), send)
            return
        status, answer_headers, content = answered
        try:
            await send({"type": "http.response.start", "status": status, "headers": answer_headers})
            await send({"type": "http.response.body", "body": content})
        finally:
            self._server.metrics.counted(PATH, slot.model, status, time.perf_counter() - started)

    def _plain(self, scope: Scope) -> Headers | None:
        """The headers of a plain request; None: it is another one."""
        if scope["type"] != "http" or scope["method"] != "POST":
            return None
        headers: Headers = dict(scope["headers"])
        if len(headers) < len(scope["headers"]) or not _ASKING_FOR_MORE.isdisjoint(headers):
            return None
        if headers.get(b"content-type") != _JSON or len(headers.get(b"content-length", b"no size")) > len(str(BYTES)):
            return None
        host = headers.get(b"host", b"")
        if host not in self._ours:
            if len(self._ours) >= _HOSTS_KNOWN or self._hosts.refusal([host.decode("latin-1")], scope["http_version"]):
                return None
            self._ours.add(host)
        return headers

    def _slot(self, path: str) -> Slot | None:
        """The place of the model that is asked, where its version may be asked at once."""
        if not (path.startswith(_BEFORE) and path.endswith(_AFTER)):
            return None
        server, slot = self._server, self._server.models.slots.get(path[len(_BEFORE) : -len(_AFTER)])
        if slot is None or slot.current is None or slot.beside is not None or not slot.current.quick:
            return None
        ready = server.commits.open and not server.stopped and server.copy.fresh(slot.current.online.tables)
        return slot if ready else None

    async def _answered(
        self, scope: Scope, headers: Headers, slot: Slot, message: Message
    ) -> tuple[int, list[tuple[bytes, bytes]], bytes] | None:
        """Status, headers and content of the answer once its rows are in the log; None: it takes the long way."""
        loaded, server, content = slot.current, self._server, message.get("body", b"")
        if loaded is None or message.get("more_body") or len(content) > BYTES:
            return None
        entities, request_id, committed = _entities(loaded, content), self._ids.next(), None
        if entities is None:
            return None
        try:
            who = server.keys.client(headers.get(b"authorization", b"").decode("latin-1"), slot.model)
            with server.clients.request(who or source(scope, settings().trusted_proxies)) as client:
                asked = Asked(loaded, entities, request_id, datetime.now(UTC), slot.role or "champion")
                made = self._made(asked, client, len(content))
                if made is None:
                    return None
                committed = server.commits.append(made.rows)
                await committed
        except (EvergreenError, HTTPException) as error:
            if committed is None:
                return None
            request = Request(scope)
            request.state.id = request_id
            refused = refusals.answer(request, error)
            return (
                refused.status_code,
                [*refused.raw_headers, (b"x-request-id", request_id.encode())],
                bytes(refused.body),
            )
        server.metrics.predicted(slot.model, made)
        size = str(len(made.content)).encode()
        answer_headers = [(b"content-length", size), (b"content-type", _JSON), (b"x-request-id", request_id.encode())]
        return 200, answer_headers, made.content

    def _made(self, asked: Asked, client: Client, size: int) -> Made | None:
        """The answer, not yet logged; None: an entity has none, or something is in its way."""
        server, count = self._server, len(asked.entities)
        paid = server.clients.read(client, size)
        try:
            with server.clients.entities(client, count, paid):
                server.space.admit(count)
                made = answer(asked, server.copy.packed)
        except Exception:  # noqa: BLE001  whatever it is, the long way comes to it too, and says it
            made = None
        if made is None or len(made.rows) < count:
            client.entities += max(paid, count)  # the long way charges it
            return None
        return made


def _entities(loaded: Loaded, content: bytes) -> list[dict[str, Any]] | None:
    """What a body asks for; None: it has a mistake, or asks for more than a plain request does."""
    try:
        body: Body = loaded.request_type.__pydantic_validator__.validate_json(content)
    except ValidationError:
        return None
    requested: Sequence[Any] = body.requested
    if body.as_of is not None or body.explain or len(requested) > SMALL or bodies.twice(content):
        return None
    return [vars(entity) for entity in requested]


def _once_more(message: Message, receive: Receive) -> Receive:
    """A way to receive what was received before, and then the rest."""
    before = [message]

    async def again() -> Message:
        return before.pop() if before else await receive()

    return again
