"""What the training loop leaves for people beside its chain."""

from __future__ import annotations

from typing import ClassVar

from evergreen.handovers.handover import Handover, TrackedRun
from evergreen.links import Link


class Described(Handover):
    """A training as people find it in MLflow."""

    run: TrackedRun
    """The training's run, below which its candidates and their trials are."""
    trials: int
    """How many trials were logged now; those of an earlier attempt are there."""
    pages: ClassVar = {"run.page": Link.MLFLOW_RUN}
