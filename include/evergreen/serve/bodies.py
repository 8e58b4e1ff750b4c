"""The JSON body of a request, as a value of the type that the endpoint takes."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from fastapi import HTTPException, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

Kind = TypeVar("Kind", bound=BaseModel)


async def read(request: Request, kind: type[Kind]) -> Kind:
    """The request's body; 415 and 422 when it is no JSON of the type."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip()
    if content_type.lower() != "application/json":
        raise HTTPException(415, f"content-type {content_type!r}: send application/json")
    content = await request.body()
    try:
        body = kind.model_validate_json(content)
    except ValidationError as error:
        mistakes = error.errors(include_url=False, include_context=False, include_input=False)
        raise RequestValidationError([{**mistake, "loc": ("body", *mistake["loc"])} for mistake in mistakes]) from error
    _refuse_duplicates(content)
    return body


def _refuse_duplicates(content: bytes) -> None:
    """Of a key that is there twice pydantic takes the last: the client may have meant the first.

    It has read the content before, so that it is JSON, of bounded depth.
    """
    twice: list[str] = []

    def keys(pairs: list[tuple[str, Any]]) -> None:
        names = {name for name, _ in pairs}
        if len(names) < len(pairs):
            seen: set[str] = set()
            twice.extend(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]

    json.loads(
        content.decode(), object_pairs_hook=keys, parse_int=len, parse_float=len, parse_constant=len
    )  # numbers do not matter
    if twice:
        raise RequestValidationError(
            [
                {"type": "duplicate_key", "loc": ("body", name), "msg": "the key stands twice in one object"}
                for name in twice
            ]
        )
