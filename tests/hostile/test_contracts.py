"""A contract as somebody hostile writes it: it compares values, and neither runs code nor runs without end."""

from __future__ import annotations

import json
import re
import shutil
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from evergreen.errors import SpecError
from evergreen.settings import PROJECT
from evergreen.spec import backtracking
from evergreen.spec.contract import Contract, load_contract
from evergreen.spec.load import load_spec
from evergreen.spec.schema import ModelSpec

CODE: dict[str, dict[str, Any]] = {
    "a module of pandas": {"row_condition": '@pd.io.common.os.system("touch {marker}") == 0'},
    "a method that writes": {"row_condition": 'pages.to_csv("{marker}") == None'},
    "a method in a list": {"row_condition": 'pages in [1, pages.to_csv("{marker}")]'},
    "a method between backticks": {"row_condition": "pages in ['`', pages.to_csv(\"{marker}\"), '`']"},
    "a method of a method": {"row_condition": 'pages.notnull().to_csv("{marker}") == None'},
    "a method as an argument": {"row_condition": 'pages.isin(pages.to_csv("{marker}"))'},
    "an attribute": {"row_condition": "pages.__class__ == 1"},
    "a lambda": {"row_condition": "(lambda: 1)() == 1"},
    "a condition as an object": {
        "row_condition": {
            "type": "pass_through",
            "pass_through_filter": '@pd.io.common.os.system("touch {marker}") == 0',
        }
    },
    "a deep condition": {"row_condition": "(" * 400 + "pages" + ")" * 400},
    "a long condition": {"row_condition": " and ".join(["pages > 1"] * 1000)},
    "a computed value": {"value_set": {"$PARAMETER": "now()"}},
    "a fetched schema": {"json_schema": {"properties": {"a": {"$ref": "http://127.0.0.1:1/x.json"}}}},
    "a schema from a file": {"json_schema": {"$ref": "file:///etc/passwd"}},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(PROJECT / "tests" / "specs" / "valid" / "renewals", tmp_path / "renewals"))


def _expecting(folder: Path, **arguments: Any) -> None:
    entry = {"type": "expect_column_values_to_not_be_null", "column": "pages", "condition_parser": "pandas"} | arguments
    (folder / "contracts" / "visits.yaml").write_text(json.dumps({"expectations": [entry]}))


def _judged(contract: Contract) -> bool:
    from evergreen.validate.expectations import Judge, suite

    table = pa.table({"pages": [1, 2, None], "plan": ["a", None, "b"]})
    (finding,), _ = Judge()(suite(contract, "visits", "visits.yaml"), table, [0, 1, 2], "visits", datetime(2026, 1, 1))
    assert finding.error is None
    return finding.success


@pytest.mark.parametrize("name", CODE)
def test_code_in_a_contract_is_refused_by_the_check_and_by_the_run(name: str, folder: Path, tmp_path: Path) -> None:
    spec = load_spec(folder)
    marker = tmp_path / "marker"
    arguments = json.loads(json.dumps(CODE[name]).replace("{marker}", str(marker)))
    _expecting(folder, **arguments)
    (argument,) = arguments
    with pytest.raises(SpecError, match=re.escape(f"expectations.0.{argument}")):
        load_spec(folder)
    with pytest.raises(SpecError):
        _judged(load_contract(spec.own_data(), "visits"))  # written after the check
    assert not marker.exists()


@pytest.mark.parametrize(
    ("condition", "success"),
    [
        ("pages > 1 and plan.isnull()", True),
        ("`pages` in [1, 2]", True),
        ("(plan == 'b') | (plan.isin(['x`y']))", False),
        ("not pages * 2 >= 2", False),
    ],
)
def test_a_condition_that_compares_is_left_alone(condition: str, success: bool, folder: Path) -> None:
    spec: ModelSpec = load_spec(folder)
    _expecting(folder, row_condition=condition)
    load_spec(folder)
    assert _judged(load_contract(spec.own_data(), "visits")) is success


ENDLESS = [r"(a+)+$", r"^ID-(\w+\s?)*$", r"(?:.*a){25}$"]
SOUND = [
    r"^([a-z]+-)*[a-z]+$",
    r"^(\d{1,3}\.){3}\d{1,3}$",
    r"^[^@\s]+@[^@\s]+$",
    r"^(?:[^,]*,)+x$",
    r"\s+$",
    r"(?<!\w)[A-Z]{2}\d+\b",
]


@pytest.mark.parametrize("pattern", ENDLESS)
def test_a_pattern_that_a_cell_can_keep_busy_is_found(pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backtracking, "_SECONDS", 1)
    assert backtracking.endless(pattern)


@pytest.mark.parametrize("pattern", SOUND)
def test_a_pattern_that_ends_is_left_alone(pattern: str) -> None:
    assert not backtracking.endless(pattern)


def test_the_check_names_the_pattern_and_ends(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backtracking, "_SECONDS", 1)
    _expecting(
        folder, type="expect_column_values_to_match_regex_list", column="reader_id", regex_list=["^r", "(a+)+$", "["]
    )
    load_spec(folder)  # no pattern is tried when the DAGs are parsed
    before = time.monotonic()
    with pytest.raises(SpecError) as caught:
        load_spec(folder, deep=True)
    assert time.monotonic() - before < 60
    assert "2 mistakes" in str(caught.value)
    assert "(a+)+$" in str(caught.value) and "unterminated character set" in str(caught.value)
