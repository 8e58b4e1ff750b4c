"""How the rules word a mistake of `model.yaml`, and what several of them look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import timedelta
from pathlib import PurePosixPath

from evergreen.spec.columns import RESERVED_KEYS
from evergreen.spec.durations import duration_text
from evergreen.spec.keyed import Keyed
from evergreen.spec.mistakes import FILE, Mistake, nearest, one_of

Mistakes = Iterator[Mistake]


def mistake(key: str, found: object, allowed: str, fix: str) -> Mistake:
    """A mistake at a key of `model.yaml`."""
    text = duration_text(found) if isinstance(found, timedelta) else str(found)
    return Mistake(FILE, key, text, allowed, fix)


def unknown(key: str, name: str, known: Iterable[str], otherwise: str) -> Mistake:
    """A name that is none of those that are known; `otherwise`: what to do when it is near none of them."""
    known = list(known)
    return mistake(key, name, one_of(known), nearest(name, known, otherwise))


def undeclared(key: str, names: Iterable[str], known: Collection[str], section: str) -> Mistakes:
    """Names that a section does not declare."""
    for name in names:
        if name not in known:
            yield unknown(key, name, known, f"declare {name} under {section}")


def repeated(key: str, names: Sequence[str]) -> Mistakes:
    """Names that a list has more than once."""
    for name, times in Counter(names).items():
        if times > 1:
            yield mistake(key, f"{name}, {times} times", "each name once", f"remove one {name}")


def places(key: str, entity: Keyed) -> Iterator[tuple[str, str]]:
    """The columns that identify an entity, each with where it is declared."""
    for column in entity.columns:
        yield (f"{key}.keys.{column}" if entity.keys else f"{key}.key"), column


def reserved(key: str, entity: Keyed) -> Mistakes:
    """Keys of a name that is taken: they stand beside Evergreen's columns in tables, and beside an answer's fields."""
    for place, column in places(key, entity):
        if column in RESERVED_KEYS:
            yield mistake(place, column, f"a name other than {one_of(RESERVED_KEYS)}", "rename the key")


def inside(key: str, stated: str | None) -> Mistakes:
    """A file that lies outside of the model's folder."""
    if stated is not None and not stays_below(stated):
        yield mistake(key, stated, "a file of the model's folder", "name it by its path from the model's folder")


def stays_below(stated: str) -> bool:
    """Whether a path leads to a place below where it begins."""
    path = PurePosixPath(stated)
    return (
        stated != "" and not path.is_absolute() and ".." not in path.parts and "\\" not in stated and ":" not in stated
    )
