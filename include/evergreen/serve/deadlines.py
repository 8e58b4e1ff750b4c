"""When a client stops waiting: what is not done by then is worked on no more.

A request says it as gRPC's clients do (`grpc-timeout: 200m`), or as Envoy tells whatever stands behind it
(`x-envoy-expected-rq-timeout-ms: 200`); of both the sooner counts. The time runs from when the headers were read.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Mapping
from contextvars import ContextVar
from typing import TypeVar

from starlette.exceptions import HTTPException

from evergreen.quoting import shown

GRPC, ENVOY = "grpc-timeout", "x-envoy-expected-rq-timeout-ms"
_SECONDS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_FORMS = {GRPC: re.compile(r"([0-9]{1,8})([HMSmun])"), ENVOY: re.compile(r"([0-9]{1,8})()")}

T = TypeVar("T")
_until: ContextVar[float | None] = ContextVar("deadline", default=None)  # of the monotonic clock


def begin(headers: Mapping[str, str]) -> None:
    """The request of this task has the deadline that its headers say, or none.

    Raises:
        HTTPException: 400, a header says something else.
    """
    seconds = [_seconds(name, headers[name]) for name in _FORMS if name in headers]
    _until.set(time.monotonic() + min(seconds) if seconds else None)


def _seconds(name: str, stated: str) -> float:
    found = _FORMS[name].fullmatch(stated.strip())
    if found is None:
        form = "a whole number and a unit, such as 200m" if name == GRPC else "a whole number of milliseconds"
        raise HTTPException(400, f"{name} {shown(stated)}: expected {form}")
    return int(found[1]) * _SECONDS[found[2] or "m"]


def keep() -> None:
    """Go on only if somebody waits.

    Raises:
        HTTPException: 504, the deadline has passed.
    """
    if left() <= 0:
        raise _passed()


async def wait(done: Awaitable[T], patience: float) -> T:
    """What becomes of something; what is not done in time is cancelled.

    Raises:
        TimeoutError: it was not done within so many seconds.
        HTTPException: 504, the deadline came first.
    """
    remaining = left()
    if remaining > patience:
        return await asyncio.wait_for(done, patience)
    try:
        return await asyncio.wait_for(done, max(0.0, remaining))
    except TimeoutError:
        raise _passed() from None


def left() -> float:
    """Seconds until the request's deadline; infinite without one."""
    until = _until.get()
    return float("inf") if until is None else until - time.monotonic()


def _passed() -> HTTPException:
    return HTTPException(504, "the request's deadline has passed; it is worked on no more")
