"""Data Docs: one page per run and stage, in the words of Great Expectations' own renderers, readable without a network.

`<reports>/<name>/data_docs/<kind>/<key>.html`, of the dataset or model of that name,
holds every table that the stage validated, the failures first. A run
writes its own page only and the path is its partition's, so a rerun replaces it and the cost is the same however many
pages there are. Great Expectations says what is to be shown, as a tree of content; its HTML templates are not used:
they load styles and scripts from the network, and print values as markup. Ours (page.html) escapes every value and has
no script.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from great_expectations.core.expectation_validation_result import ExpectationSuiteValidationResult
from great_expectations.render.renderer import ValidationResultsPageRenderer
from markupsafe import Markup

from evergreen.reports.pages import publish, render, style
from evergreen.reports.policy import policy
from evergreen.validate.rules import Decision

_OVERVIEW = "Overview"  # the section whose numbers and links our own summary replaces
_PARAMETER = re.compile(r"\$\$|\$(\w+)")  # in a sentence of Great Expectations; two stand for the sign itself


@dataclass(frozen=True)
class Entry:
    """One validated table of a page."""

    table: str
    rows: int
    decision: Decision
    result: ExpectationSuiteValidationResult
    quarantined: str = ""  # how many rows for which reason


def write(name: str, kind: str, key: str, entries: Sequence[Entry]) -> str:
    """Write the page, whole or not at all; returns its URL."""
    renderer = ValidationResultsPageRenderer()
    tables = []
    for entry in entries:
        sections = renderer.render(entry.result).to_json_dict()["sections"]
        tables.append({"entry": entry, "sections": [s for s in sections if s["section_name"] != _OVERVIEW]})
    page = render(
        Path(__file__).with_name("page.html"),
        name=name,
        kind=kind,
        key=key,
        tables=tables,
        parts=_parts,
        style=Markup(style()),
        policy=policy(style=style()),
    )
    return publish(f"{name}/data_docs/{kind}/{key}.html", page)


def _parts(sentence: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """A sentence of Great Expectations in parts: `("text", …)`, `("value", …)` or `("icon", its classes)`."""
    template, values = str(sentence["template"]).strip("\n"), sentence.get("params") or {}
    styles = (sentence.get("styling") or {}).get("params") or {}
    end = 0
    for parameter in _PARAMETER.finditer(template):
        name = parameter[1]
        if name is not None and name not in values:
            continue
        yield "text", template[end : parameter.start()]
        end = parameter.end()
        if name is None:
            yield "text", "$"
        elif styles.get(name, {}).get("tag") == "i":
            yield "icon", " ".join(styles[name].get("classes", []))
        elif name == "formatted_json":  # the only value that is markup: a schema, escaped, between <pre> and </pre>
            yield "value", html.unescape(str(values[name]).removeprefix("<pre>").removesuffix("</pre>"))
        else:
            yield "value", values[name]
    yield "text", template[end:]
