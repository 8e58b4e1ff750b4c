"""The pages that a task shows as buttons."""

from __future__ import annotations

from enum import StrEnum


class Link(StrEnum):
    """A kind of page; its value is the button's text."""

    MLFLOW_RUN = "MLflow run"  # the run that the task made or used
    GATE_REPORT = "Gate report"  # what the gates said of a candidate, and how it does on parts of the rows
    MODEL_CARD = "Model card"  # what a version is, what it is for and how good it is
    DATA_DOCS = "Data Docs"  # what a contract found in a table
    WINDOW = "Window"  # what the decision about a monitored window was made from
    DRIFT_REPORT = "Drift report"  # how a monitored window differs from its reference
    PERFORMANCE_REPORT = "Performance report"  # how good a monitored window's answers were, by the labels that matured
    MODEL_SERVER = "Model server"  # the server's own page of its models
