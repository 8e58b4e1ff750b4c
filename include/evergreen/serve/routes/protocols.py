"""The endpoints of other servers' protocols. Each asks the endpoint of ours: who may ask, what is refused and what is
logged is decided there alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from evergreen.errors import EvergreenError
from evergreen.quoting import shown
from evergreen.serve import refusals
from evergreen.serve.protocols import mlflow_scoring, open_inference, tensorflow_serving
from evergreen.serve.protocols.translation import Asking, Spoken, parsed
from evergreen.serve.routes.predict import predict
from evergreen.serve.state import Shared, SharedServing
from evergreen.spec.schema import ModelSpec

router = APIRouter()
_REFUSALS = (EvergreenError, HTTPException, RequestValidationError)


class _Translated(Request):
    """A request whose body is ours, made of another protocol's when it is first read: by then it is known who asks, and
    that they may."""

    def __init__(self, request: Request, protocol: Spoken, server: SharedServing, model: str) -> None:
        others = [(name, value) for name, value in request.scope["headers"] if name != b"content-type"]
        headers = [*others, (b"content-type", b"application/json")]
        super().__init__({**request.scope, "headers": headers}, request.receive)
        self._theirs, self._protocol, self._server, self._model = request, protocol, server, model
        self._ours: bytes | None = None
        self.asking: Asking | None = None

    async def body(self) -> bytes:
        """In our form."""
        if self._ours is None:
            spec: ModelSpec = self._server.serving(self._model).spec
            _refuse_other_content(self._theirs)
            self.asking = self._protocol.asked(parsed(await self._theirs.body()), spec)
            moment = {} if self.asking.as_of is None else {"as_of": self.asking.as_of}
            self._ours = json.dumps({"entities": list(self.asking.entities), **moment}).encode()
        return self._ours


def _json(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    # Escaped to ASCII: a name that the client chose may be no valid text.
    return Response(json.dumps(content, allow_nan=False), status, headers, media_type="application/json")


def _refuse_other_content(request: Request) -> None:
    """Some of the protocols' clients send no content type, and some one that means nothing."""
    stated = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if stated not in ("", "application/json", "application/octet-stream", "application/x-www-form-urlencoded"):
        raise HTTPException(415, f"content-type {shown(stated)}: send application/json")
    if request.headers.get("content-encoding", "identity") != "identity":
        raise HTTPException(415, "a compressed body: send it as it is")


async def _answered(protocol: Spoken, model: str, request: Request, server: SharedServing) -> Response:
    """The answer of our endpoint, or its refusal, in the words of a protocol."""
    translated = _Translated(request, protocol, server, model)
    try:
        response = await predict(model, translated, server)
    except _REFUSALS as error:
        return _refused(protocol, request, error)
    assert translated.asking is not None, "our endpoint reads the body before it answers"
    kept = {name: value for name, value in response.headers.items() if name not in ("content-length", "content-type")}
    return _json(translated.asking.answer(json.loads(bytes(response.body))), headers=kept)


def _refused(protocol: Spoken, request: Request, error: Exception) -> Response:
    """Our refusal in the words of a protocol."""
    refused = refusals.answer(request, error)
    why = _in_words(json.loads(bytes(refused.body))["detail"])
    content = protocol.refused(refused.status_code, f"{why} (request {request.state.id})")
    kept = {name: value for name, value in refused.headers.items() if name in ("retry-after", "www-authenticate")}
    return _json(content, refused.status_code, kept)


def _told(protocol: Spoken, request: Request, tell: Callable[[], Any]) -> Response:
    """What is told of a model, or that there is none, in the words of a protocol."""
    try:
        return _json(tell())
    except _REFUSALS as error:
        return _refused(protocol, request, error)


def _in_words(detail: Any) -> str:
    """A refusal's detail as one text."""
    if isinstance(detail, list):
        return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in detail)
    if isinstance(detail, dict):
        return "; ".join(f"{name}: {value}" for name, value in detail.items())
    return str(detail)


@router.get("/v2")
async def server_metadata(request: Request) -> dict[str, Any]:
    """Open Inference Protocol: which server this is."""
    return open_inference.server(request.app.version)


@router.get("/v2/health/live")
async def live() -> dict[str, bool]:
    """Open Inference Protocol: the process lives."""
    return {"live": True}


@router.get("/v2/health/ready")
async def ready(server: Shared) -> Response:
    """Open Inference Protocol: as `/readyz`."""
    is_ready = server.models.ready() and not server.refuses
    return _json({"ready": is_ready}, 200 if is_ready else 503)


@router.get("/v2/models/{model}")
async def model_metadata(model: str, request: Request, server: Shared) -> Response:
    """Open Inference Protocol: what a request and an answer of a model hold."""
    return _told(open_inference, request, lambda: open_inference.described(server.serving(model)))


@router.get("/v2/models/{model}/ready")
async def model_ready(model: str, request: Request, server: Shared) -> Response:
    """Open Inference Protocol: a version of the model serves."""
    return _told(open_inference, request, lambda: {"name": server.serving(model).spec.model, "ready": True})


@router.post("/v2/models/{model}/infer")
async def infer(model: str, request: Request, server: SharedServing) -> Response:
    """Open Inference Protocol: predictions."""
    return await _answered(open_inference, model, request, server)


@router.get("/v1/models/{model}")
async def model_status(model: str, request: Request, server: Shared) -> Response:
    """TensorFlow Serving: which version serves."""
    return _told(tensorflow_serving, request, lambda: tensorflow_serving.status(server.serving(model).version.number))


@router.post("/v1/models/{model}:predict")
async def predict_instances(model: str, request: Request, server: SharedServing) -> Response:
    """TensorFlow Serving: predictions."""
    return await _answered(tensorflow_serving, model, request, server)


@router.post("/models/{model}/invocations")
async def invocations(model: str, request: Request, server: SharedServing) -> Response:
    """MLflow: predictions."""
    return await _answered(mlflow_scoring, model, request, server)


@router.post("/invocations")
async def invocations_of_the_only_model(request: Request, server: SharedServing) -> Response:
    """MLflow: predictions, of a server with one model."""
    models = list(server.models.slots)
    if len(models) != 1:
        why = f"this server has {len(models)} models: ask /models/<model>/invocations"
        return _json(mlflow_scoring.refused(404, why), 404)
    return await _answered(mlflow_scoring, models[0], request, server)


@router.get("/ping")
async def ping(server: Shared) -> Response:
    """MLflow and SageMaker: as `/readyz`."""
    return await ready(server)
