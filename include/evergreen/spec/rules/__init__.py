"""What the shape of `model.yaml` and `data.yaml` cannot say: its keys against each other. Pure.

A rule takes the spec, or one of its sources, views or families by name, and yields mistakes. So that all mistakes are
told at once, rules also look at a spec with misshapen keys; a rule that reads one of those (`NotStated`) has nothing to
add.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import TypeVar

from evergreen.spec.dataset import DatasetSpec
from evergreen.spec.mistakes import MOST_FOUND, Mistake
from evergreen.spec.partial import NotStated, stated_or
from evergreen.spec.rules import days, gates, learning, queries, risk, rollout, sources, views
from evergreen.spec.rules.wording import Mistakes
from evergreen.spec.schema import ModelSpec

Spec = TypeVar("Spec", ModelSpec, DatasetSpec)

_OF_MODEL = (*days.OF_SPEC, *queries.OF_SPEC, *learning.OF_SPEC, *gates.OF_SPEC, *rollout.OF_SPEC, *risk.OF_SPEC)
_OF_MODEL_ENTRIES = {"features": queries.OF_ENTRIES, "families": learning.OF_ENTRIES}
_OF_DATASET = (*days.OF_DATASET, *sources.OF_DATASET, *views.OF_DATASET)
_OF_DATASET_ENTRIES = {"sources": sources.OF_ENTRIES, "features": views.OF_ENTRIES}


def of_model(spec: ModelSpec) -> list[Mistake]:
    """Every mistake that the rules find of what a model declares beside its data; the spec may be partial."""
    return collected(_applications(spec, _OF_MODEL, _OF_MODEL_ENTRIES))


def of_dataset(spec: DatasetSpec) -> list[Mistake]:
    """Every mistake that the rules find of data; the spec may be partial."""
    return collected(_applications(spec, _OF_DATASET, _OF_DATASET_ENTRIES))


def collected(findings: Iterable[Mistakes]) -> list[Mistake]:
    """What the findings yield, up to a bound; a finding ends where it reads a key that is not stated."""
    mistakes: list[Mistake] = []
    for finding in findings:
        with suppress(NotStated):
            mistakes.extend(islice(finding, MOST_FOUND - len(mistakes)))
    return mistakes


def _applications(
    spec: Spec,
    of_spec: Sequence[Callable[[Spec], Mistakes]],
    of_entries: Mapping[str, Sequence[Callable[[Spec, str], Mistakes]]],
) -> Iterator[Mistakes]:
    for rule in of_spec:
        yield rule(spec)
    for section, rules in of_entries.items():
        for name in stated_or(spec, section, ()):
            yield from (each(spec, name) for each in rules)
