"""One mistake of a folder of a model or dataset, described so that it can be corrected without looking anything up."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from evergreen.errors import SpecError
from evergreen.quoting import line as on_one_line

FILE, DATA_FILE = "model.yaml", "data.yaml"  # at the head of a model's folder, and of a dataset's
MOST_SHOWN = 50  # mistakes in one error
MOST_FOUND = 200  # mistakes that one reader of a folder looks for; a spec with more is not worth the time of the others
_MOST_NAMES = 40  # listed in one mistake
_LONGEST = 2000  # characters of a line


@dataclass(frozen=True)
class Mistake:
    """What is wrong, where, and how to correct it."""

    file: str  # relative to the folder
    key: str  # dotted path within the file; empty: the file itself
    found: str
    allowed: str
    fix: str
    line: int | None = None  # where the key stands, or the nearest key above it that is there

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        where += f": {self.key}" if self.key else ""
        labelled = {"found:  ": self.found, "allowed:": self.allowed, "fix:    ": self.fix}
        return "\n      ".join(
            [on_one_line(where), *(f"{name} {on_one_line(text, _LONGEST)}" for name, text in labelled.items())]
        )


def spec_error(doing: str, model: str, mistakes: Sequence[Mistake]) -> SpecError:
    """The error that lists them all."""
    count = f"{len(mistakes)} mistake{'' if len(mistakes) == 1 else 's'}"
    listed = [f"   {number}. {mistake}" for number, mistake in enumerate(islice(mistakes, MOST_SHOWN), 1)]
    more = [f"   … and {len(mistakes) - MOST_SHOWN} more"] if len(mistakes) > MOST_SHOWN else []
    return SpecError(
        on_one_line(doing),
        found="\n".join([count, *listed, *more]),
        expected="a model folder as docs/model-spec.md describes it",
        next_step=on_one_line(f"correct what is listed, then run `evergreen check {model}`"),
    )


def one_of(names: Iterable[object]) -> str:
    """`a, b or c`, for the `allowed` of a mistake."""
    known = [str(name) for name in names]
    if len(known) > _MOST_NAMES:
        known[_MOST_NAMES:] = [f"{len(known) - _MOST_NAMES} more"]
    return " or ".join([", ".join(known[:-1]), known[-1]] if len(known) > 1 else known) or "nothing"


def meant(name: object, names: Iterable[object]) -> str | None:
    """Which of the names was probably meant; None: none comes near."""
    some = [str(known) for known in islice(names, MOST_FOUND)]  # finding the nearest takes its time
    return next(iter(difflib.get_close_matches(str(name)[:80], some, n=1, cutoff=0.6)), None)


def nearest(name: object, names: Iterable[object], otherwise: str) -> str:
    """What was probably meant, for the `fix` of a mistake; `otherwise` when nothing comes near."""
    near = meant(name, names)
    return otherwise if near is None else f"write {near}"
