"""One mistake of a model's folder, told so that it can be mended without looking anything up."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from evergreen.errors import SpecError


@dataclass(frozen=True)
class Mistake:
    """What is wrong, where, and how to mend it."""

    file: str  # relative to the model's folder
    key: str  # dotted path within the file; empty: the file itself
    found: str
    allowed: str
    fix: str
    line: int | None = None  # where the key stands, or the nearest key above it that is there

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        where += f": {self.key}" if self.key else ""
        return f"{where}\n      found:   {self.found}\n      allowed: {self.allowed}\n      fix:     {self.fix}"


def spec_error(doing: str, model: str, mistakes: Sequence[Mistake]) -> SpecError:
    """The error that lists them all."""
    count = f"{len(mistakes)} mistake{'' if len(mistakes) == 1 else 's'}"
    return SpecError(
        doing,
        found="\n".join([count, *(f"   {number}. {mistake}" for number, mistake in enumerate(mistakes, 1))]),
        expected="a model folder as docs/model-spec.md describes it",
        next_step=f"mend what is listed, then run `evergreen check {model}`",
    )


def one_of(names: Iterable[object]) -> str:
    """`a, b or c`, for the `allowed` of a mistake."""
    known = [str(name) for name in names]
    return " or ".join([", ".join(known[:-1]), known[-1]] if len(known) > 1 else known) or "nothing"


def nearest(name: object, names: Iterable[object], otherwise: str) -> str:
    """What was probably meant, for the `fix` of a mistake; `otherwise` when nothing comes near."""
    near = difflib.get_close_matches(str(name), [str(known) for known in names], n=1, cutoff=0.6)
    return f"write {near[0]}" if near else otherwise
