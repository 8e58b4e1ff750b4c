"""What the folders declare, read before a process forks the tasks: none of them reads anew what has not changed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from evergreen import families, readers
from evergreen.spec.asked import Asked, asking
from evergreen.spec.load import Declared, load


@dataclass(frozen=True)
class _Kept:
    models: Path
    data: Path
    brought: tuple[str, ...]
    asked: Asked
    declared: Declared


_kept: list[_Kept] = []  # at most one


def brought() -> tuple[str, ...]:
    """The names that a spec may use of installed packages: of families and of readers."""
    return (*families.names(), *readers.names())


def keep(models: Path, data: Path) -> Declared:
    """Read what the folders declare, for this process and those that are forked from it."""
    with asking() as asked:
        declared = load(models, data)
    _kept[:] = [_Kept(models.absolute(), data.absolute(), brought(), asked, declared)]
    return declared


def declared(models: Path, data: Path) -> Declared:
    """What `load` returns: what is kept, where all folders and every file of them are as they were, else read anew."""
    for kept in _kept:
        same = (models.absolute(), data.absolute(), brought()) == (kept.models, kept.data, kept.brought)
        if same and kept.asked.still_true():
            return Declared(dict(kept.declared.datasets), dict(kept.declared.models))
    return load(models, data)
