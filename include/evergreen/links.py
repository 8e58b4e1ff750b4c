"""The pages that a task shows as buttons."""

from __future__ import annotations

from enum import StrEnum


class Link(StrEnum):
    """A kind of page; its value is the button's text."""

    MLFLOW_RUN = "MLflow run"  # the run that the task made or used
    DATA_DOCS = "Data Docs"  # what a contract found in a table
    DRIFT_REPORT = "Drift report"  # how a monitored window differs from its reference
    MODEL_SERVER = "Model server"  # the server's own page of its models
