"""Data Docs: one page a run and stage, by Great Expectations' own renderers, readable without a network.

`<reports>/<model>/data_docs/<kind>/<key>.html` holds every table that the stage validated, the failures first. A run writes its
own page only and the path is its partition's, so a rerun replaces it and the cost is the same however many pages there are.
Great Expectations' own page frame loads styles and scripts from the network; ours (page.html) has the few styles inside and
no script, and includes the sections that Great Expectations renders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from great_expectations.core.expectation_validation_result import ExpectationSuiteValidationResult
from great_expectations.render.renderer import ValidationResultsPageRenderer
from great_expectations.render.view import DefaultJinjaPageView

from evergreen.settings import settings
from evergreen.validate.rules import Decision

# Great Expectations' Jinja environment, whose templates and filters render the sections inside our frame.
_VIEW = DefaultJinjaPageView(custom_views_directory=str(Path(__file__).parent))
_TEMPLATE = _VIEW.env.get_template("page.html")
_OVERVIEW = "Overview"  # the section whose numbers and links our own summary replaces


@dataclass(frozen=True)
class Entry:
    """One validated table of a page."""

    table: str
    rows: int
    decision: Decision
    result: ExpectationSuiteValidationResult
    quarantined: str = ""  # how many rows for which reason


def write(model: str, kind: str, key: str, entries: Sequence[Entry]) -> str:
    """Write the page, whole or not at all; returns its URL."""
    renderer = ValidationResultsPageRenderer()
    tables = []
    for entry in entries:
        sections = renderer.render(entry.result).to_json_dict()["sections"]
        tables.append({"entry": entry, "sections": [s for s in sections if s["section_name"] != _OVERVIEW]})
    page = _TEMPLATE.render(model=model, kind=kind, key=key, tables=tables)
    path = Path(model, "data_docs", kind, f"{key}.html")
    file = settings().reports / path
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.{uuid4().hex}")
    partial.write_text(page, encoding="utf-8")
    partial.replace(file)
    return f"{settings().reports_url}/{path.as_posix()}"
