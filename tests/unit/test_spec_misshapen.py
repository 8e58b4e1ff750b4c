"""Whatever stands where a spec wants something else is told in our words, with its line, beside all other mistakes.

The places are those of the schema: a new key is tried without a line here.
"""

from __future__ import annotations

import copy
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
import yaml

from evergreen.errors import SpecError
from evergreen.spec.contract import Contract
from evergreen.spec.dataset import DatasetSpec
from evergreen.spec.load import load_dataset, load_spec
from evergreen.spec.partial import Declared
from evergreen.spec.schema import ModelSpec, UsingModel
from tests.unit.test_spec_load import SPECS

WRONG: tuple[Any, ...] = ({}, [], "some text", None, [{"a": []}], -1.5)
_NOT_OURS = re.compile(
    r"Input|should |Field required|Extra inputs|pydantic|validation error|Traceback|[a-z]Error\b|NoneType|'dict'|'list'"
    r"|tuple|dictionary|a value as docs"
)
_MISTAKE = re.compile(
    r"^   \d+\. (.+?)(?::(\d+))?(?:: (.+))?\n      found: +(.+)\n      allowed: (.+)\n      fix: +(.+)$", re.M
)
Place = tuple[str | int, ...]


def places(kind: type[Declared], at: Place = ()) -> Iterator[Place]:
    """Every key below `at`, of mappings and lists one entry."""
    for name, declared in kind.model_fields.items():
        here: Place = (*at, declared.alias or name)
        yield here
        annotation = declared.annotation
        inner = [annotation, *get_args(annotation)]
        for part in (each for each in inner if isinstance(each, type) and issubclass(each, Declared)):
            several = {dict: ("thing",), tuple: (0,)}.get(get_origin(annotation), ())  # type: ignore[call-overload]
            if several:
                yield (*here, *several)
            yield from places(part, (*here, *several))


def put(content: Any, place: Place, value: Any) -> Any:
    """The content with a value at a place, whatever stands on the way there."""
    if not place:
        return value
    first, *others = place
    if isinstance(first, int):
        entries = list(content) if isinstance(content, list) and content else [{}]
        return [put(entries[0], tuple(others), value), *entries[1:]]
    content = dict(content) if isinstance(content, dict) else {}
    return content | {first: put(content.get(first), tuple(others), value)}


def folder_of(kind: type[Declared], root: Path) -> tuple[Path, Path]:
    """A valid folder, and its file that declares such a thing."""
    if kind is ModelSpec or kind is Contract:
        folder = shutil.copytree(SPECS / "valid" / "refunds", root / "refunds")
        return folder, folder / ("model.yaml" if kind is ModelSpec else "contracts/habits.yaml")
    folder = shutil.copytree(SPECS / "valid" / "refunds", root / "data" / "refunds")
    content = yaml.safe_load((folder / "model.yaml").read_text())
    of_data = {key: value for key, value in content.items() if key in DatasetSpec.model_fields}
    if kind is DatasetSpec:
        entity = {content["entity"]["name"]: {k: v for k, v in content["entity"].items() if k != "name"}}
        of_data |= {"dataset": "refunds", "entities": entity | content.get("references", {})}
        (folder / "data.yaml").write_text(_yaml(of_data))
        return folder, folder / "data.yaml"
    using = {key: value for key, value in content.items() if key not in {*of_data, "references"}}
    shutil.copytree(folder, root / "asks")
    (root / "asks" / "model.yaml").write_text(_yaml(using | {"model": "asks", "data": {"refunds": ["habits"]}}))
    return root / "asks", root / "asks" / "model.yaml"


def _yaml(content: Any) -> str:
    return yaml.safe_dump(json.loads(json.dumps(content, default=str)), sort_keys=False)


def told(folder: Path, data: Path) -> str:
    """What is said of a folder with mistakes."""
    with pytest.raises(SpecError) as caught:
        load_dataset(folder) if (folder / "data.yaml").exists() else load_spec(folder, data)
    return str(caught.value)


ALL = [(kind, place) for kind in (ModelSpec, UsingModel, DatasetSpec, Contract) for place in [(), *places(kind)]]


@pytest.mark.parametrize(
    ("kind", "place"), ALL, ids=[f"{kind.__name__}-{'.'.join(map(str, place)) or 'all'}" for kind, place in ALL]
)
def test_what_is_misshapen_is_told_in_our_words_and_with_all_else(
    tmp_path: Path, kind: type[Declared], place: Place
) -> None:
    folder, file = folder_of(kind, tmp_path)
    sound = json.loads(json.dumps(yaml.safe_load(file.read_text()), default=str))
    for value in WRONG:
        broken = put(copy.deepcopy(sound), place, value)
        if place:
            broken["unheard_of"] = 1
        file.write_text(_yaml(broken))
        message = told(folder, tmp_path / "data") if place or value != sound else ""
        mistakes = _MISTAKE.findall(message)
        count = int(re.findall(r"found: +(\d+) mistake", message)[0])
        assert len(mistakes) == count >= 1, f"{place} = {value!r}: a mistake without its parts\n{message}"
        assert not _NOT_OURS.search(message), f"{place} = {value!r}\n{message}"
        if place:
            assert "unheard_of" in message, f"{place} = {value!r}: not all mistakes\n{message}"
        for named, line, *_ in mistakes:
            assert line or not file.as_posix().endswith(named), f"{place} = {value!r}: no line\n{message}"


def test_the_places_are_those_of_the_whole_schema() -> None:
    named = {".".join(map(str, place)) for kind, place in ALL if kind is ModelSpec}
    assert {"sources.thing.columns.thing.format", "gates.floor", "label.horizon", "features.thing.features"} <= named
