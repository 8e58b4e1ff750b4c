"""Requests to the model server about the past, as clients would have sent them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

import httpx

from evergreen.answers import refusal, silence
from evergreen.errors import PermanentError
from evergreen.serve.client import key, server
from evergreen.settings import settings

_TIMEOUT = 60.0  # seconds
_PATIENCE = 120.0  # seconds in which a server that is busy is asked again


def ask(model: str, bodies: Iterable[Mapping[str, Any]]) -> int:
    """Send requests one after the other, and wait where the server asks for it; returns how many entities had an
    answer.

    Raises:
        ServiceUnavailable: the server does not answer, or not in time.
        RequestRefused: it does not take a request.
        PermanentError: it does not know what it is asked about, or takes no `as_of`.
    """
    answered, url = 0, f"{settings().server_url}/models/{model}/predict"
    doing = f"asking the model server about the past of {model}"
    with httpx.Client(timeout=_TIMEOUT, headers=key()) as client:
        for body in bodies:
            until = time.monotonic() + _PATIENCE
            while True:
                try:
                    response = client.post(url, json=dict(body))
                except httpx.TransportError as error:
                    raise silence(doing, f"{type(error).__name__}: {error}", server()) from error
                if response.status_code not in (429, 503) or time.monotonic() > until:
                    break
                time.sleep(min(float(response.headers.get("retry-after", 1)), 5.0))
            if response.status_code in (400, 404, 422):
                raise PermanentError(
                    doing,
                    found=f"{response.status_code}: {response.text[:500]}",
                    expected="an answer as of the request's own moment",
                    next_step="start the server so that it takes one: `EVERGREEN_REPLAY=1 evergreen restart server`",
                )
            if response.status_code != httpx.codes.OK:
                raise refusal(doing, response.status_code, response.text, server())
            answered += sum(item.get("prediction") is not None for item in response.json()["predictions"])
    return answered
