"""The model server's HTTP interface: one process, every model of the models folder."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import threading
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, cast

from fastapi import Depends, FastAPI, Header, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.routing import BaseRoute

from evergreen.errors import EvergreenError, TransientError
from evergreen.serve.messages import Body
from evergreen.serve.metrics import Metrics
from evergreen.serve.models import Loaded, Models, Slot
from evergreen.serve.predictions import Prediction, PredictionLog
from evergreen.settings import settings
from evergreen.spec.load import folders
from evergreen.spec.schema import ModelSpec

log = logging.getLogger(__name__)

MAX_BATCH = 1_000  # entities of one request
PREDICT = "/models/{model}/predict"
_MAX_BYTES = MAX_BATCH * 1_000  # of a request's body; a larger one is refused before it is read
_MISTAKES_SHOWN = 20  # of a malformed request
_WORKERS = 4  # threads that read features and predict
_PATIENCE = 10.0  # seconds that a request waits for its features and its prediction, most of it for a free thread
_LOG_PATIENCE = 30.0  # seconds that an answer waits for its rows to be committed


class Deployment(BaseModel):
    """Which version to serve."""

    model_config = ConfigDict(strict=True, extra="forbid")
    version: Annotated[int, Field(ge=1)]


class Probe(BaseModel):
    """Rows of features to predict from."""

    model_config = ConfigDict(extra="forbid")
    features: Annotated[list[dict[str, Any]], Field(min_length=1)]


def create_app(models: Models, *, probe: bool = False) -> FastAPI:
    """The server.

    Args:
        models: what it serves. Outside of probe mode it looks for every model's champion at its start.
        probe: answer from given features, log nothing; `models` are already loaded. For the check of a version before it may
            take traffic.
    """
    metrics = Metrics(models)
    workers = ThreadPoolExecutor(_WORKERS, thread_name_prefix="predict")

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        starting = threading.Thread(target=models.start, name="first versions", daemon=True)
        if not probe:
            app.state.log = PredictionLog()
            starting.start()
        yield
        models.stop()
        if not probe:
            await run_in_threadpool(app.state.log.close)
        workers.shutdown()

    app = FastAPI(title="Evergreen model server", lifespan=lifespan)

    @app.middleware("http")
    async def observe(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        request.state.id = uuid.uuid4().hex  # ours alone: the log's rows are keyed by it
        started = time.perf_counter()
        if int(request.headers.get("content-length") or 0) > _MAX_BYTES:
            response: Response = _refusal(request, 413, f"the body is larger than {_MAX_BYTES:,} bytes")
        elif "transfer-encoding" in request.headers:
            response = _refusal(request, 411, "send the body with its length (Content-Length), not in chunks")
        else:
            try:
                response = await answer(request)
            except Exception:  # a defect: answered and counted like everything else
                log.exception("request %s: %s %s", request.state.id, request.method, request.url.path)
                response = _refusal(request, 500, "an unforeseen error; the server's log has it under the request_id")
        metrics.answered(request, response.status_code, time.perf_counter() - started)
        response.headers["x-request-id"] = request.state.id
        return response

    @app.exception_handler(EvergreenError)
    async def unavailable(request: Request, error: EvergreenError) -> Response:
        log.error("%s", error)
        return _refusal(
            request,
            503,
            {"doing": error.doing, "found": error.found, "expected": error.expected, "next_step": error.next_step},
        )

    @app.exception_handler(StarletteHTTPException)
    async def refused(request: Request, error: StarletteHTTPException) -> Response:
        return _refusal(request, error.status_code, error.detail)

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> Response:
        # Without the input, which FastAPI would repeat: it may be large, or what JSON cannot hold.
        errors = [{name: mistake[name] for name in ("type", "loc", "msg")} for mistake in error.errors()]
        return _refusal(request, 422, errors[:_MISTAKES_SHOWN])

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """The process lives."""
        return {"status": "alive"}

    @app.get("/readyz")
    async def readyz() -> Response:
        """Every model's champion was looked for; `missing` are those of which no version could be loaded, while others answer."""
        ready = models.ready()
        return JSONResponse({"ready": ready, "missing": models.missing()}, 200 if ready else 503)

    @app.get("/metrics", include_in_schema=False)
    async def prometheus() -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/models")
    async def list_models() -> dict[str, Any]:
        """What serves."""
        return {"models": [_described(slot) for slot in models.all()]}

    @app.get("/models/{model}")
    async def describe(model: str) -> dict[str, Any]:
        """What serves of one model."""
        return _described(_slot(models, model))

    if probe:

        @app.post("/models/{model}/probe")
        def predict_given(model: str, body: Probe) -> dict[str, Any]:
            """Predict from the given features. Only while a version is being probed."""
            loaded = _serving(_slot(models, model))
            return {"version": loaded.version.number, "predictions": loaded.predict(body.features).tolist()}

        return app

    from evergreen.features.store import online_features  # not for a probe: Feast takes seconds to import

    @app.post("/models/{model}/deploy", dependencies=[Depends(_administrator)])
    def deploy(model: str, body: Deployment) -> Any:
        """Serve another version; answers when it serves. A version that cannot be loaded changes nothing: 409."""
        slot = models.add(model) if _has_folder(model) else _slot(models, model)
        try:
            slot.put(body.version)
        except TransientError:
            raise
        except EvergreenError as error:
            log.error("%s", error)
            raise HTTPException(
                409, {"found": error.found, "serves": slot.current and slot.current.version.number}
            ) from error
        return _described(slot)

    @app.post(PREDICT)
    async def predict(model: str, request: Request) -> Response:
        loaded = _serving(_slot(models, model))
        body = await _body(request, loaded.request_type)
        if len(body.asked) > MAX_BATCH:
            raise HTTPException(413, f"{len(body.asked):,} entities; at most {MAX_BATCH:,} a request")
        as_of = _moment(body)
        asked = [entity.model_dump() for entity in body.asked]
        answers = asyncio.get_running_loop().run_in_executor(
            workers, _answers, online_features, loaded, asked, request.state.id, as_of
        )
        try:  # one that has not begun by then never does: nobody waits for its answer
            items, rows = await asyncio.wait_for(answers, _PATIENCE)
        except TimeoutError:
            raise HTTPException(
                503, f"no prediction within {_PATIENCE:.0f} s: the server is too busy, or its database does not answer"
            ) from None
        if body.entity is not None and not rows:
            raise HTTPException(404, items[0]["error"])
        if rows:
            try:
                await asyncio.wait_for(asyncio.wrap_future(app.state.log.append(rows)), _LOG_PATIENCE)
            except TimeoutError:
                raise HTTPException(503, f"the prediction log did not commit within {_LOG_PATIENCE:.0f} s") from None
        metrics.predicted(loaded, len(rows), len(items) - len(rows))
        return JSONResponse({
            "request_id": request.state.id, "model": model, "version": loaded.version.number, "as_of": as_of.isoformat(),
            "predictions": items,
        })  # fmt: skip

    app.openapi = lambda: _documentation(app, models)  # type: ignore[method-assign]  # FastAPI's own way to extend it
    return app


async def _body(request: Request, kind: type[BaseModel]) -> Body:
    """The request, of the type that the version which answers it declares."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip()
    if content_type != "application/json":
        raise HTTPException(415, f"content-type {content_type!r}: send application/json")
    try:
        body: Any = kind.model_validate_json(await request.body())
    except ValidationError as error:
        mistakes = error.errors(include_url=False, include_context=False, include_input=False)
        raise RequestValidationError([{**mistake, "loc": ("body", *mistake["loc"])} for mistake in mistakes]) from error
    return cast("Body", body)


def _documentation(app: FastAPI, models: Models) -> dict[str, Any]:
    """OpenAPI's document: in place of the one route for predictions, one a model that serves, typed by its version."""
    routes: list[BaseRoute] = [route for route in app.routes if getattr(route, "path", None) != PREDICT]
    for slot in models.all():
        if slot.current is not None:
            routes.append(_documented(slot.current))
    return get_openapi(title=app.title, version=app.version, routes=routes)


def _documented(loaded: Loaded) -> APIRoute:
    async def endpoint(body: Any) -> None: ...

    endpoint.__annotations__["body"] = loaded.request_type
    path = PREDICT.format(model=loaded.spec.model)
    return APIRoute(path, endpoint, methods=["POST"], summary=loaded.spec.description)


def _answers(
    read: Callable[[ModelSpec, Sequence[Mapping[str, Any]]], list[dict[str, Any]]],
    loaded: Loaded,
    asked: list[dict[str, Any]],
    request_id: str,
    as_of: datetime,
) -> tuple[list[dict[str, Any]], list[Prediction]]:
    """One item a request, in their order, and the rows to log. Of an entity that neither the online store nor the request itself
    tells anything about there is no prediction."""
    spec, key = loaded.spec, loaded.spec.entity.key
    inputs = list(spec.request.inputs) if spec.request else []
    found = read(spec, asked)
    known = [at for at, entity in enumerate(found) if entity["features_at"] is not None or inputs]
    features = {at: found[at]["features"] | {name: asked[at][name] for name in inputs} for at in known}
    scores = dict(zip(known, loaded.predict(list(features.values())).tolist(), strict=True)) if known else {}
    items: list[dict[str, Any]] = []
    rows = []
    for position, (request, entity) in enumerate(zip(asked, found, strict=True)):
        if position not in scores:
            error = f"unknown {key} {request[key]!r}: the online store has no features of it"
            items.append({key: request[key], "prediction": None, "features_at": None, "error": error})
            continue
        features_at = entity["features_at"]
        items.append({
            key: request[key], "prediction": scores[position], "features_at": features_at and features_at.isoformat()
        })  # fmt: skip
        rows.append(
            Prediction(
                model=spec.model, version=loaded.version.number, request_id=request_id, position=position, entity=str(request[key]),
                as_of=as_of, features_at=features_at, features=features[position], prediction=scores[position],
            )
        )  # fmt: skip
    return items, rows


def _moment(body: Body) -> datetime:
    """When the prediction is made: now, unless history is replayed."""
    if body.as_of is None:
        return datetime.now(UTC)
    if not settings().replay:
        why = "only a server in replay mode (EVERGREEN_REPLAY=1) takes a request's own as_of; leave it out"
        raise RequestValidationError(
            [{"type": "replay_off", "loc": ("body", "as_of"), "msg": why, "input": body.as_of.isoformat()}]
        )
    return body.as_of.astimezone(UTC)


def _has_folder(model: str) -> bool:
    return model in {folder.name for folder in folders(settings().models)}


def _slot(models: Models, model: str) -> Slot:
    if model not in models.slots:
        raise HTTPException(404, f"unknown model {model!r}; known: {', '.join(models.slots) or 'none'}")
    return models.slots[model]


def _serving(slot: Slot) -> Loaded:
    if slot.current is None:
        raise HTTPException(
            503, f"no version of {slot.model} serves yet" + (f": {slot.problem}" if slot.problem else "")
        )
    return slot.current


def _administrator(authorization: Annotated[str, Header()] = "") -> None:
    expected = f"Bearer {settings().server_token}"
    if settings().server_token and not secrets.compare_digest(authorization.encode(), expected.encode()):
        raise HTTPException(401, "this endpoint needs `Authorization: Bearer <EVERGREEN_SERVER_TOKEN>`")


def _described(slot: Slot) -> dict[str, Any]:
    current = slot.current
    return {
        "model": slot.model,
        "version": current and current.version.number,
        "as_of": current and current.version.as_of.isoformat(),
        "loaded_at": current and current.loaded_at.isoformat(),
        "role": _role(slot),
        "problem": slot.problem,
    }


def _role(slot: Slot) -> Literal["champion", "last known good"] | None:
    if slot.current is None:
        return None
    return "last known good" if slot.fallback else "champion"


def _refusal(request: Request, status: int, detail: object) -> Response:
    # Escaped to ASCII: a name that the client chose may be no valid text.
    content = json.dumps({"detail": detail, "request_id": request.state.id})
    return Response(content, status, media_type="application/json")
