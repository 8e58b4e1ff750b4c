"""Predictions for clients, from what the online store knows of the entities and from what the request says."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from evergreen.features.store import online_features
from evergreen.serve.bodies import read
from evergreen.serve.messages import Body
from evergreen.serve.models import Loaded
from evergreen.serve.predictions import Prediction
from evergreen.serve.state import SharedServing
from evergreen.settings import settings

MAX_BATCH = 1_000  # entities of one request
PATH = "/models/{model}/predict"
WORKERS = 4  # threads that read features and predict
_PATIENCE = 10.0  # seconds that a request waits for its features and its prediction, most of it for a free thread
_LOG_PATIENCE = 30.0  # seconds that an answer waits for its rows to be committed

router = APIRouter()


@router.post(PATH)
async def predict(model: str, request: Request, server: SharedServing) -> Response:
    """Answer once every row is in the prediction log."""
    loaded = server.serving(model)
    body: Body = await read(request, loaded.request_type)  # type: ignore[assignment]  # its type is made from the spec
    if len(body.asked) > MAX_BATCH:
        raise HTTPException(413, f"{len(body.asked):,} entities; at most {MAX_BATCH:,} a request")
    as_of = _moment(body)
    asked = [entity.model_dump() for entity in body.asked]
    answers = asyncio.get_running_loop().run_in_executor(
        server.workers, _answers, loaded, asked, request.state.id, as_of
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
            await asyncio.wait_for(asyncio.wrap_future(server.log.append(rows)), _LOG_PATIENCE)
        except TimeoutError:
            raise HTTPException(503, f"the prediction log did not commit within {_LOG_PATIENCE:.0f} s") from None
    server.metrics.predicted(loaded, len(rows), len(items) - len(rows))
    return JSONResponse({
        "request_id": request.state.id, "model": model, "version": loaded.version.number, "as_of": as_of.isoformat(),
        "predictions": items,
    })  # fmt: skip


def _answers(
    loaded: Loaded, asked: Sequence[Mapping[str, Any]], request_id: str, as_of: datetime
) -> tuple[list[dict[str, Any]], list[Prediction]]:
    """One item a request, in their order, and the rows to log. Of an entity that neither the online store nor the request itself
    tells anything about there is no prediction."""
    spec, key = loaded.spec, loaded.spec.entity.key
    inputs = list(spec.request.inputs) if spec.request else []
    found = online_features(spec, asked)
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
