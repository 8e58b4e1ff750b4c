"""Predictions for clients, from what the online store knows of the entities and from what the request says."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from evergreen.serve import deadlines, dealing
from evergreen.serve.admission import SMALL, Client, too_busy
from evergreen.serve.answering import Asked, Made
from evergreen.serve.bodies import read
from evergreen.serve.clients import source
from evergreen.serve.drafts import Draft
from evergreen.serve.explained import explained
from evergreen.serve.idempotency import HEADER, REPLAYED, Answer, digest, key_of, same
from evergreen.serve.loaded import Loaded
from evergreen.serve.messages import Body
from evergreen.serve.predictions import Prediction, PredictionLog
from evergreen.serve.state import ServingState, SharedServing
from evergreen.settings import settings

PATH = "/models/{model}/predict"
_LOG_PATIENCE = 30.0  # seconds that an answer waits for its rows to be committed

router = APIRouter()


@router.post(PATH)
async def predict(model: str, request: Request, server: SharedServing) -> Response:
    """Answer once every row is in the prediction log; the same again to a retry with the same `Idempotency-Key`."""
    who = server.keys.client(request.headers.get("authorization", ""), model) or source(
        request.scope, settings().trusted_proxies
    )
    server.slot(model)  # else nothing about it is worth looking up
    deadlines.begin(request.headers)
    header = request.headers.get(HEADER)
    with server.clients.request(who) as client, ExitStack() as held:
        content, keyed = await request.body(), None
        paid = server.clients.read(client, len(content))
        if header is not None:
            keyed = Answer(model, key_of(header), digest(content), request.state.id, b"")
            server.memory.begin(model, keyed.key)
            held.callback(server.memory.end, model, keyed.key)
            async with server.clients.lookup(client):
                remembered = await server.lookups.run(server.memory.find, model, keyed.key)
            if remembered is not None:
                return _again(request, server, same(remembered, keyed.body))
        return await _first(request, server, server.serving(model), client, paid, keyed, held)


def route() -> APIRoute:
    """The endpoint's."""
    (only,) = (each for each in router.routes if isinstance(each, APIRoute))
    return only


async def _first(
    request: Request,
    server: ServingState,
    loaded: Loaded,
    client: Client,
    paid: int,
    keyed: Answer | None,
    held: ExitStack,
) -> Response:
    """Answer a request that is not known yet."""
    body: Body = await read(request, loaded.request_type)  # type: ignore[assignment]  # its type is made from the spec
    count = len(body.requested)
    as_of, pipeline = _moment(body), server.pipeline(count)
    slot = server.slot(loaded.spec.model)
    with server.clients.entities(client, count, paid):
        server.space.admit(count)
        entities = [vars(entity) for entity in body.requested]
        asked = Asked(loaded, entities, request.state.id, as_of, slot.role or "champion", explain=body.explain)
        beside = slot.beside
        if beside is not None and beside.champion is not loaded:
            beside = None  # one of them was swapped a moment ago
        draft = None
        if beside is None:
            if keyed is None and count > SMALL:
                draft = pipeline.log.draft(slot.model, as_of, count)
                held.callback(draft.withdraw)  # unless it is committed
            made = await server.worked(asked, draft)
        else:
            made = await dealing.answered(server, asked, beside, await request.body())
        now, anew = slot.current, asked
        if now is not None and now is not loaded and now.takes(loaded):
            # It waited while another version took the place: what was rolled back from answers no more, however late.
            anew = replace(asked, loaded=now, role=slot.role or "champion")
            if draft is not None:
                draft.withdraw()
                draft = None
            made = await server.worked(anew)
        if body.entity is not None and not made.rows:
            server.metrics.predicted(slot.model, made)
            if made.refused:  # other entities may be answered, and this one once its features are there
                raise HTTPException(503, made.refused[0])
            raise HTTPException(404, made.unknown[0])
        if body.explain:
            made = await server.large.lane.run(explained, anew, made)
        standing = await _logged(pipeline.log, made, keyed and replace(keyed, content=made.content), held, draft)
    if keyed is not None and standing is not None and standing.request_id != keyed.request_id:
        return _again(request, server, same(standing, keyed.body))  # a server beside this one was faster
    server.metrics.predicted(slot.model, made)
    if beside is not None and beside.shadow and made.rows:
        server.shadows.offer(beside, asked, await request.body())
    return Response(made.content, media_type="application/json")


async def _logged(
    log: PredictionLog, made: Made, keyed: Answer | None, held: ExitStack, draft: Draft[Prediction] | None
) -> Answer | None:
    """Wait until the rows are committed, and with them the answer that stands under the key, if there is one.

    Args:
        draft: has the rows already; None: they are not sent yet.
    """
    if not made.rows and keyed is None:
        return None
    deadlines.keep()
    if draft is not None and draft.begun:
        draft.commit()
        committed = draft.done
    else:
        committed = log.append([*made.rows, *made.failed], keyed)
    # A client that is told to ask again must not be faster than a commit that is still on its way.
    until_then = held.pop_all()
    committed.add_done_callback(lambda _: until_then.close())
    try:
        return await deadlines.wait(asyncio.wrap_future(committed), _LOG_PATIENCE)
    except TimeoutError:
        raise too_busy(f"the prediction log did not commit within {_LOG_PATIENCE:.0f} s", 1) from None


def _again(request: Request, server: ServingState, known: Answer) -> Response:
    """The answer that was given before, under the id that it had."""
    server.metrics.replayed(known.model)
    request.state.id = known.request_id
    return Response(known.content, media_type="application/json", headers={REPLAYED: "true"})


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
