"""Buttons on a task's page. A stage names its pages in `run.links`; a task process shows them, also after a failure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator


class Instance(Protocol):
    """What names a task instance; Airflow hands a task instance or its key."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int


# The links of the tasks that this process ran, by task instance: a task process runs one, `dag.test()` runs them all.
_published: dict[tuple[str, str, str, int], dict[str, str]] = {}


def publish(ti_key: Instance, links: dict[str, str]) -> None:
    """Keep what a stage linked, for `get_link`, which Airflow calls in the same process once the task has ended."""
    _published[_key(ti_key)] = links


def _key(ti_key: Instance) -> tuple[str, str, str, int]:
    return (ti_key.dag_id, ti_key.run_id, ti_key.task_id, ti_key.map_index)


class StageLink(BaseOperatorLink):
    """One named link."""

    name = ""

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        return _published.get(_key(ti_key), {}).get(self.name, "")


class MlflowRunLink(StageLink):
    """The MLflow run that the task made or used."""

    name = "MLflow run"


class DataDocsLink(StageLink):
    """The Great Expectations page of the batch."""

    name = "Data Docs"


class DriftReportLink(StageLink):
    """The Evidently report of the window."""

    name = "Drift report"


class ModelServerLink(StageLink):
    """The model server's page of the model."""

    name = "Model server"
