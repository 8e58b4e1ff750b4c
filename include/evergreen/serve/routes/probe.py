"""Predictions from given features: all that a server which probes one version answers."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from evergreen.serve.state import Shared

router = APIRouter()


class Probe(BaseModel):
    """Rows of features to predict from."""

    model_config = ConfigDict(extra="forbid")
    features: Annotated[list[dict[str, Any]], Field(min_length=1)]


@router.post("/models/{model}/probe")
def predict_given(model: str, body: Probe, server: Shared) -> dict[str, Any]:
    """Predict from the given features. Only while a version is being probed."""
    loaded = server.serving(model)
    return {"version": loaded.version.number, "predictions": loaded.predict(body.features).tolist()}
