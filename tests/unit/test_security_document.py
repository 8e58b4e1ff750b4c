"""The threat model: what it says holds names a test that exists,
and no attack below tests/hostile is left out of it."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

from evergreen.settings import PROJECT

PAGE = PROJECT / "docs" / "security.md"
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def claims() -> list[tuple[str, list[tuple[str, str]]]]:
    """Each row below *What holds*: what it says, and the tests that it names."""
    held = PAGE.read_text(encoding="utf-8").partition("\n## What holds\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split(" | ") for line in held.splitlines() if line.startswith("| ")]
    return [(cells[0].strip(), _TEST.findall(cells[-1])) for cells in rows if cells[0].strip() != "what holds"]


@cache
def functions(file: Path) -> set[str]:
    return {
        node.name for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.FunctionDef)
    }


def test_whatever_holds_names_a_test_that_exists() -> None:
    claimed = claims()
    assert len(claimed) > 10, "the page has lost its tables"
    for claim, tests in claimed:
        assert tests, f"no test is named for: {claim}"
        for file, name in tests:
            assert (PROJECT / file).is_file(), f"{claim}: there is no {file}"
            assert name in functions(PROJECT / file), f"{claim}: {file} has no {name}"
            assert name.startswith("test_"), f"{claim}: {name} is no test"


def test_every_attack_is_named() -> None:
    named = {file for _, tests in claims() for file, _ in tests}
    attacks = {path.relative_to(PROJECT).as_posix() for path in (PROJECT / "tests" / "hostile").glob("test_*.py")}
    assert attacks, "no attack is tried"
    assert attacks <= named, f"docs/security.md does not say what holds by {sorted(attacks - named)}"


def test_every_door_is_there() -> None:
    doors = PAGE.read_text(encoding="utf-8").partition("\n## The doors\n")[2].partition("\n## ")[0]
    for door in (
        "Airflow",
        "MLflow",
        "model server",
        "reports",
        "Postgres",
        "landing zone",
        "folders of models and datasets",
        "artifact store",
        "lake",
    ):
        assert f"| {door}" in doors, f"the door {door} is not in the table"
