"""The JSON body of a request, as a value of the type that the endpoint takes."""

from __future__ import annotations

from typing import TypeVar

from fastapi import HTTPException, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

Kind = TypeVar("Kind", bound=BaseModel)


async def read(request: Request, kind: type[Kind]) -> Kind:
    """The request's body; 415 and 422 when it is no JSON of the type."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip()
    if content_type != "application/json":
        raise HTTPException(415, f"content-type {content_type!r}: send application/json")
    try:
        return kind.model_validate_json(await request.body())
    except ValidationError as error:
        mistakes = error.errors(include_url=False, include_context=False, include_input=False)
        raise RequestValidationError([{**mistake, "loc": ("body", *mistake["loc"])} for mistake in mistakes]) from error
