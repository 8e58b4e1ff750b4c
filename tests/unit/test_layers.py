"""The import graph: foundation ← spec ← hand-overs ← rules ← adapters ← stages ← loops ← orchestration ← dags,
and what each may load.

The source is read, not run: an import inside a function counts for the direction, not for what loading a module costs.
The linter holds what one line alone can break (pyproject.toml, TID251 and TID253, each with its reason). What needs the
whole graph stands below: layers, circles, and what a light module loads by way of others.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pytest

from evergreen.settings import PROJECT

INCLUDE = PROJECT / "include"
LAYERS = ("foundation", "spec", "hand-overs", "rules", "adapters", "stages", "loops", "orchestration", "entry points")
FOUNDATION = {
    "evergreen",
    "evergreen.addresses",
    "evergreen.answers",
    "evergreen.calendar",
    "evergreen.cores",
    "evergreen.disk",
    "evergreen.errors",
    "evergreen.families",
    "evergreen.files",
    "evergreen.interval",
    "evergreen.keeping",
    "evergreen.links",
    "evergreen.markdown",
    "evergreen.packages",
    "evergreen.quoting",
    "evergreen.readers",
    "evergreen.run",
    "evergreen.settings",
    "evergreen.sql",
}
STAGES = {
    f"evergreen.{part}.stages"
    for part in (
        "challenge",
        "correct",
        "ingest",
        "validate",
        "features",
        "labels",
        "train",
        "evaluate",
        "govern",
        "registry",
        "serve",
        "monitor",
    )
}
TIDY = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]["flake8-tidy-imports"]
HEAVY = set(TIDY["banned-module-level-imports"])
# Airflow itself evaluates a deadline's reference, where it makes a run, and hands it its session; no task ever does.
GIVEN_A_SESSION = ("evergreen.orchestration.deadlines", "airflow.models")
PURE = {"numpy", "croniter", "pydantic"}  # all that rules may use beside the standard library
PROJECTIONS = {  # rules by other names
    *(f"evergreen.history.{name}" for name in ("chain", "events", "happened", "rollouts", "story", "timeline")),
    *(f"evergreen.monitor.{name}" for name in ("brakes", "evidence", "paired", "waiting")),
    *(f"evergreen.rollout.{name}" for name in ("bounds", "recording", "sequential", "tallies", "wanted")),
}
INPUT_OUTPUT = {
    "asyncio",
    "ftplib",
    "glob",
    "http",
    "io",
    "multiprocessing",
    "os",
    "shelve",
    "shutil",
    "socket",
    "sqlite3",
    "ssl",
    "subprocess",
    "tempfile",
    "threading",
    "urllib",
}
GRAB_BAGS = {"base", "common", "core", "helper", "helpers", "lib", "misc", "shared", "stuff", "tools", "util", "utils"}
CLOCKS = {("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today"), ("date", "today"), ("time", "time")}


@dataclass(frozen=True)
class Import:
    """One imported name of a module."""

    name: str  # evergreen.lake.tables, pandas.io
    line: int
    lazy: bool  # inside a function
    excused: bool = False  # from the linter's rule on heavy libraries, with a reason


def imports(source: str, package: str) -> Iterator[Import]:
    """What a source imports at run time; `if TYPE_CHECKING:` does not count."""

    def within(node: ast.AST, lazy: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                for other in child.orelse:
                    yield from within(other, lazy)
            elif isinstance(child, ast.Import):
                yield from (Import(alias.name, child.lineno, lazy) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                above = package.rsplit(".", child.level - 1)[0] + "." if child.level else ""
                module = (above + (child.module or "")).rstrip(".")
                yield from (Import(f"{module}.{alias.name}", child.lineno, lazy) for alias in child.names)
            else:
                function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                yield from within(child, lazy or function)

    yield from within(ast.parse(source), False)


@cache
def modules() -> dict[str, Path]:
    """Every module of the product, by name; the DAG files as `dags.<file>`."""
    paths = {}
    for path in (INCLUDE / "evergreen").rglob("*.py"):
        parts = path.relative_to(INCLUDE).with_suffix("").parts
        paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return paths | {f"dags.{path.stem}": path for path in (PROJECT / "dags").glob("*.py")}


@cache
def imported(module: str) -> tuple[Import, ...]:
    """The imports of a module; names of ours are those of modules, not of what is in them."""
    path = modules()[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    source = path.read_text(encoding="utf-8")
    lines = source.splitlines()
    named = []
    for one in imports(source, package):
        name = one.name
        while name.startswith("evergreen.") and name not in modules():
            name = name.rpartition(".")[0]
        named.append(replace(one, name=name, excused="noqa: TID253 - " in lines[one.line - 1]))
    return tuple(named)


def layer(module: str) -> str:
    parts = module.split(".")
    if module in FOUNDATION:
        return "foundation"
    if parts[0] == "dags" or parts[1] in ("cli", "local", "__main__"):
        return "entry points"
    if parts[1] == "handovers":
        return "hand-overs"
    if parts[1] in ("spec", "loops", "orchestration"):
        return parts[1]
    if module in PROJECTIONS:
        return "rules"
    return parts[-1] if parts[-1] in ("rules", "stages") else "adapters"


def folder(module: str) -> str | None:
    """The folder of the package that a module stands in;
    None for what stands in none (`evergreen.settings`, a DAG file)."""
    parts = module.split(".")
    return parts[1] if parts[0] == "evergreen" and len(parts) > 2 else None


def at(module: str, one: Import) -> str:
    return f"{modules()[module].relative_to(PROJECT)}:{one.line}"


def loaded(module: str) -> dict[str, str]:
    """Everything outside of the product that importing a module loads:
    top-level name → the module of ours that does."""
    seen, waiting, libraries = {module}, [module], {}
    while waiting:
        current = waiting.pop()
        for one in imported(current):
            if one.lazy:
                continue
            if one.name.split(".")[0] != "evergreen":
                libraries.setdefault(one.name.split(".")[0], current)
                continue
            parts = one.name.split(".")
            for name in (".".join(parts[:n]) for n in range(1, len(parts) + 1)):  # a module loads its packages
                if name in modules() and name not in seen:
                    seen.add(name)
                    waiting.append(name)
    return libraries


def of(*layers: str) -> list[str]:
    members = sorted(module for module in modules() if layer(module) in layers)
    assert members, f"no module in {layers}: nothing would be tested"
    return members


def test_the_graph_is_there() -> None:
    assert set(modules()) >= STAGES, f"missing: {STAGES - set(modules())}"
    assert {layer(module) for module in modules()} == set(LAYERS)
    assert set(of("stages")) == STAGES, "a stages module that this test does not know"
    assert len(of("rules")) >= 5
    edges = [one for module in modules() for one in imported(module) if one.name.startswith("evergreen.")]
    assert len(edges) > 100 and any(one.lazy for one in edges)


def test_imports_are_seen_where_they_stand() -> None:
    source = """
import pandas.io
from . import tables
from evergreen.lake import tables as t
if TYPE_CHECKING:
    import feast
class A:
    import duckdb
    def f(self):
        import mlflow
try:
    import boto3
except ImportError:
    pass
"""
    assert [(one.name, one.lazy) for one in imports(source, "evergreen.lake")] == [
        ("pandas.io", False),
        ("evergreen.lake.tables", False),
        ("evergreen.lake.tables", False),
        ("duckdb", False),
        ("mlflow", True),
        ("boto3", False),
    ]


def test_a_module_imports_only_from_its_layer_and_those_below() -> None:
    wrong = [
        f"{at(module, one)} ({layer(module)}) imports {one.name} ({layer(one.name)})"
        for module in modules()
        for one in imported(module)
        if one.name in modules() and LAYERS.index(layer(one.name)) > LAYERS.index(layer(module))
    ]
    assert not wrong, "the direction is " + " ← ".join(LAYERS) + ":\n" + "\n".join(wrong)


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = {
        module: {one.name for one in imported(module) if one.name in modules() and one.name != module}
        for module in modules()
    }
    while free := [module for module, needs in graph.items() if not needs & graph.keys()]:
        for module in free:
            del graph[module]
    assert not graph, f"circles among: {', '.join(sorted(graph))}"


def test_no_folder_imports_itself_by_way_of_others() -> None:
    folders: dict[str, set[str]] = {}
    for module in modules():
        for one in imported(module):
            ours, theirs = folder(module), folder(one.name)
            if one.name in modules() and ours and theirs and ours != theirs:
                folders.setdefault(ours, set()).add(theirs)
    assert len(folders) > 10 and "registry" in folders["train"], "the graph of folders is not there"
    while free := [name for name, needs in folders.items() if not needs & folders.keys()]:
        for name in free:
            del folders[name]
    assert not folders, f"circles among: { {name: sorted(needs & folders.keys()) for name, needs in folders.items()} }"


def test_dags_are_wiring_only() -> None:
    for module in (name for name in modules() if name.startswith("dags.")):
        for one in imported(module):
            if one.name in modules():
                assert layer(one.name) in ("foundation", "loops", "orchestration"), (
                    f"{at(module, one)} imports {one.name}"
                )


def test_a_stage_never_calls_another_stage() -> None:
    """What follows what stands in the wiring alone."""
    for module in of("stages"):
        for one in imported(module):
            assert layer(one.name) != "stages" if one.name in modules() else True, (
                f"{at(module, one)} imports {one.name}"
            )


def heavy(module: str) -> dict[str, str]:
    """The heavy libraries that importing a module loads → the module of ours that does;
    its own excused ones left out."""
    excused = {one.name.split(".")[0] for one in imported(module) if one.excused}
    return {library: by for library, by in loaded(module).items() if library in HEAVY - excused}


def light() -> list[str]:
    """All but the adapters, and the local stack, which runs in a process of its own and
    never in a task or a DAG file."""
    layers = (name for name in LAYERS if name != "adapters")
    return [module for module in of(*layers) if not f"{module}.".startswith("evergreen.local.")]


def test_loading_a_light_module_loads_no_heavy_library() -> None:
    for module in light():
        assert not heavy(module), f"{module} loads {heavy(module)}: import it inside the function that needs it"


def violations(path: str, source: str) -> set[str]:
    """The import rules that the linter finds broken in a source, as if it stood at this path."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "ruff",
            "check",
            "--select=TID",
            "--output-format=json",
            f"--stdin-filename={path}",
            "-",
        ],
        input=source,
        capture_output=True,
        text=True,
        cwd=PROJECT,
        timeout=60,
    )
    return {violation["code"] for violation in json.loads(done.stdout)}


def test_the_linter_knows_every_module_that_is_to_stay_light() -> None:
    paths = [str(modules()[module].relative_to(PROJECT)) for module in light()]
    with ThreadPoolExecutor(4) as pool:
        held = dict(zip(paths, pool.map(lambda path: violations(path, "import pandas\n"), paths), strict=True))
    unknown = [path for path, codes in held.items() if codes != {"TID253"}]
    assert not unknown, f"name them in pyproject.toml, per-file-ignores, TID253: {unknown}"


@pytest.mark.parametrize(
    ("path", "source", "codes"),
    [
        ("include/evergreen/train/tuning.py", "import pandas\n", set()),
        ("include/evergreen/train/stages.py", "def stage():\n    import pandas\n", set()),
        ("include/evergreen/train/stages.py", "if TYPE_CHECKING:\n    import pandas\n", set()),
        ("include/evergreen/train/tuning.py", "from airflow.sdk import task\n", {"TID251"}),
        ("include/evergreen/train/tuning.py", "def f():\n    from airflow.sdk import task\n", {"TID251"}),
        ("include/evergreen/orchestration/links.py", "from airflow.sdk import task\n", set()),
        ("include/evergreen/serve/models.py", "import pickle\n", {"TID251"}),
        ("include/evergreen/serve/models.py", "import mlflow\nmlflow.sklearn.load_model('m')\n", {"TID251"}),
        ("include/evergreen/serve/models.py", "import yaml\nyaml.safe_load('')\n", set()),
        ("include/evergreen/cli/stack.py", "def demo():\n    import evergreen_demo\n", {"TID251"}),
        ("include/evergreen_demo/driver.py", "import evergreen_simulator\n", set()),
    ],
)
def test_the_linter_holds_the_import_rules(path: str, source: str, codes: set[str]) -> None:
    assert violations(path, source) == codes


RULES_OF_SPEC = sorted(module for module in modules() if f"{module}.".startswith("evergreen.spec.rules."))


def test_rules_are_pure() -> None:
    for module in [*of("rules"), *RULES_OF_SPEC]:
        for one in imported(module):
            top = one.name.split(".")[0]
            if top == "evergreen":
                pure = layer(one.name) in ("foundation", "hand-overs", "rules") or one.name in {*RULES_OF_SPEC} | {
                    f"evergreen.spec.{name}"
                    for name in (
                        "schema",
                        "asking",
                        "cells",
                        "columns",
                        "dataset",
                        "durations",
                        "families",
                        "gates",
                        "keyed",
                        "kinds",
                        "measures",
                        "mistakes",
                        "partial",
                        "problem",
                        "risk",
                        "rollout",
                    )
                }
                assert pure and one.name != "evergreen.settings", (
                    f"{at(module, one)} imports {one.name}: rules decide, they do not read"
                )
            else:
                assert top not in INPUT_OUTPUT, f"{at(module, one)} imports {one.name}: rules do no input or output"
                assert top in sys.stdlib_module_names or top in PURE, (
                    f"{at(module, one)} imports {one.name}: rules use {PURE} alone"
                )


def test_rules_and_stages_never_ask_for_the_time() -> None:
    for module in [*of("rules", "stages"), *RULES_OF_SPEC]:
        for node in ast.walk(ast.parse(modules()[module].read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                called = (ast.unparse(node.value).rpartition(".")[2], node.attr)
                assert called not in CLOCKS, f"{module}:{node.lineno} reads the wall clock: the only now is run.as_of"


def test_where_the_linter_lets_airflow_in_the_other_bans_hold_too() -> None:
    banned = set(TIDY["banned-api"]) - {"airflow"}
    users = {module for module in modules() for one in imported(module) if one.name.split(".")[0] == "airflow"}
    assert users, "nobody imports airflow: this test sees nothing"
    wrong = [
        f"{at(module, one)} imports {one.name}: {TIDY['banned-api'][ban]['msg']}"
        for module in users | set(of("orchestration"))
        for one in imported(module)
        for ban in banned
        if f"{one.name}.".startswith(f"{ban}.") and (module, ban) != GIVEN_A_SESSION
    ]
    assert not wrong, "\n".join(wrong)


def test_no_module_is_a_grab_bag() -> None:
    named = [module for module in modules() if GRAB_BAGS & set(module.split("."))]
    assert not named, f"name a module by what it does: {named}"


def test_a_module_can_be_held_in_the_head() -> None:
    files = [file for folder in (INCLUDE, PROJECT / "dags", PROJECT / "plugins") for file in folder.rglob("*.py")]
    lengths = {file.relative_to(PROJECT).as_posix(): len(file.read_text().splitlines()) for file in files}
    assert not {name: length for name, length in lengths.items() if length >= 400}, "split it by reasons to change"


def test_importing_every_stage_really_loads_none_of_them() -> None:
    code = f"import sys, {', '.join(sorted(STAGES))}\nprint(*sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": str(INCLUDE)}, timeout=120
    )
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stdout + done.stderr


def test_the_unit_tests_load_no_library_that_takes_seconds() -> None:
    slow = {"airflow", "evidently", "fastapi", "feast", "great_expectations", "mlflow", "optuna", "tensorflow"}
    code = (
        "import sys, pytest\n"
        "status = pytest.main(['--collect-only', '-q', 'tests/unit'])\n"
        f"print(int(status), *sorted({slow!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT, timeout=120)
    assert done.stdout.splitlines()[-1] == "0", f"move what needs them to tests/components: {done.stdout[-500:]}"
