"""Predictions from given features: all that a server which probes one version answers."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field

from evergreen.serve.bodies import read
from evergreen.serve.state import Shared

router = APIRouter()


class Probe(BaseModel):
    """Rows of features to predict from."""

    model_config = ConfigDict(extra="forbid")
    features: Annotated[list[dict[str, Any]], Field(min_length=1, fail_fast=True)]


@router.post("/models/{model}/probe")
async def predict_given(model: str, request: Request, server: Shared) -> dict[str, Any]:
    """Predict from the given features. Only while a version is being probed."""
    loaded = server.serving(model)
    given = await read(request, Probe)
    predictions = await run_in_threadpool(loaded.predict, given.features)
    return {"version": loaded.version.number, "predictions": loaded.spec.problem.answers(predictions)}
