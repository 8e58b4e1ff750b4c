"""A page read without a browser: its elements, what would run, and the text that a reader sees."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

# What makes a browser fetch, run or leave by itself. A page of ours has none of them, whatever stands in the data.
_ACTIVE = {
    "applet",
    "audio",
    "base",
    "embed",
    "form",
    "frame",
    "iframe",
    "img",
    "input",
    "link",
    "math",
    "object",
    "svg",
    "template",
    "video",
}
_ADDRESSES = {
    "action",
    "background",
    "cite",
    "data",
    "formaction",
    "href",
    "ping",
    "poster",
    "src",
    "srcdoc",
    "srcset",
    "xlink:href",
}
_RUNS = {"", "module", "text/javascript", "application/javascript"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    text: str = ""  # between its start and the next tag
    closed: bool = False


@dataclass
class Markup(HTMLParser):
    """The parsed page."""

    page: str
    elements: list[Element] = field(default_factory=list)
    text: str = ""

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.feed(self.page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        self.elements[-1].closed = True

    def handle_data(self, data: str) -> None:
        if self.elements and not self.elements[-1].closed:
            self.elements[-1].text += data
        self.text += data

    def of(self, tag: str) -> list[Element]:
        return [element for element in self.elements if element.tag == tag]

    @property
    def scripts(self) -> list[str]:
        """The text of every script that a browser would run."""
        return [script.text for script in self.of("script") if script.attributes.get("type", "") in _RUNS]

    @property
    def policy(self) -> dict[str, list[str]]:
        """The Content-Security-Policy that the page states first of all; a later one would come too late."""
        position = [element.tag for element in self.elements].index("head")
        first = self.elements[position + 1]
        assert (first.tag, first.attributes.get("http-equiv")) == ("meta", "Content-Security-Policy"), first
        return parsed(first.attributes["content"])


def parsed(policy: str) -> dict[str, list[str]]:
    """A policy's directives."""
    return {name: values for name, *values in (part.split() for part in policy.split(";") if part.strip())}


def digest(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def check_harmless(page: str, *, drawings: int = 0) -> Markup:
    """Assert that nothing in the page but its own scripts can run, and that it loads nothing;
    returns the parsed page.

    Args:
        drawings: SVGs of the page's own; one more came with the data.
    """
    parsed = Markup(page)
    policy = parsed.policy
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == ["'none'"]
    own = [value for value in policy["script-src"] if value != "'none'"]
    assert all(value.startswith("'sha256-") for value in own), f"scripts are named by their hashes alone: {own}"
    assert sorted(map(digest, parsed.scripts)) == sorted(own), (
        "a script that the page does not name, or the other way round"
    )
    assert len(parsed.of("svg")) == drawings
    for element in parsed.elements:
        assert element.tag not in _ACTIVE - {"svg"}, element
        assert element.attributes.get("http-equiv", "").lower() in ("", "content-security-policy"), element
        for name, value in element.attributes.items():
            assert not name.startswith("on"), f"{element.tag} has the handler {name}"
            if name in _ADDRESSES:
                assert element.tag == "a" and re.match(r"#|[^:/]+(/[^:/]+)*$", value), f"{element.tag} leads to {value}"
    return parsed
