"""OpenAPI's document, with the requests and answers of each model as its version declares them."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from evergreen.serve.loaded import Loaded
from evergreen.serve.messages import answer_type
from evergreen.serve.models import Models


def install(app: FastAPI, models: Models, predict: str) -> None:
    """Document in place of the one route for predictions (`predict` is its path) one per model that serves."""
    app.openapi = lambda: _document(app, models, predict)  # type: ignore[method-assign]  # FastAPI's own way to extend it


def _document(app: FastAPI, models: Models, predict: str) -> dict[str, Any]:
    routes: list[BaseRoute] = [route for route in app.routes if getattr(route, "path", None) != predict]
    for slot in models.all():
        if slot.current is not None:
            routes.append(_documented(slot.current, predict))
    return get_openapi(title=app.title, version=app.version, routes=routes)


def _documented(loaded: Loaded, predict: str) -> APIRoute:
    async def endpoint(body: Any) -> None: ...

    endpoint.__annotations__["body"] = loaded.request_type
    path = predict.format(model=loaded.spec.model)
    answer = answer_type(loaded.spec)
    return APIRoute(path, endpoint, methods=["POST"], summary=loaded.spec.description, response_model=answer)
