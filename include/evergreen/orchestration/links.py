"""Buttons on a task's page: the pages that its hand-over, or its error, names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink

from evergreen.links import Link

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator


class Button(BaseOperatorLink):
    """The button of one kind of page; `address` is known once the task has run."""

    def __init__(self, link: Link, address: str = "") -> None:
        self.link = link
        self.address = address

    @property
    def name(self) -> str:
        return self.link.value

    @property
    def xcom_key(self) -> str:
        return f"_link_{self.link.name}"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        return self.address


BUTTONS = tuple(Button(link) for link in Link)


def leading_to(pages: Mapping[Link, str]) -> tuple[Button, ...]:
    """The buttons of a task that has run: Airflow sends each in a request of its own, so there is none without a
    page."""
    return tuple(Button(link, address) for link, address in pages.items())
