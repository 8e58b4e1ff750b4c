"""What the endpoints of one server share."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, HTTPException, Request

from evergreen.serve.metrics import Metrics
from evergreen.serve.models import Loaded, Models, Slot
from evergreen.serve.predictions import PredictionLog


@dataclass
class State:
    """One server's parts, made once at its start."""

    models: Models
    metrics: Metrics

    def slot(self, model: str) -> Slot:
        """The model's place; 404 without one."""
        if model not in self.models.slots:
            raise HTTPException(404, f"unknown model {model!r}; known: {', '.join(self.models.slots) or 'none'}")
        return self.models.slots[model]

    def serving(self, model: str) -> Loaded:
        """The version that serves; 503 while none does."""
        slot = self.slot(model)
        if slot.current is None:
            why = f": {slot.problem}" if slot.problem else ""
            raise HTTPException(503, f"no version of {model} serves yet{why}")
        return slot.current


@dataclass
class ServingState(State):
    """What predictions for clients need beside the models."""

    log: PredictionLog
    workers: ThreadPoolExecutor  # read features and predict


def _of(request: Request) -> State:
    found: State = request.app.state.server
    return found


Shared = Annotated[State, Depends(_of)]
SharedServing = Annotated[ServingState, Depends(_of)]
