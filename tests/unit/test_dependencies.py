"""What the product imports is declared, and what the type checker is told to skip is used."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

from evergreen.settings import PROJECT

PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text())
OURS = {path.name for path in (PROJECT / "include").glob("evergreen*")} | {"feature_repo"}


def imported() -> dict[str, Path]:
    """Top-level name → a file of the product that imports it, inside functions too."""
    found: dict[str, Path] = {}
    for folder in ("include", "dags", "plugins", "config", "feature_repo"):
        for path in (PROJECT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and not node.level:
                    names.append(str(node.module))
                found |= {name.split(".")[0]: path.relative_to(PROJECT) for name in names}
    return {name: path for name, path in found.items() if name not in sys.stdlib_module_names | OURS}


def declared() -> set[str]:
    found = {re.split(r"[\[<>=;! ]", each)[0].lower() for each in PYPROJECT["project"]["dependencies"]}
    assert len(found) > 30
    return found


def test_every_imported_library_is_a_direct_dependency() -> None:
    homes = packages_distributions()
    undeclared = {
        name: (path, homes.get(name))
        for name, path in imported().items()
        if not declared() & {home.lower().replace("_", "-") for home in homes.get(name, [name])}
    }
    assert not undeclared, f"declare them in pyproject.toml: {undeclared}"


def test_the_type_checker_skips_only_what_is_used() -> None:
    skipped = {name.split(".")[0] for each in PYPROJECT["tool"]["mypy"]["overrides"] for name in each["module"]}
    unused = skipped - set(imported()) - declared()
    assert not unused, f"nobody imports {unused}"
