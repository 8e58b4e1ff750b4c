"""What a refused body costs the server, and in which words its client is told."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi import HTTPException, Request
from fastapi.exceptions import RequestValidationError

from evergreen.serve.bodies import read
from evergreen.serve.messages import MAX_BATCH, request_type
from evergreen.spec.load import load_spec

CHURN = request_type(load_spec(Path(__file__).parents[3] / "include/models/churn"))
MEGABYTE = 1_000_000


def parsed(content: bytes, kind: str = "application/json") -> Any:
    """The body as a request brings it."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": content, "more_body": False}

    headers = [(b"content-type", kind.encode("latin-1"))]
    return asyncio.run(read(Request({"type": "http", "headers": headers}, receive), CHURN))


def mistakes(content: bytes) -> list[dict[str, Any]]:
    with pytest.raises(RequestValidationError) as raised:
        parsed(content)
    return list(raised.value.errors())


def entities(count: int) -> bytes:
    return json.dumps({"entities": [{"customer_id": f"c-{number}"} for number in range(count)]}).encode()


def filled(start: str, piece: Callable[[int], str], end: str) -> bytes:
    """A body of nearly a megabyte."""
    size = len(piece(10**5)) + 1
    return (start + ",".join(map(piece, range((MEGABYTE - 100) // size))) + end).encode()


FULL_OF_MISTAKES = {
    "entities that are none": filled('{"entities": [', lambda _: "0", "]}"),
    "unknown names of an entity": filled('{"entity": {"customer_id": "c", ', lambda n: f'"{n:05}":0', "}}"),
    "unknown names": filled("{", lambda n: f'"{n:05}":0', "}"),
    "the same name": filled('{"entity": {', lambda _: '"customer_id":"c"', "}}"),
}


@pytest.mark.parametrize("name", FULL_OF_MISTAKES)
def test_a_megabyte_of_mistakes_is_told_by_few_and_holds_nobody_up(name: str) -> None:
    content, taken = FULL_OF_MISTAKES[name], []
    for _ in range(3):
        started = time.process_time()
        reported = mistakes(content)
        taken.append(time.process_time() - started)
    assert 1 <= len(reported) <= 20
    assert min(taken) < 0.4, f"{min(taken):.2f} s of the event loop"


def test_more_entities_than_a_request_may_have_are_too_large_and_not_read() -> None:
    assert len(parsed(entities(MAX_BATCH)).requested) == MAX_BATCH
    for count in (MAX_BATCH + 1, 10 * MAX_BATCH):
        with pytest.raises(HTTPException) as raised:
            parsed(entities(count))
        assert (raised.value.status_code, raised.value.detail) == (413, f"{count:,} entities; at most 1,000 a request")


@pytest.mark.parametrize(
    ("body", "field", "said"),
    [
        ('{"entities": []}', "entities", "expected at least 1 of them"),
        ('{"entity": {}}', "customer_id", "expected a value"),
        ('{"entity": {"customer_id": 5}}', "customer_id", "expected text"),
        ('{"entity": {"customer_id": ""}}', "customer_id", "expected some text"),
        ('{"entity": {"customer_id": "c", "plan": 1}}', "plan", "expected a name that is known here"),
        ("{}", "body", "expected either `entity` or `entities`"),
        ('{"entity": {"customer_id": "c"}, "as_of": "2026-01-05T00:00:00"}', "as_of", "expected a moment"),
    ],
)
def test_a_mistake_is_told_in_our_words(body: str, field: str, said: str) -> None:
    (mistake,) = mistakes(body.encode())
    assert mistake["loc"][-1] == field and mistake["msg"].startswith(said), mistake
    assert "valid" not in mistake["msg"] and "Input" not in mistake["msg"]


def test_a_content_type_of_a_strangers_is_shown_within_bounds() -> None:
    with pytest.raises(HTTPException) as raised:
        parsed(b"{}", "text/\u00a0\u00ad" + "x" * 60_000)
    assert raised.value.status_code == 415 and len(str(raised.value.detail)) < 300, raised.value.detail
    assert "\u00ad" not in str(raised.value.detail)
