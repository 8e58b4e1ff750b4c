"""The lake's tables, as they are declared: each fact of them stands in `lake.schema`, and nowhere else."""

from __future__ import annotations

import ast
import re
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen import tables_page
from evergreen.lake.schema import (
    FEATURES,
    LABELS,
    LAYERS,
    PREDICTIONS,
    QUARANTINE,
    RAW,
    Layer,
    LayerOfOne,
    online,
)
from evergreen.serve.messages import answer_type
from evergreen.settings import PROJECT
from evergreen.spec.columns import ADDED, KNOWN_AT, PARTITION, RESERVED, RESERVED_KEYS
from evergreen.spec.keyed import NAME
from evergreen.spec.load import load_spec

NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True)


@given(NAMES, NAMES, NAMES, NAMES)
def test_different_tables_have_different_places(model: str, other: str, name: str, another: str) -> None:
    """A place is also the key of a lock, and part of what a training set is pinned by."""
    per_name = [layer for layer in LAYERS if isinstance(layer, Layer)]
    single = [layer for layer in LAYERS if isinstance(layer, LayerOfOne)]
    named = {(model, name), (model, another), (other, name), (other, another)}
    tables = {layer.of(*pair) for layer in per_name for pair in named}
    tables |= {layer.of(each) for layer in single for each in {model, other}}
    tables |= {online(FEATURES.of(*pair)) for pair in named}
    assert len({str(table) for table in tables}) == len(tables)
    assert len({str(table.at("2026-01-05")) for table in tables}) == len(tables)


def test_a_table_says_where_it_lies() -> None:
    table = RAW.of("churn", "usage")
    assert (str(table), table.seen_from("churn"), table.seen_from("tickets")) == (
        "churn/raw/usage",
        "raw/usage",
        "churn/raw/usage",
    )
    assert str(table.at("2026-01-05")) == "churn/raw/usage/2026-01-05"
    assert str(PREDICTIONS.of("churn")) == "churn/predictions/live"


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.layer)
def test_every_row_says_when_it_became_known(layer: Layer | LayerOfOne) -> None:
    names = [column.name for column in layer.columns]
    assert KNOWN_AT in names and len(set(names)) == len(names)
    assert PARTITION not in names, "it is added where a table is written"
    assert list(layer.arrow) == names


@pytest.mark.parametrize("layer", [FEATURES, LABELS, PREDICTIONS], ids=lambda layer: layer.layer)
def test_no_feature_input_label_or_key_may_have_the_name_of_a_column_beside_it(layer: Layer | LayerOfOne) -> None:
    """A table with two columns of one name cannot be written. What no spec can name needs no reserve."""
    assert {name for name in layer.arrow if re.fullmatch(NAME, name)} | {PARTITION} <= set(RESERVED)


@pytest.mark.parametrize("layer", [RAW, QUARANTINE], ids=lambda layer: layer.layer)
def test_no_column_of_a_source_may_have_the_name_of_a_column_beside_it(layer: Layer) -> None:
    assert {name for name in layer.arrow if re.fullmatch(NAME, name)} | {PARTITION} <= set(ADDED)


def test_no_key_may_have_the_name_of_a_field_of_an_answer() -> None:
    spec = load_spec(PROJECT / "tests" / "specs" / "valid" / "renewals")
    (each,) = get_args(answer_type(spec).model_fields["predictions"].annotation)
    fields = set(each.model_fields) - {spec.entity.key}
    assert fields <= set(RESERVED_KEYS)
    assert {"stale", "version", "role"} <= fields, "what is there sometimes, too"


def test_no_other_module_spells_a_layer_of_the_lake() -> None:
    """What reads or writes a table takes it from its layer."""
    functions = {"read", "replace", "version", "table_path", "published"}
    called = []
    for path in (PROJECT / "include").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in functions:
                called.append(node.func.attr)
                texts = {one.value for one in node.args if isinstance(one, ast.Constant)}
                wrong = texts & {layer.layer for layer in LAYERS}
                assert not wrong, f"{path}:{node.lineno} spells {wrong}: take the table from lake.schema"
    assert len(called) > 30, "the search finds none"


def test_the_page_of_the_tables_is_up_to_date() -> None:
    page = (PROJECT / "docs" / "tables.md").read_text(encoding="utf-8")
    assert page == tables_page.page(), "docs/tables.md is old: run `evergreen tables`"
    for layer in LAYERS:
        assert f"### {layer.layer}\n" in page and layer.writer in page
    for table in ("partitions", "candidates", "versions", "predictions", "answers", "ledger"):
        assert f"### {table}\n" in page
    assert not re.search(r"\| +\|$", page, re.MULTILINE), "a column without a meaning: comment its field"
    assert "| `spec.json` |" in page and "`evergreen.key`" in page
