"""What a client is told when its request is not answered: JSON, with the request's id."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from evergreen.errors import EvergreenError, TransientError
from evergreen.serve.admission import after

log = logging.getLogger(__name__)

_AGAIN_SECONDS = 5  # until a service that does not answer may answer again


def refusal(request: Request, status: int, detail: object, headers: Mapping[str, str] | None = None) -> Response:
    """The answer of a request that is refused."""
    # Escaped to ASCII: a name that the client chose may be no valid text.
    content = json.dumps({"detail": detail, "request_id": request.state.id})
    return Response(content, status, headers, media_type="application/json")


def install(app: FastAPI) -> None:
    """Answer every error that a route raises on purpose."""

    async def answered(request: Request, error: Exception) -> Response:
        return answer(request, error)

    for kind in (EvergreenError, HTTPException, RequestValidationError):
        app.exception_handler(kind)(answered)


def answer(request: Request, error: Exception) -> Response:
    """What the client of a request is told that failed with an error which is raised on purpose."""
    if isinstance(error, EvergreenError):
        return _unavailable(request, error)
    if isinstance(error, HTTPException):
        return refusal(request, error.status_code, error.detail, error.headers)
    assert isinstance(error, RequestValidationError)
    return _malformed(request, error)


def _unavailable(request: Request, error: EvergreenError) -> Response:
    log.error("request %s: %s", request.state.id, error)
    # The error's own next step speaks to whoever reads the log of a task or of this server, not to a client.
    passing = isinstance(error, TransientError)
    next_step = (
        "send the request again in a few seconds"
        if passing
        else (
            "asking again does not help until the server's operator has acted: its log has the next step under the "
            "request_id"
        )
    )
    detail = {"doing": error.doing, "found": error.found, "expected": error.expected, "next_step": next_step}
    return refusal(request, 503, detail, after(_AGAIN_SECONDS) if passing else None)


def _malformed(request: Request, error: RequestValidationError) -> Response:
    # Without the input, which FastAPI would repeat: it may be large, or what JSON cannot hold.
    errors = [{name: mistake[name] for name in ("type", "loc", "msg")} for mistake in error.errors()]
    return refusal(request, 422, errors)
