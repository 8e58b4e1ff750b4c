"""Where the rows of an entity may stand, and what is said of those that were erased. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from evergreen.errors import ErasureRefused
from evergreen.quoting import shown
from evergreen.spec.dataset import DatasetSpec
from evergreen.spec.schema import ModelSpec


@dataclass(frozen=True)
class Learned:
    """A training set that held rows of the entity."""

    model: str
    key: str  # of the training
    versions: tuple[int, ...]  # that came of it; none: no candidate of it was registered
    rows: int


def columns(entity: str, datasets: Iterable[DatasetSpec], models: Iterable[ModelSpec]) -> Mapping[str, frozenset[str]]:
    """Of each dataset and model that has an entity of this name: the columns that name one.

    Raises:
        ErasureRefused: none has.
    """
    named: dict[str, set[str]] = {}
    known: set[str] = set()
    for dataset in datasets:
        known |= dataset.entities.keys()
        if entity in dataset.entities:
            named.setdefault(dataset.name, set()).add(dataset.entities[entity].key)
    for model in models:
        known |= {model.entity.name, *model.references}
        if entity == model.entity.name:
            named.setdefault(model.name, set()).add(model.entity.key)
        elif entity in model.references:
            named.setdefault(model.name, set()).add(model.references[entity].key)
    if not named:
        raise ErasureRefused(
            f"looking where entities of the kind {shown(entity)} stand",
            found="no dataset and no model that declares it",
            expected=f"one of {', '.join(sorted(known)) or 'those that a folder declares'}",
            next_step="name the entity as data.yaml or model.yaml does",
        )
    return {name: frozenset(each) for name, each in sorted(named.items())}


def check(entity: str, key: str, **kept: str) -> None:
    """Whether what is to be kept of an erasure does not itself name the one who is erased.

    Args:
        kept: what the ledger will keep, by the option that says it.

    Raises:
        ErasureRefused: it does, or there is no key.
    """
    doing = f"erasing one {shown(entity)}"
    if not key:
        raise ErasureRefused(
            doing,
            found="an empty key",
            expected="the key as the data has it",
            next_step="give the key of one entity",
        )
    for option, text in kept.items():
        if stands_in(key, text):
            raise ErasureRefused(
                doing,
                found=f"the key in --{option}, which the ledger keeps for ever",
                expected="a text that names nobody, such as the number of the request",
                next_step="say it without the key",
            )


def stands_in(key: str, text: str) -> bool:
    """Whether a text has the key as a word of its own."""
    return re.search(rf"(?<![\w-]){re.escape(key)}(?![\w-])", text) is not None
