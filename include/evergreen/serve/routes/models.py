"""What serves."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from evergreen.serve.beside import Beside
from evergreen.serve.slot import Slot
from evergreen.serve.state import Shared

router = APIRouter()


@router.get("/models")
async def list_models(server: Shared) -> dict[str, Any]:
    """What serves, and what will stop it unless somebody acts."""
    return {"models": [described(slot) for slot in server.models.all()], "warnings": server.warnings}


@router.get("/models/{model}")
async def describe(model: str, server: Shared) -> dict[str, Any]:
    """What serves of one model."""
    return described(server.slot(model))


def described(slot: Slot) -> dict[str, Any]:
    """A model's place as clients see it."""
    current = slot.current
    return {
        "model": slot.model,
        "version": current and current.version.number,
        "threshold": current and current.threshold,
        "as_of": current and current.version.as_of.isoformat(),
        "loaded_at": current and current.loaded_at.isoformat(),
        "role": slot.role,
        "beside": slot.beside and _beside(slot.beside),
        "problem": slot.problem,
        "problems": slot.problems,
        "looked": slot.looked,
    }


def _beside(beside: Beside) -> dict[str, Any]:
    """The version of an open rollout."""
    second = beside.second
    return {"version": second.version, "role": second.role, "share": second.share, "rollout": second.rollout}
