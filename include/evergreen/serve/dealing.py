"""A request while a rollout is open: each of its entities is answered by the champion or by the version beside it. No
client is told of a failure of the latter: then the champion answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace

from starlette.exceptions import HTTPException

from evergreen.errors import TransientError
from evergreen.serve import deadlines
from evergreen.serve.answering import Asked, Made, failures, joined
from evergreen.serve.beside import Beside
from evergreen.serve.predictions import Prediction
from evergreen.serve.state import ServingState

PATIENCE = 2.0  # seconds in which the version beside the champion must have answered


async def answered(server: ServingState, asked: Asked, beside: Beside, content: bytes) -> Made:
    """The answer to a request to the champion.

    Args:
        content: the request's body.

    Raises:
        HTTPException: 503, the server is too busy.
        TransientError: the features cannot be read.
    """
    asked = beside.dealt(asked)
    places = [] if beside.shadow else beside.places(asked.entities)
    if not places:
        return await _champion(server, asked, beside)
    theirs = set(places)
    rest = [at for at in range(len(asked.entities)) if at not in theirs]
    if not rest:
        tried = await _other(server, asked, beside, places, content)
        return tried if isinstance(tried, Made) else replace(await _champion(server, asked, beside), failed=tried)
    ours, instead = asked.part(rest), asked.part(places)
    made, tried = await asyncio.gather(_champion(server, ours, beside), _other(server, asked, beside, places, content))
    if isinstance(tried, Made):
        return joined((ours, made), (beside.asked(asked).part(places), tried))
    return replace(joined((ours, made), (instead, await _champion(server, instead, beside))), failed=tried)


async def _champion(server: ServingState, asked: Asked, beside: Beside) -> Made:
    started = time.perf_counter()
    try:
        made = await server.worked(asked)
    except (HTTPException, TransientError):  # says nothing of the version
        raise
    except Exception:
        server.guards.saw(beside, champion=True, seconds=None, as_of=asked.as_of)
        raise
    server.guards.saw(beside, champion=True, seconds=time.perf_counter() - started, as_of=asked.as_of)
    return made


async def _other(
    server: ServingState, asked: Asked, beside: Beside, places: Sequence[int], content: bytes
) -> Made | list[Prediction]:
    """The answer of the version beside the champion to a part of a request, or the rows that say why there is none."""
    started = time.perf_counter()
    patience = min(PATIENCE, deadlines.left() / 2)  # the rest is the champion's, should it have to answer
    try:
        its = beside.asked(asked, content).part(places)
        made = await asyncio.wait_for(server.worked_beside(its), patience)
    except Exception as error:  # noqa: BLE001  whatever it is: the champion answers
        if isinstance(error, HTTPException | TransientError):  # of the server or the store: no fault of the version
            return []
        why: Exception | str = error
        if isinstance(error, TimeoutError):
            if patience < PATIENCE:  # its client had no more time
                return []
            why = f"no answer within {PATIENCE:g} s"
        server.guards.saw(beside, champion=False, seconds=None, as_of=asked.as_of)
        return failures(beside.asked(asked).part(places), asked.loaded, why, time.perf_counter() - started)
    server.guards.saw(beside, champion=False, seconds=time.perf_counter() - started, as_of=asked.as_of)
    return made
