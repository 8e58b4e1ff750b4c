"""A paper for people: sections of text, lists and tables, as Markdown and as a page that says the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from evergreen.markdown import plain, table

_BADGES = {"pass": "passed", "fail": "broken", "no evidence": "warnings"}


@dataclass(frozen=True)
class Table:
    """Rows below heads; what is a number stands to the right."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: tuple[int, ...] = ()  # the columns that are numbers


@dataclass(frozen=True)
class Section:
    """A heading, and what stands below it: sentences, points, then tables."""

    heading: str
    text: tuple[str, ...] = ()
    points: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True)
class Paper:
    """A title, what is said at once, and sections."""

    title: str
    summary: str
    sections: tuple[Section, ...]
    links: dict[str, str] = field(default_factory=dict)  # text → address

    def markdown(self) -> str:
        """The paper in Markdown. All texts are texts: what stands in one makes no link and no element."""
        return "\n".join(self._markdown()) + "\n"

    def page(self) -> str:
        """The paper as a page, which needs no network and no script."""
        from markupsafe import Markup

        from evergreen.reports.pages import render, style
        from evergreen.reports.policy import policy

        template = Path(__file__).with_name("paper.html")
        return render(template, paper=self, badges=_BADGES, style=Markup(style()), policy=policy(style=style()))

    def _markdown(self) -> Iterator[str]:
        yield f"# {plain(self.title)}\n"
        yield f"{plain(self.summary)}\n"
        if self.links:
            yield " · ".join(f"[{plain(text)}]({address})" for text, address in self.links.items()) + "\n"
        for section in self.sections:
            yield f"## {plain(section.heading)}\n"
            yield from (f"{plain(each)}\n" for each in section.text)
            if section.points:
                yield from (f"- {plain(each)}" for each in section.points)
                yield ""
            for each in section.tables:
                yield from table(tuple(map(plain, each.heads)), (tuple(map(plain, row)) for row in each.rows))
                yield ""


def pairs(rows: Sequence[tuple[str, str]]) -> Table:
    """A table of what is called what."""
    return Table(("", ""), tuple(rows))
