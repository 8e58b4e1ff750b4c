"""One mistake of a model's folder, told so that it can be mended without looking anything up."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Mistake:
    """What is wrong, where, and how to mend it."""

    file: str  # relative to the model's folder
    key: str  # dotted path within the file; empty: the file itself
    found: str
    allowed: str
    fix: str

    def __str__(self) -> str:
        where = f"{self.file}: {self.key}" if self.key else self.file
        return f"{where}\n    found: {self.found}\n    allowed: {self.allowed}\n    fix: {self.fix}"


def one_of(names: Iterable[object]) -> str:
    """`a, b or c`, for the `allowed` of a mistake."""
    known = [str(name) for name in names]
    return " or ".join([", ".join(known[:-1]), known[-1]] if len(known) > 1 else known) or "nothing"


def nearest(name: object, names: Iterable[object]) -> str:
    """What was probably meant, for the `fix` of a mistake."""
    near = difflib.get_close_matches(str(name), [str(known) for known in names], n=1, cutoff=0.6)
    return f"write {near[0]}" if near else "use one of the allowed names, or declare it"
