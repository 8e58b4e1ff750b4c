"""Administration: another version serves. For the task `deploy` and for rollback."""

from __future__ import annotations

import logging
import secrets
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from evergreen.errors import EvergreenError, TransientError
from evergreen.serve.routes.models import described
from evergreen.serve.state import Shared
from evergreen.settings import settings
from evergreen.spec.load import names

log = logging.getLogger(__name__)
router = APIRouter()


class Deployment(BaseModel):
    """Which version to serve."""

    model_config = ConfigDict(strict=True, extra="forbid")
    version: Annotated[int, Field(ge=1)]


def _administrator(authorization: Annotated[str, Header()] = "") -> None:
    expected = f"Bearer {settings().server_token}"
    if settings().server_token and not secrets.compare_digest(authorization.encode(), expected.encode()):
        raise HTTPException(401, "this endpoint needs `Authorization: Bearer <EVERGREEN_SERVER_TOKEN>`")


@router.post("/models/{model}/deploy", dependencies=[Depends(_administrator)])
def deploy(model: str, body: Deployment, server: Shared) -> Any:
    """Serve another version; answers when it serves. A version that cannot be loaded changes nothing: 409."""
    slot = server.models.add(model) if _has_folder(model) else server.slot(model)
    try:
        slot.put(body.version)
    except TransientError:
        raise
    except EvergreenError as error:
        log.error("%s", error)
        raise HTTPException(
            409, {"found": error.found, "serves": slot.current and slot.current.version.number}
        ) from error
    return described(slot)


def _has_folder(model: str) -> bool:
    return model in names(settings().models)
