"""The short way to the endpoint of predictions for requests that are not plain (`hot`): past FastAPI's routing and
dependencies. What is answered is the same either way."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from evergreen.errors import EvergreenError
from evergreen.serve import refusals
from evergreen.serve.state import ServingState

Endpoint = Callable[[str, Request, ServingState], Awaitable[Response]]


class ShortWay:
    """Answers what `route` would by its own endpoint; the application has everything else.

    Args:
        route: with the model's name as the one variable of its path.
    """

    def __init__(self, app: ASGIApp, route: APIRoute, server: ServingState) -> None:
        self._app, self._route, self._server = app, route, server
        self._endpoint: Endpoint = route.endpoint
        self._path = re.compile(route.path.format(model="([^/]+)"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match = self._path.fullmatch(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if match is None:
            await self._app(scope, receive, send)
            return
        scope["route"], scope["path_params"] = self._route, {"model": match[1]}
        request = Request(scope, receive)
        try:
            response = await self._endpoint(match[1], request, self._server)
        except (EvergreenError, HTTPException, RequestValidationError) as error:
            response = refusals.answer(request, error)
        await response(scope, receive, send)
