"""The files of a candidate that are texts: the papers of a version, and what was installed where it was fitted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self


@dataclass(frozen=True)
class _Text:
    """A file of text."""

    text: str

    def to_bytes(self) -> bytes:
        """UTF-8."""
        return self.text.encode()

    @classmethod
    def of_bytes(cls, content: bytes) -> Self:
        """Of UTF-8."""
        return cls(content.decode())


@dataclass(frozen=True)
class CardText(_Text):
    """The card of a version, in Markdown."""

    NAME: ClassVar[str] = "card.md"


@dataclass(frozen=True)
class CardPage(_Text):
    """The same as a page."""

    NAME: ClassVar[str] = "card.html"


@dataclass(frozen=True)
class ReportText(_Text):
    """The gate report of a version, as its gates wrote it, in Markdown."""

    NAME: ClassVar[str] = "gate_report.md"


@dataclass(frozen=True)
class ReportPage(_Text):
    """The same as a page."""

    NAME: ClassVar[str] = "gate_report.html"


@dataclass(frozen=True)
class Lock(_Text):
    """Every distribution that was installed where a candidate was fitted, a line `name==version` for each."""

    NAME: ClassVar[str] = "requirements.lock"
