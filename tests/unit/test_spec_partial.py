"""All mistakes of a folder are told at once, by rules that look at half a spec;
a slip of a rule itself is never swallowed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from evergreen.errors import SpecError
from evergreen.settings import PROJECT
from evergreen.spec import rules
from evergreen.spec.document import read
from evergreen.spec.files import Budget
from evergreen.spec.load import load_spec
from evergreen.spec.mistakes import Mistake
from evergreen.spec.partial import NotStated, stated_or
from evergreen.spec.schema import ModelSpec
from evergreen.spec.shape import shaped


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a model without sources, whose request is no section."""
    folder = shutil.copytree(PROJECT / "tests" / "specs" / "valid" / "renewals", tmp_path / "renewals")
    text = (folder / "model.yaml").read_text().replace("\nsources:", "\nsourcse:") + "\nrequest: yes, please\n"
    (folder / "model.yaml").write_text(text)
    return folder


@pytest.fixture
def partial(folder: Path) -> ModelSpec:
    spec, mistakes = shaped(ModelSpec, read(folder / "model.yaml", "model.yaml", folder, Budget()))
    assert mistakes
    return spec.at(folder)


def test_a_rule_that_needs_what_is_not_stated_says_nothing_and_the_others_go_on(partial: ModelSpec) -> None:
    def needs_sources(spec: ModelSpec) -> Iterator[Mistake]:
        yield Mistake("model.yaml", "before", "a", "b", "c")
        yield Mistake("model.yaml", str(len(spec.sources)), "a", "b", "c")

    def needs_nothing() -> Iterator[Mistake]:
        yield Mistake("model.yaml", "after", "a", "b", "c")

    mistakes = rules.collected([needs_sources(partial), needs_nothing()])
    assert [mistake.key for mistake in mistakes] == ["before", "after"]


def test_a_misspelt_attribute_of_a_rule_is_an_error_of_ours_however_misshapen_the_spec(partial: ModelSpec) -> None:
    def misspelt(spec: ModelSpec) -> Iterator[Mistake]:
        yield Mistake("model.yaml", str(spec.entity.kye), "a", "b", "c")  # type: ignore[attr-defined]

    with pytest.raises(AttributeError, match="kye"):
        rules.collected([misspelt(partial)])
    with pytest.raises(AssertionError, match="featrues"):
        stated_or(partial, "featrues", ())


def test_what_a_property_reads_is_told_apart_too(partial: ModelSpec) -> None:
    for read_it in (lambda spec: spec.sources, lambda spec: spec.asking, lambda spec: spec.feature_types):
        with pytest.raises(NotStated):
            read_it(partial)
    assert stated_or(partial, "sources", ()) == ()
    assert list(stated_or(partial, "features", ()))


def test_all_mistakes_are_told_at_once(folder: Path) -> None:
    model = (folder / "model.yaml").read_text()
    (folder / "model.yaml").write_text(model.replace("cooldown: 1w", "cooldown: 1d"))
    with pytest.raises(SpecError) as caught:
        load_spec(folder)
    message = str(caught.value)
    for key in ("sourcse", "request", "monitoring.cooldown"):
        assert f": {key}\n" in message, message
    assert "3 mistakes" in message, "what the misspelt key means is not missing too"
