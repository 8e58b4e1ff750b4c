"""What the gates that look at rows need is told before anything is trained."""

from __future__ import annotations

from typing import Any

import pytest

from evergreen.spec import rules
from evergreen.spec.mistakes import Mistake
from tests.small_models import TINY, tiny

TEST: dict[str, Any] = {"name": "it holds", "change": {"spent": "spent + 1"}}
REFUSED: dict[str, tuple[dict[str, Any], list[str]]] = {
    "a change and a row": (
        {"behaviour": (TEST | {"row": {"spent": 1.0}, "between": (0.0, 1.0)},)},
        ["gates.behaviour[0]", "both change and row"],
    ),
    "nothing": ({"behaviour": ({"name": "it holds"},)}, ["gates.behaviour[0]", "neither change nor row"]),
    "an input that there is not": (
        {"behaviour": ({"name": "it holds", "change": {"spend": "1"}},)},
        ["gates.behaviour[0].change.spend", "spent"],
    ),
    "a row without bounds": (
        {"behaviour": ({"name": "it holds", "row": {"spent": 1.0}},)},
        ["gates.behaviour[0].between", "the least and the greatest answer"],
    ),
    "bounds in the wrong order": (
        {"behaviour": ({"name": "it holds", "row": {"spent": 1.0}, "between": (0.9, 0.1)},)},
        ["gates.behaviour[0].between", "0.9 to 0.1"],
    ),
    "a name twice": ({"behaviour": (TEST, TEST)}, ["gates.behaviour", "it holds, 2 times"]),
    "slices of nothing": ({"slices": {}}, ["gates.slices", "nothing to look at", "by or found_margin"]),
    "a package of which nothing is bounded": ({"packaged": {}}, ["gates.packaged", "megabytes or milliseconds"]),
    "no leak at all": (
        {"leaks": {"alone": None, "time": None}},
        ["gates.leaks", "alone, time or entities", "gates.leaks: null"],
    ),
    "an attribute twice": ({"fairness": {"by": ("spent", "spent")}}, ["gates.fairness.by", "spent, 2 times"]),
}


def mistakes(label: dict[str, Any] | None = None, **gates: Any) -> list[Mistake]:
    """Those beside what the model has without them."""
    usual = rules.of_model(tiny(label=TINY["label"] | (label or {})))
    spec = tiny(label=TINY["label"] | (label or {}), gates=TINY["gates"] | gates)
    return [each for each in rules.of_model(spec) if each not in usual]


@pytest.mark.parametrize("why", REFUSED)
def test_what_cannot_be_looked_at_is_told_with_its_place(why: str) -> None:
    gates, told = REFUSED[why]
    texts = [f"{each.key} {each.found} {each.allowed} {each.fix}" for each in mistakes(**gates)]
    assert any(all(each in text for each in told) for text in texts), texts


def test_groups_and_directions_belong_to_labels_that_have_them() -> None:
    numeric = mistakes({"type": "numeric"}, fairness={"by": ("spent",)})
    assert any(each.key == "gates.fairness" and "numeric" in each.allowed for each in numeric)
    several = mistakes({"type": "multiclass", "classes": ("a", "b", "c")}, behaviour=(TEST,))
    assert any(each.key == "gates.behaviour" for each in several)


def test_what_makes_sense_is_taken_and_not_said_where_it_is_not_asked_for() -> None:
    row = {"name": "a row", "row": {"spent": 1.0}, "between": (0.0, 1.0)}
    asked: dict[str, Any] = {"slices": {"by": ("spent",)}, "fairness": {"by": ("spent",)}, "behaviour": (TEST, row)}
    assert mistakes(**asked, noise={"margin": 0.1}, leaks={}) == []
    assert not {"slices", "fairness", "behaviour", "noise", "leaks"} & set(tiny().gates.model_dump())
