"""The JSON body of a request, as a value of the type that the endpoint takes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from fastapi import HTTPException, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from evergreen.quoting import shown
from evergreen.spec.words import needed

_SHOWN = 20  # mistakes of a body
_COPIED = 1_000  # that pydantic is asked for: it has all or none, and a body has room for a hundred thousand

Kind = TypeVar("Kind", bound=BaseModel)


async def read(request: Request, kind: type[Kind]) -> Kind:
    """The request's body; 415 and 422 when it is no JSON of the type, 413 when a list in it is too long."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip()
    if content_type.lower() != "application/json":
        raise HTTPException(415, f"content-type {shown(content_type)}: send application/json")
    content = await request.body()
    try:
        body = kind.model_validate_json(content)
    except ValidationError as error:
        raise _refused(error) from None
    if names := twice(content):
        raise RequestValidationError(
            [
                {"type": "duplicate_key", "loc": ("body", name), "msg": "the key stands twice in one object"}
                for name in names[:_SHOWN]
            ]
        )
    return body


def _refused(error: ValidationError) -> Exception:
    """What its client is told, in our words where we have some."""
    if error.error_count() > _COPIED:
        why = f"{error.error_count():,} mistakes: too many to be told"
        return RequestValidationError([{"type": "too_many_mistakes", "loc": ("body",), "msg": why}])
    mistakes = error.errors(include_url=False, include_input=False)
    for mistake in mistakes:
        if mistake["type"] == "too_long":
            length, most = mistake["ctx"]["actual_length"], mistake["ctx"]["max_length"]
            return HTTPException(413, f"{length:,} {mistake['loc'][-1]}; at most {most:,} a request")
    return RequestValidationError([_in_our_words(mistake) for mistake in mistakes[:_SHOWN]])


def _in_our_words(mistake: Mapping[str, Any]) -> dict[str, Any]:
    wanted = needed(mistake)
    message = mistake["msg"] if wanted is None else f"expected {wanted}"
    return {"type": mistake["type"], "loc": ("body", *mistake["loc"]), "msg": message}


class _Twice(Exception):
    """A key stands twice."""


def _once(pairs: list[tuple[str, Any]]) -> None:
    if len(pairs) > 1 and len({name for name, _ in pairs}) < len(pairs):
        raise _Twice


_NUMBERS: dict[str, Any] = {"parse_int": len, "parse_float": len, "parse_constant": len}  # which do not matter
_DECODER = json.JSONDecoder(object_pairs_hook=_once, **_NUMBERS)


def twice(content: bytes) -> list[str]:
    """The keys that stand twice in one object of a body. Of such a one pydantic takes the last: the client may have
    meant the first.

    It has read the content before, so that it is JSON, of bounded depth.
    """
    text = content.decode().strip()
    try:
        _DECODER.raw_decode(text)
        return []
    except _Twice:
        return _named_twice(text)


def _named_twice(text: str) -> list[str]:
    found: list[str] = []

    def keys(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        found.extend(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]  # `add` gives nothing, which is false: that is what is used

    json.loads(text, object_pairs_hook=keys, **_NUMBERS)
    return found
