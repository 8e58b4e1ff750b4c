"""What the gates that look at rows need: groups to decide on, tests that say what they change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from evergreen.spec.mistakes import one_of
from evergreen.spec.rules.wording import Mistakes, mistake, repeated, unknown
from evergreen.spec.schema import ModelSpec

if TYPE_CHECKING:
    from evergreen.spec.behaviour import Behaviour

# What makes a section look at anything.
_LOOKS_AT: Mapping[str, Sequence[str]] = {
    "slices": ("by", "found_margin"),
    "leaks": ("alone", "time", "entities"),
    "packaged": ("megabytes", "milliseconds"),
}


def _fairness(spec: ModelSpec) -> Mistakes:
    fairness = spec.gates.fairness
    if fairness is None:
        return
    if spec.label.type != "binary":
        allowed = f"nothing: groups are compared by yes and no, the label is {spec.label.type}"
        yield mistake("gates.fairness", ", ".join(fairness.by), allowed, "remove it")
    yield from repeated("gates.fairness.by", fairness.by)


def _behaviour(spec: ModelSpec) -> Mistakes:
    tests = spec.gates.behaviour
    if tests and spec.problem.by_class:
        allowed = "nothing: an answer is a probability of each class, and moves in no direction"
        yield mistake("gates.behaviour", f"{len(tests)} tests", allowed, "remove it")
    yield from repeated("gates.behaviour", [test.name for test in tests])
    for number, test in enumerate(tests):
        yield from _test(spec, f"gates.behaviour[{number}]", test)


def _test(spec: ModelSpec, key: str, test: Behaviour) -> Mistakes:
    changes, writes = bool(test.change), bool(test.row) or test.between is not None
    if changes == writes:
        found = "both change and row" if changes else "neither change nor row"
        yield mistake(
            key, found, "rows that are changed (change), or a row that is written down (row, between)", "write one"
        )
        return
    for part in ("change", "row"):
        for name in getattr(test, part):
            if name not in spec.feature_types:
                yield unknown(f"{key}.{part}.{name}", name, spec.feature_types, f"remove {name}")
    if writes and not (test.row and test.between is not None and test.between[0] <= test.between[1]):
        found = "nothing" if test.between is None else f"{test.between[0]:g} to {test.between[1]:g}"
        yield mistake(
            f"{key}.between", found, "the least and the greatest answer to `row`", "write between: [low, high]"
        )


def _nothing(spec: ModelSpec) -> Mistakes:
    """A gate that is asked for and looks at nothing would be no gate, and nobody would see that."""
    for name, parts in _LOOKS_AT.items():
        section = getattr(spec.gates, name)
        if section is not None and not any(getattr(section, part) not in (None, ()) for part in parts):
            yield mistake(f"gates.{name}", "nothing to look at", one_of(parts), f"write one, or gates.{name}: null")


OF_SPEC = (_fairness, _behaviour, _nothing)
