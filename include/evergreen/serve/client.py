"""What the running model server says of what it serves, over HTTP; where there are several, one of them."""

from __future__ import annotations

from typing import Any

import httpx

from evergreen.answers import Remote, refusal, silence
from evergreen.settings import settings


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


def key() -> dict[str, str]:
    """The header of our own requests for predictions, to a server that asks for keys."""
    ours = settings().server_key
    return {"Authorization": f"Bearer {ours}"} if ours else {}


def server() -> Remote:
    """The running server, as messages name it."""
    here = settings()
    return Remote(
        f"the model server at {here.server_url}",
        "the login of what stands before it",
        "EVERGREEN_SERVER_URL",
        "its log (server.log)",
    )
