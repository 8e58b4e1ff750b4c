"""Buttons on a task's page: the pages that its hand-over, or its error, names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from airflow.sdk import BaseOperatorLink

from evergreen.links import Link

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator


class Instance(Protocol):
    """What names a task instance; Airflow hands a task instance or its key."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int


# The pages of the tasks that this process ran, by task instance: a task process runs one, `dag.test()` runs them all.
_published: dict[tuple[str, str, str, int], Mapping[Link, str]] = {}


def publish(ti_key: Instance, pages: Mapping[Link, str]) -> None:
    """Keep a task's pages for `get_link`, which Airflow calls in the same process once the task has ended."""
    _published[_key(ti_key)] = pages


def _key(ti_key: Instance) -> tuple[str, str, str, int]:
    return (ti_key.dag_id, ti_key.run_id, ti_key.task_id, ti_key.map_index)


class Button(BaseOperatorLink):
    """The button of one kind of page."""

    def __init__(self, link: Link) -> None:
        self.link = link

    @property
    def name(self) -> str:
        return self.link.value

    @property
    def xcom_key(self) -> str:
        return f"_link_{self.link.name}"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        return _published.get(_key(ti_key), {}).get(self.link, "")


BUTTONS = tuple(Button(link) for link in Link)
