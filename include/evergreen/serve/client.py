"""The model server's administration, over HTTP."""

from __future__ import annotations

from typing import Any

import httpx

from evergreen.answers import LOGIN, Remote, may_succeed_later, refusal, silence
from evergreen.errors import DeployRefused
from evergreen.settings import settings

PATIENCE = 120.0  # seconds in which a version must be loaded


def serving(model: str) -> int | None:
    """The version that the running server answers with; None when it serves none of the model.

    Raises:
        ServiceUnavailable: the server does not answer, or not now.
        RequestRefused: it answers that it will not.
    """
    number: int | None = _described(model).get("version")
    return number


def problem(model: str) -> str | None:
    """What the running server says is wrong with what it serves of a model; raises as `serving` does."""
    reported: str | None = _described(model).get("problem")
    return reported


def problems(model: str) -> tuple[list[str], bool]:
    """The same, one by one, and whether it has looked for all that there may be; raises as `serving` does."""
    described = _described(model)
    return described.get("problems", []), described.get("looked", False)


def _described(model: str) -> dict[str, Any]:
    """What the server says of a model; nothing of one that it does not know."""
    url = f"{settings().server_url}/models/{model}"
    doing = f"asking the model server what serves of {model}"
    try:
        response = httpx.get(url, timeout=30.0)
    except httpx.TransportError as error:
        raise silence(doing, f"{type(error).__name__}: {error}", server()) from error
    if response.status_code == httpx.codes.NOT_FOUND:
        return {}
    if response.status_code != httpx.codes.OK:
        raise refusal(doing, response.status_code, response.text, server())
    description: dict[str, Any] = response.json()
    return description


def deploy(model: str, version: int) -> dict[str, Any]:
    """Let the running server serve a version; returns what the server says of the model once it does.

    Raises:
        DeployRefused: the server cannot serve it, and serves what it served before.
        ServiceUnavailable: the server, or what it needs, does not answer.
        RequestRefused: it does not take our token.
    """
    url, token = settings().server_url, settings().server_token
    doing = f"deploying version {version} of {model} to {url}"
    try:
        response = httpx.post(
            f"{url}/models/{model}/deploy",
            json={"version": version},
            timeout=PATIENCE,
            headers={"Authorization": f"Bearer {token}"} if token else {},
        )
    except httpx.TransportError as error:
        raise silence(doing, f"{type(error).__name__}: {error}", server()) from error
    if may_succeed_later(response.status_code) or response.status_code in LOGIN:
        raise refusal(doing, response.status_code, response.text, server())
    if response.status_code != httpx.codes.OK:
        raise DeployRefused(
            doing,
            found=f"{response.status_code}: {response.text[:1000]}",
            expected=f"version {version} loaded and serving",
            next_step=(
                f"what served before still serves; look at {url}/models/{model} and the version in MLflow, then "
                "clear this task"
            ),
        )
    confirmed: dict[str, Any] = response.json()
    return confirmed


def server() -> Remote:
    """The running server, as messages name it."""
    here = settings()
    return Remote(
        f"the model server at {here.server_url}",
        "EVERGREEN_SERVER_TOKEN",
        "EVERGREEN_SERVER_URL",
        "its log (server.log)",
    )
