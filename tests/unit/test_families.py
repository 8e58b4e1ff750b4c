"""Families: what one may declare, which there are, and what an unusable one costs."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen import packages
from evergreen.families import (
    GROUP,
    OURS,
    Columns,
    Family,
    FamilyUnusable,
    Parameter,
    Parameters,
    family,
    names,
)
from evergreen.model.code import code_hash
from evergreen.settings import PROJECT
from evergreen.spec.families import json_schema, usable
from evergreen.spec.load import load_spec
from evergreen.spec.problem import LabelType
from evergreen.train import rules

RANGE = {"low": 2, "high": 8, "default": 4, "least": 1, "most": 9}


class Stump(Family):
    """A family that could be used, but for its estimator."""

    labels = ("binary",)
    parameters: ClassVar = {"depth": Parameter(**RANGE)}

    def prepare(self, columns: Columns) -> Any: ...

    def estimator(self, label: str, parameters: Parameters, columns: Columns, seed: int) -> Any: ...


class OfNoLabel(Stump):
    labels = ()


class WithOneLabel(Stump):
    labels = "binary"


class OfPlainNumbers(Stump):
    parameters: ClassVar = {"depth": 3}


class WithOneType(Stump):
    types = "numpy.dtype"


class Unfinished(Family):
    labels = ("binary",)
    parameters: ClassVar = {}


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Makes entry points of families, by their names, as if a package had brought them."""

    def install(**kinds: str | type) -> None:
        points = [
            EntryPoint(name, f"{__name__}:{kind if isinstance(kind, str) else kind.__name__}", GROUP)
            for name, kind in kinds.items()
        ]
        monkeypatch.setattr(packages, "entry_points", lambda group: points if group == GROUP else [])
        packages.brought.cache_clear()

    yield install
    packages.brought.cache_clear()


@pytest.mark.parametrize(
    "wrong",
    [
        {"low": 9},
        {"high": 8.0},
        {"low": True},
        {"least": 3},
        {"most": 7},
        {"low": 0, "least": 0, "log": True},
        {"default": math.nan},
    ],
    ids=str,
)
def test_a_range_that_no_study_could_search_is_no_parameter(wrong: dict[str, Any]) -> None:
    Parameter(**RANGE)
    with pytest.raises(ValueError, match=r"low|high|least|above 0|default"):
        Parameter(**RANGE | wrong)


@given(low=st.integers(-9, 9), span=st.integers(0, 9), value=st.floats(allow_nan=False))
def test_the_nearest_value_is_within_the_range_and_of_its_type(low: int, span: int, value: float) -> None:
    for number in (int, float):
        among = Parameter(low=number(low), high=number(low + span), default=0, least=-99, most=99)
        nearest = among.nearest(value)
        assert type(nearest) is number and among.low <= nearest <= among.high
        assert among.nearest(nearest) == nearest
        if number is float and low <= value <= low + span:
            assert nearest == value


def test_reading_specs_and_families_loads_no_heavy_library() -> None:
    code = (
        "import sys\nfrom evergreen.spec.families import usable\nassert len(list(usable())) == 5\n"
        "print(*sorted({'sklearn', 'numpy', 'keras', 'tensorflow', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(PROJECT / "include")},
        timeout=60,
    )
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stdout + done.stderr


def test_ours_can_be_used_and_every_label_has_some() -> None:
    assert [name for name, _ in usable()] == list(OURS)
    assert {label for _, each in usable() for label in each.labels} == set(get_args(LabelType))


def test_an_installed_family_stands_beside_ours(installed: Callable[..., None]) -> None:
    installed(stump=Stump)
    assert names() == (*OURS, "stump")
    assert isinstance(family("stump"), Stump)
    assert "depth" in json_schema()["properties"]["stump"]["properties"]


def test_no_package_takes_the_name_of_one_of_ours(
    installed: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    installed(ridge=Stump, Stump=Stump)
    assert names() == tuple(OURS)
    assert not isinstance(family("ridge"), Stump)
    assert "ridge, which is the name of one of ours" in caplog.text and "'Stump', which is no name" in caplog.text


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("Nothing", "has no attribute 'Nothing'"),
        ("GROUP", "no subclass"),
        (OfNoLabel, "labels are the types"),
        (WithOneLabel, "labels are the types"),
        (OfPlainNumbers, "parameters are Parameters"),
        (WithOneType, "types are full names"),
        (Unfinished, "abstract"),
    ],
    ids=str,
)
def test_an_unusable_family_costs_only_the_models_that_name_it(
    kind: str | type, why: str, installed: Callable[..., None], tmp_path: Path
) -> None:
    installed(stump=kind, other=Stump)
    with pytest.raises(FamilyUnusable, match=why):
        family("stump")
    assert [name for name, _ in usable()] == [*OURS, "other"]
    assert "stump" not in json_schema()["properties"]
    load_spec(PROJECT / "tests" / "specs" / "valid" / "renewals")


def test_a_family_that_is_nowhere_or_twice_is_unusable(
    installed: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FamilyUnusable, match="no installed package"):
        family("stump")
    point = EntryPoint("stump", f"{__name__}:Stump", GROUP)
    monkeypatch.setattr(packages, "entry_points", lambda group: [point, point])
    packages.brought.cache_clear()
    with pytest.raises(FamilyUnusable, match="several packages"):
        family("stump")


def test_ours_are_part_of_the_code_and_need_no_hash_of_their_own() -> None:
    assert code_hash(("ridge", "mlp")) == code_hash()


# what a study tries first

numbers = st.floats(-1e6, 1e6)
ranges = st.dictionaries(
    st.sampled_from("abcd"),
    st.builds(
        lambda low, span, default: Parameter(low=low, high=low + span, default=default, least=-1e9, most=1e9),
        st.floats(-100, 100),
        st.floats(0, 100),
        numbers,
    )
    | st.builds(
        lambda low, span, default: Parameter(low=low, high=low + span, default=default, least=-(10**9), most=10**9),
        st.integers(-100, 100),
        st.integers(0, 100),
        numbers,
    ),
    min_size=1,
)
points = st.lists(st.dictionaries(st.sampled_from("abcde"), numbers), max_size=8)


@given(ranges=ranges, best=points, trials=st.integers(1, 20))
def test_what_is_tried_first_lies_in_the_ranges_and_leaves_half_to_the_sampler(
    ranges: dict[str, Parameter], best: list[dict[str, float]], trials: int
) -> None:
    first = rules.first_trials(ranges, best, study="before", trials=trials)
    assert first[0] == rules.Proposal({name: each.nearest(each.default) for name, each in ranges.items()}, "defaults")
    assert len(first) - 1 <= min((trials - 1) // 2, rules.WARM_TRIALS, len(best))
    for proposal in first:
        assert proposal.parameters.keys() == ranges.keys()
        assert all(ranges[name].low <= value <= ranges[name].high for name, value in proposal.parameters.items())
    assert all(proposal.proposed_by == "before" for proposal in first[1:])
    assert len({tuple(sorted(proposal.parameters.items())) for proposal in first}) == len(first), "each once"


def test_what_a_family_declares_is_tried_after_the_defaults_and_before_the_best_of_before() -> None:
    among = {"depth": Parameter(**RANGE)}
    declared = [{"depth": 2}, {"depth": 4}, {"depth": 99}]
    first = rules.first_trials(among, [{"depth": 5}], study="before", trials=20, declared=declared)
    assert [(each.parameters["depth"], each.proposed_by) for each in first] == [
        (4, "defaults"),
        (2, "family"),
        (8, "family"),
        (5, "before"),
    ], "the defaults again are tried once, and what lies beyond the range at its end"


@pytest.mark.parametrize("name", OURS)
def test_our_families_declare_points_that_are_tried(name: str) -> None:
    of_name = family(name)
    for point in of_name.also:
        assert all(value == of_name.parameters[each].nearest(value) for each, value in point.items())


def test_the_best_of_before_are_tried_in_their_order() -> None:
    among = {"depth": Parameter(**RANGE), "rate": Parameter(low=0.1, high=1.0, default=0.5, least=0.0, most=1.0)}
    best = [
        {"depth": 4, "rate": 0.5},
        {"depth": 99, "rate": 0.2},
        {"rate": 0.3, "gone": 1.0},
        {"depth": 2, "rate": 0.4},
    ]
    first = rules.first_trials(among, best, study="before", trials=20)
    assert [proposal.parameters for proposal in first] == [
        {"depth": 4, "rate": 0.5},
        {"depth": 8, "rate": 0.2},
        {"depth": 4, "rate": 0.3},
    ], "the defaults again, one beyond the range, one that lacks a parameter; the fourth is one too many"
