"""What the shape of `model.yaml` cannot say: its keys against each other. Pure.

A rule takes the spec, or one of its sources, views or families by name, and yields mistakes. So that all mistakes are
told at once, rules also look at a spec with misshapen keys; a rule that reads one of those (`NotStated`) has nothing to
add.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice

from evergreen.spec.mistakes import MOST_FOUND, Mistake
from evergreen.spec.partial import NotStated, stated_or
from evergreen.spec.rules import days, learning, queries, sources
from evergreen.spec.rules.wording import Mistakes
from evergreen.spec.schema import ModelSpec

_OF_SPEC = (*days.OF_SPEC, *queries.OF_SPEC, *learning.OF_SPEC)
_OF_ENTRIES = {"sources": sources.OF_ENTRIES, "features": queries.OF_ENTRIES, "families": learning.OF_ENTRIES}


def mistakes(spec: ModelSpec) -> list[Mistake]:
    """Every mistake that the rules find; the spec may be partial."""
    return collected(_applications(spec))


def collected(findings: Iterable[Mistakes]) -> list[Mistake]:
    """What the findings yield, up to a bound; a finding ends where it reads a key that is not stated."""
    mistakes: list[Mistake] = []
    for finding in findings:
        with suppress(NotStated):
            mistakes.extend(islice(finding, MOST_FOUND - len(mistakes)))
    return mistakes


def _applications(spec: ModelSpec) -> Iterator[Mistakes]:
    for rule in _OF_SPEC:
        yield rule(spec)
    for section, rules in _OF_ENTRIES.items():
        for name in stated_or(spec, section, ()):
            yield from (rule(spec, name) for rule in rules)
