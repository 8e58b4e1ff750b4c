"""What a model is about, by one column or several, and models that learn from what a request says alone."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen.errors import SpecError
from evergreen.spec.dataset import Entity
from evergreen.spec.load import load_spec

VALID = Path(__file__).parents[1] / "specs" / "valid"
SHELVES = "entity: {name: shelf, keys: {store: string, product: int}}"
SHELF = Entity(name="shelf", keys={"store": "string", "product": "int"})
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def mistakes(tmp_path: Path, model: str, old: str, new: str) -> list[str]:
    folder = shutil.copytree(VALID / model, tmp_path / model)
    text = (folder / "model.yaml").read_text()
    assert old in text
    (folder / "model.yaml").write_text(text.replace(old, new))
    with pytest.raises(SpecError) as caught:
        load_spec(folder)
    return re.split(r"\n   \d+\. ", str(caught.value))[1:]


WRONG: dict[str, tuple[str, str, str, list[str]]] = {
    "both ways": ("shelves", SHELVES, SHELVES.replace("keys", "key: a, keys"), ["entity", "either `key`, or `keys`"]),
    "neither": ("shelves", SHELVES, "entity: {name: shelf}", ["entity", "either `key`, or `keys`"]),
    "one of several": (
        "shelves",
        SHELVES,
        "entity: {name: shelf, keys: {store: string}}",
        ["of one column write `key`"],
    ),
    "a type beside them": ("shelves", SHELVES, SHELVES.replace("keys", "type: int, keys"), ["no `type` beside `keys`"]),
    "a list": (
        "shelves",
        SHELVES,
        "entity: {name: shelf, keys: [store, product]}",
        ["entity.keys", "keys with values"],
    ),
    "an unknown type": ("shelves", SHELVES, SHELVES.replace("int", "float"), ["entity.keys.product", "float"]),
    "another type than the source's": (
        "shelves",
        SHELVES,
        SHELVES.replace("store: string", "store: int"),
        ["sources.sales.columns.store", "int, the entity's type"],
    ),
    "another type than the reference's": (
        "shelves",
        "product: {key: product, type: int}",
        "product: {key: product}",
        ["references.product.key", "int, as for the entity"],
    ),
    "a reserved name": (
        "shelves",
        "store: string, product: int}}",
        "version: string, product: int}}",
        ["keys.version"],
    ),
    "a key that no source has": (
        "shelves",
        SHELVES,
        SHELVES.replace("store:", "shop:"),
        ["label.sources", "at least one source with the entity's key shop"],
    ),
    "a reference that nobody names": (
        "shelves",
        "product: {key: product, type: int}",
        "product: {key: article, type: int}",
        ["references", "none without request but by columns of the entity's keys"],
    ),
    "nothing to learn from": (
        "spot",
        "  inputs: {region: category, demand: float, price: float, contract_from: date, metered_at: timestamp}\n",
        "",
        ["features", "at least one view, or request.inputs"],
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_told_with_its_place(name: str, tmp_path: Path) -> None:
    model, old, new, said = WRONG[name]
    found = mistakes(tmp_path, model, old, new)
    assert any(all(word in each for word in said) for each in found), found


def test_a_spec_that_says_no_keys_has_the_words_that_it_had() -> None:
    spec = load_spec(VALID / "renewals")
    assert spec.entity.model_dump() == {"key": "reader_id", "type": "string", "name": "reader"}
    assert load_spec(VALID / "parcels").model_dump(mode="json")["references"]["shop"].keys() == {"key", "type"}
    several = load_spec(VALID / "shelves")
    assert several.entity.model_dump() == {"keys": {"store": "string", "product": "int"}, "name": "shelf"}
    kept = type(several).model_validate_json(several.model_dump_json())
    assert kept.entity == several.entity and kept.model_dump() == several.model_dump()
    assert several.keys == {"store": "string", "product": "int"}


@given(one=st.tuples(TEXT, st.integers()), other=st.tuples(TEXT, st.integers()))
def test_the_text_of_a_key_is_read_back_and_no_two_keys_have_the_same(one: Any, other: Any) -> None:
    first, second = (dict(zip(("store", "product"), key, strict=True)) for key in (one, other))
    assert SHELF.of_text(SHELF.text(first)) == first
    assert (SHELF.text(first) == SHELF.text(second)) == (first == second)
    assert json.loads(SHELF.text(first)) == [*one]


@given(st.lists(st.tuples(st.sampled_from(["1", "11", "a"]), st.sampled_from([1, 11])), min_size=1))
def test_rows_of_one_entity_have_one_name_and_no_others(rows: list[tuple[str, int]]) -> None:
    names = SHELF.names(pd.DataFrame(rows, columns=["store", "product"])).tolist()
    assert len(set(names)) == len(set(rows)) == len({*zip(names, rows, strict=True)})
