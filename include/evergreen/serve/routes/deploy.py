"""Administration: another version serves. For the task `deploy` and for rollback."""

from __future__ import annotations

import logging
import secrets
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from evergreen.errors import EvergreenError, TransientError
from evergreen.serve import clients
from evergreen.serve.admission import too_many
from evergreen.serve.bodies import read
from evergreen.serve.routes.models import described
from evergreen.serve.slot import Slot
from evergreen.serve.state import Shared
from evergreen.settings import settings
from evergreen.spec.kinds import whole
from evergreen.spec.load import names
from evergreen.throttle import Throttle

log = logging.getLogger(__name__)
router = APIRouter()
_throttle = Throttle()  # the server's token is a login
_BEYOND_GUESSING = (
    24  # characters of a token from which on it is looked at whatever wrong ones came from the same address
)


class Deployment(BaseModel):
    """Which version to serve."""

    model_config = ConfigDict(strict=True, extra="forbid")
    version: Annotated[int, Field(ge=1, lt=2**31), BeforeValidator(whole)]


async def _administrator(request: Request) -> None:
    """Nobody else comes further. Tries are slowed by client, and who guesses keeps nobody out: no other client, and
    where the token is long, as the generated one is, not its own neighbours either."""
    token = settings().server_token
    if not token:
        return
    kind, _, given = request.headers.get("authorization", "").partition(" ")
    challenge = {"www-authenticate": "Bearer"}
    if kind.lower() != "bearer" or not given.strip():
        raise HTTPException(401, "this endpoint needs `Authorization: Bearer <EVERGREEN_SERVER_TOKEN>`", challenge)
    right = secrets.compare_digest(given.strip().encode(), token.encode())
    if right and len(token) >= _BEYOND_GUESSING:
        return
    client = clients.source(request.scope, settings().trusted_proxies)
    if wait := _throttle.attempt(client):
        raise too_many("too many wrong tokens: this one was not looked at", wait)
    if not right:
        log.warning("request %s: a wrong token from %s", request.state.id, client)
        raise HTTPException(401, "the token is not this server's EVERGREEN_SERVER_TOKEN", challenge)
    _throttle.passed(client)


_BODY = {"required": True, "content": {"application/json": {"schema": Deployment.model_json_schema()}}}


@router.post("/models/{model}/deploy", dependencies=[Depends(_administrator)], openapi_extra={"requestBody": _BODY})
async def deploy(model: str, request: Request, server: Shared) -> Any:
    """Serve another version; answers when it serves. A version that cannot be loaded changes nothing: 409."""
    wanted = await read(request, Deployment)
    return await run_in_threadpool(_put, server, model, wanted.version)


def _put(server: Shared, model: str, version: int) -> dict[str, Any]:
    slot: Slot = server.models.add(model) if _has_folder(model) else server.slot(model)
    try:
        slot.put(version)
    except TransientError:
        raise
    except EvergreenError as error:
        log.error("%s", error)
        raise HTTPException(
            409,
            {
                "doing": error.doing,
                "found": error.found,
                "expected": error.expected,
                "serves": slot.current and slot.current.version.number,
            },
        ) from error
    return described(slot)


def _has_folder(model: str) -> bool:
    return model in names(settings().models)
