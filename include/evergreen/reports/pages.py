"""Report pages: built from templates that escape what they are given, and written whole or not at all."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from evergreen import files
from evergreen.quoting import lines
from evergreen.settings import settings

if TYPE_CHECKING:
    from jinja2 import Environment, Template

_LONGEST = 10_000  # characters of one value on a page


def render(template: Path, **values: Any) -> str:
    """A page.

    Every value is text: escaped, its invisible characters shown; only `markupsafe.Markup` is taken as it is.
    """
    return compiled(template).render(values)


def compiled(template: Path) -> Template:
    """A template as code, as its file is now; it is compiled once a process, until the file changes."""
    return _environment(template.parent).get_template(template.name)


def publish(below: str, page: str) -> str:
    """Write a page below the reports' folder, in place of the one of an earlier run; returns its URL."""
    file = settings().reports / below
    with files.whole(file) as partial:
        files.remove_partial(file.parent)  # what a killed writer of such a page left
        partial.write_text(page, encoding="utf-8")
    return address(below)


def address(below: str) -> str:
    """The URL of a page below the reports' folder, written or not."""
    return f"{settings().reports_url}/{quote(below)}"


@cache
def style() -> str:
    """The style that the pages of ours share."""
    return Path(__file__).with_name("page.css").read_text(encoding="utf-8")


@cache
def _environment(folder: Path) -> Environment:
    from jinja2 import Environment, FileSystemLoader

    return Environment(
        loader=FileSystemLoader(folder), autoescape=True, trim_blocks=True, lstrip_blocks=True, finalize=_shown
    )


def _shown(value: object) -> object:
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    cut = f"… ({len(value):,} characters)" if len(value) > _LONGEST else ""
    return lines(value[:_LONGEST]) + cut
