"""Which code and which declarations made a model."""

from __future__ import annotations

import hashlib
import json
import subprocess
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import evergreen
from evergreen.families import OURS, family, package
from evergreen.spec import files
from evergreen.spec.dataset import Folder
from evergreen.spec.schema import ModelSpec


@cache
def code_hash(families: tuple[str, ...] = ()) -> str:
    """A hash of the package's sources, and of those packages that bring the
    families: also tells apart what no commit does.

    Raises:
        FamilyUnusable: one of the families cannot be used.
    """
    packages = {type(family(name)).__module__.partition(".")[0] for name in families if name not in OURS}
    digest = hashlib.sha256()
    for root in (Path(evergreen.__file__).parent, *(each for name in sorted(packages) for each in _sources(name))):
        for path in sorted(root.rglob("*.py")) if root.is_dir() else [root]:
            digest.update(str(path.relative_to(root.parent)).encode() + b"\0" + path.read_bytes())
    for name in families:
        digest.update(
            f"\0{package(name)}".encode() if package(name) else b""
        )  # what is compiled shows in the version alone
    return digest.hexdigest()[:16]


def _sources(name: str) -> list[Path]:
    """The folders of a package, or the file of a module."""
    module = find_spec(name)
    if module is None:
        return []
    return sorted(map(Path, module.submodule_search_locations or [module.origin or ""]))


def queries(spec: ModelSpec) -> dict[str, str]:
    """The queries of features, label and requests: `<folder>/<file>` → text."""
    data = {view: spec.data_of(view) for view in spec.features}
    places: list[tuple[Folder, Path]] = [(dataset, dataset.view_sql(view)) for view, dataset in data.items()]
    places += [(spec, path) for path in (spec.label_sql(), *spec.asking.queries)]
    return {f"{folder.name}/{folder.relative(path)}": files.query(folder, path) for folder, path in places}


def spec_hash(spec: ModelSpec) -> str:
    """A hash of what is declared: `model.yaml` and the queries of features, label and
    requests (a source's shows in its data)."""
    # How long something is kept, who allows it and what is written about it makes no other model.
    made = spec.model_dump(mode="json", exclude={"retention", "risk", "card"})
    declared = json.dumps([made, [*queries(spec).values()]], sort_keys=True)
    return hashlib.sha256(declared.encode()).hexdigest()


@cache
def code_version() -> str:
    """The git commit, where there is one, and the hash of the sources."""
    root = Path(evergreen.__file__).parent
    try:
        completed = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except FileNotFoundError:  # no git on this machine
        return f"sources {code_hash()}"
    commit = completed.stdout.strip()
    return f"commit {commit}, sources {code_hash()}" if commit else f"sources {code_hash()}"
