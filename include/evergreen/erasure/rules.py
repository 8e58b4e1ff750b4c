"""Where the rows of an entity may stand, and what is said of those that were erased. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from evergreen.errors import ErasureRefused
from evergreen.history.events import Event
from evergreen.quoting import shown
from evergreen.spec.dataset import DatasetSpec
from evergreen.spec.keyed import Keyed
from evergreen.spec.schema import ModelSpec


@dataclass(frozen=True)
class Learned:
    """A training set that held rows of the entity."""

    model: str
    key: str  # of the training
    versions: tuple[int, ...]  # that came of it; none: no candidate of it was registered
    rows: int


def keys(
    entity: str, key: str, datasets: Iterable[DatasetSpec], models: Iterable[ModelSpec]
) -> Mapping[str, tuple[frozenset[str], str]]:
    """Of each dataset and model that has an entity of this name: the columns that name one, and the value there.

    Where several columns identify an entity, a key says one of them, `person=P-17`: every row of that value is meant,
    whatever the others are.

    Raises:
        ErasureRefused: none has; or the key does not say which of several columns it is of.
    """
    named: dict[str, tuple[frozenset[str], str]] = {}
    known: set[str] = set()
    for dataset in datasets:
        known |= dataset.entities.keys()
        if entity in dataset.entities:
            named[dataset.name] = _part(entity, dataset.entities[entity], key)
    for model in models:
        known |= {model.entity.name, *model.references}
        own = model.entity if entity == model.entity.name else model.references.get(entity)
        if own is not None:
            columns, value = _part(entity, own, key)
            named[model.name] = (named.get(model.name, (columns, value))[0] | columns, value)
    if not named:
        raise ErasureRefused(
            f"looking where entities of the kind {shown(entity)} stand",
            found="no dataset and no model that declares it",
            expected=f"one of {', '.join(sorted(known)) or 'those that a folder declares'}",
            next_step="name the entity as data.yaml or model.yaml does",
        )
    return dict(sorted(named.items()))


def _part(entity: str, keyed: Keyed, key: str) -> tuple[frozenset[str], str]:
    """The column that a key is of, and its value."""
    columns = keyed.columns
    if len(columns) == 1:
        return frozenset(columns), key
    column, equals, value = key.partition("=")
    if not equals or column not in columns or not value:
        raise ErasureRefused(
            f"looking where entities of the kind {shown(entity)} stand",
            found="a key that does not say which of several columns it is of",
            expected=" or ".join(f"{name}=<value>" for name in columns),
            next_step="name one column: every row that has the value there is erased, whatever the others are",
        )
    return frozenset({column}), value


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


def written(key: str, event: Event) -> bool:
    """Whether who did it or why, which people write, names the one who is erased."""
    return any(stands_in(key, text) for text in (event.reason, event.actor))


def stands_in(key: str, text: str) -> bool:
    """Whether a text has the key as a word of its own."""
    return re.search(rf"(?<![\w-]){re.escape(key)}(?![\w-])", text) is not None
